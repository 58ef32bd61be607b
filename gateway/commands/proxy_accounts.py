"""Who pays for what passes the proxy: accounts the command line names. Nothing is held or charged here."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import unquote

import msgspec
from msgspec import UNSET, UnsetType

from gateway.domain.entries import MAX_LEGS
from gateway.errors import MeterAuthError
from gateway.middleware import Account, Request
from gateway.settings import SettingsError


class Also(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A further account, by what differs from the first; ``user_header`` is a header that names its user."""

    user_id: str | UnsetType | None = UNSET
    user_header: str | UnsetType = UNSET
    event_type: str | UnsetType = UNSET
    unit: str | UnsetType = UNSET
    resource: str | UnsetType | None = UNSET
    policy: str | None = None


class Payer(NamedTuple):
    """An account whose user is fixed, or in a request header."""

    account: Account
    user_header: str | None = None

    def of(self, request: Request) -> Account:
        """Give the account that one request spends of. Raises MeterAuthError."""
        if self.user_header is None:
            return self.account
        user = request.header(self.user_header.lower())
        if not user:
            raise MeterAuthError(f"the header {self.user_header} must name the user", "user_missing")
        return self.account._replace(user_id=unquote(user))

    def beside(self, also: Also) -> Payer:
        """Give the further account that differs from this one by so much."""
        told = {name: getattr(also, name) for name in ("user_id", "event_type", "unit", "resource", "policy")}
        account = self.account._replace(**{name: word for name, word in told.items() if word is not UNSET})
        if also.user_header is not UNSET:
            return Payer(account, also.user_header)
        return Payer(account, self.user_header if also.user_id is UNSET else None)


def payers_of(first: Payer, also: tuple[str, ...]) -> tuple[Payer, ...]:
    """Read the further accounts, as JSON; give all of them. Raises SettingsError, which names the option."""
    payers = (first, *(first.beside(_read(text)) for text in also))
    if len(payers) > MAX_LEGS:
        raise SettingsError([f"--also: a hold has at most {MAX_LEGS} accounts"])
    for number, text in enumerate(also, start=1):
        # What they are called is no part of them.
        if any(_named(payers[number]) == _named(other) for other in payers[:number]):
            raise SettingsError([f"--also {text}: names an account that is named before"])
    return payers


def identify_by(payers: tuple[Payer, ...]) -> Callable[[Request], list[Account]]:
    """Give what tells the middleware who pays."""
    return lambda request: [payer.of(request) for payer in payers]


def _read(text: str) -> Also:
    try:
        also = msgspec.json.decode(text, type=Also)
    except msgspec.DecodeError as error:
        like = '{"user_id": "team-a"}'
        raise SettingsError([f"--also {text}: {error}; it must be like {like}"]) from error
    if also.user_id is not UNSET and also.user_header is not UNSET:
        raise SettingsError([f"--also {text}: the user is either fixed or in a header"])
    return also


def _named(payer: Payer) -> tuple[object, ...]:
    return payer.account[:-1], (payer.user_header or "").lower()
