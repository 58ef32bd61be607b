"""The verbs that look at accounts: balances, the ledger, and reconcile. Sums are elsewhere."""

from __future__ import annotations

from datetime import datetime

from gateway.client.calls import Call, Pages, get, given, post, reader
from gateway.client.values import moment, query
from gateway.client.verb import gathered, paged, verb
from gateway.domain.answers import (
    AccountBalance,
    Balance,
    Balances,
    Discrepancy,
    LedgerEntry,
    LedgerPage,
    Reconciled,
    Reconciliations,
)

_balance = reader(Balance)
_balances = reader(Balances)
_ledger_page = reader(LedgerPage)
_reconciled = reader(Reconciled)
_reconciliations = reader(Reconciliations)


class Reading:
    """What an account has, and how it came to it."""

    @verb
    def get_balance(
        self,
        user_id: str | None,
        event_type: str,
        unit: str,
        resource: str | None = None,
        at: datetime | None = None,
    ) -> Call[Balance]:
        """Say what an account has now, or had at a time.

        Args:
            user_id: whose account; None is the namespace's pool.
            event_type: what is metered.
            unit: the unit of measurement.
            resource: the resource metered; None and "" are one.
            at: as of when, with its time zone and not in the future; None is now.

        Returns:
            ``balance``, ``reserved``, ``available`` (balance less reserved), and ``as_of``. An account
            that was never touched, or not yet touched then, has zero of each.

        Raises:
            MeterValidationError: a parameter breaks a rule; ``errors`` names each.
        """
        parameters = query(
            user_id=user_id,
            event_type=event_type,
            unit=unit,
            resource=resource,
            at=None if at is None else moment("at", at),
        )
        return get(f"/v1/balance{parameters}", _balance)

    @verb
    def get_user_balances(self, user_id: str | None) -> Call[list[AccountBalance]]:
        """List all accounts of a user.

        Args:
            user_id: the user; None is the namespace's pool.

        Returns:
            For each account ``event_type``, ``resource``, ``unit``, ``balance``, ``reserved``, ``available``.

        Raises:
            MeterValidationError: the name breaks a rule.
        """
        return get(f"/v1/balances{query(user_id=user_id)}", _read_balances)

    @verb
    def get_ledger(
        self,
        user_id: str | None,
        event_type: str,
        unit: str,
        resource: str | None = None,
        start_time: datetime | None = None,
        end_time: datetime | None = None,
        limit: int = 100,
    ) -> Call[list[LedgerEntry]]:
        """Give the newest ledger entries of an account. ``ledger`` pages, ``iter_ledger`` gives all.

        Args:
            user_id: whose account; None is the namespace's pool.
            event_type: what is metered.
            unit: the unit of measurement.
            resource: the resource metered; None and "" are one.
            start_time: only entries from this time on, with its time zone.
            end_time: only entries before this time, with its time zone.
            limit: how many at most, up to 10000.

        Returns:
            The entries, newest first.

        Raises:
            MeterValidationError: a parameter breaks a rule; ``errors`` names each.
        """
        path = _ledger_path(user_id, event_type, unit, resource, start_time, end_time, limit, None)
        return get(path, _read_entries)

    @verb
    def ledger(
        self,
        user_id: str | None,
        event_type: str,
        unit: str,
        resource: str | None = None,
        start_time: datetime | None = None,
        end_time: datetime | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Call[LedgerPage]:
        """Give one page of the ledger of an account.

        Args:
            user_id: whose account; None is the namespace's pool.
            event_type: what is metered.
            unit: the unit of measurement.
            resource: the resource metered; None and "" are one.
            start_time: only entries from this time on, with its time zone.
            end_time: only entries before this time, with its time zone.
            limit: how many at most, up to 10000.
            cursor: the ``next_cursor`` of the page before.

        Returns:
            ``entries``, newest first, ``next_cursor`` (None on the last page), and ``as_of``.

        Raises:
            MeterValidationError: a parameter breaks a rule; ``errors`` names each.
        """
        path = _ledger_path(user_id, event_type, unit, resource, start_time, end_time, limit, cursor)
        return get(path, _ledger_page)

    @paged
    def iter_ledger(
        self,
        user_id: str | None,
        event_type: str,
        unit: str,
        resource: str | None = None,
        start_time: datetime | None = None,
        end_time: datetime | None = None,
        page_size: int = 1000,
    ) -> Pages[LedgerEntry]:
        """Iterate over all ledger entries of an account, newest first.

        Args:
            user_id: whose account; None is the namespace's pool.
            event_type: what is metered.
            unit: the unit of measurement.
            resource: the resource metered; None and "" are one.
            start_time: only entries from this time on, with its time zone.
            end_time: only entries before this time, with its time zone.
            page_size: how many to ask for at a time, up to 10000.

        Returns:
            An iterator, asynchronous on the asynchronous client, that asks for pages as it goes.

        Raises:
            MeterValidationError: a parameter breaks a rule; ``errors`` names each.
        """

        def turn(cursor: str | None) -> Call[tuple[list[LedgerEntry], str | None]]:
            where = (user_id, event_type, unit, resource, start_time, end_time, page_size, cursor)
            return get(_ledger_path(*where), _read_turn)

        return Pages(turn)

    @gathered
    def reconcile(self) -> Pages[Discrepancy]:
        """Compare every account of the namespace with its ledger. Asks for pages until all are compared.

        Returns:
            What disagrees, with ``expected``, ``actual`` and ``discrepancy``.
        """
        return Pages(lambda cursor: post("/v1/reconcile", _read_discrepancies, given(cursor=cursor), None))

    @verb
    def reconciled(
        self,
        repair: bool = False,
        trust: str = "ledger",
        deep: bool = False,
        limit: int = 1000,
        cursor: str | None = None,
    ) -> Call[Reconciled]:
        """Compare a page of accounts with their ledger, and repair them if asked to.

        Args:
            repair: whether what disagrees is repaired, by entries that say so; otherwise nothing changes.
            trust: which balance is right where they differ, ``ledger`` or ``redis``.
            deep: sum each ledger from its first line, and not from its last checkpoint.
            limit: how many accounts at most, up to 10000; after some seconds fewer.
            cursor: the ``next_cursor`` of the page before, with the same ``repair`` and ``trust``.

        Returns:
            ``discrepancies``, ``accounts_checked``, ``repaired``, ``report_id``, ``next_cursor`` (None on the
            last page), and ``as_of``.

        Raises:
            MeterValidationError: a parameter breaks a rule; ``errors`` names each.
        """
        body = {"repair": repair, "trust": trust, "deep": deep, "limit": limit, **given(cursor=cursor)}
        return post("/v1/reconcile", _reconciled, body, None)

    @verb
    def reconciliations(self, limit: int = 100, cursor: str | None = None) -> Call[Reconciliations]:
        """Give a page of what reconciles of the namespace have found, newest first.

        Args:
            limit: how many at most, up to 10000.
            cursor: the ``next_cursor`` of the page before.

        Returns:
            ``reconciliations``, newest first, and ``next_cursor`` (None on the last page).

        Raises:
            MeterValidationError: a parameter breaks a rule.
        """
        return get(f"/v1/reconciliations{query(limit=limit, cursor=cursor)}", _reconciliations)


def _ledger_path(
    user_id: str | None,
    event_type: str,
    unit: str,
    resource: str | None,
    start_time: datetime | None,
    end_time: datetime | None,
    limit: int,
    cursor: str | None,
) -> str:
    parameters = query(
        user_id=user_id,
        event_type=event_type,
        unit=unit,
        resource=resource,
        start_time=None if start_time is None else moment("start_time", start_time),
        end_time=None if end_time is None else moment("end_time", end_time),
        limit=limit,
        cursor=cursor,
    )
    return f"/v1/ledger{parameters}"


def _read_balances(content: bytes) -> list[AccountBalance]:
    return _balances(content)["balances"]


def _read_entries(content: bytes) -> list[LedgerEntry]:
    return _ledger_page(content)["entries"]


def _read_turn(content: bytes) -> tuple[list[LedgerEntry], str | None]:
    page = _ledger_page(content)
    return page["entries"], page["next_cursor"]


def _read_discrepancies(content: bytes) -> tuple[list[Discrepancy], str | None]:
    page = _reconciled(content)
    return page["discrepancies"], page["next_cursor"]
