"""An account in SQL says what it has of periods, to every role that may read, and only its own."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from msgspec.structs import replace
from psycopg.errors import NoDataFound
from scribe import MONEY, START_MS, Scribe
from sql_callers import Row, connected, make_plain_role, rows
from tenants import make_roles

from gateway.domain.entries import LegState
from gateway.domain.periods import UNLIMITED
from gateway.protocols import NO_EXTRAS
from gateway.seams.periods import PeriodTerms
from gateway.store.period_calls import terms_body
from gateway.store.rolling import day_body
from persistence.ledger import Ledger

ACCOUNT = "SELECT * FROM meter.get_account('alice', 'llm_call', 'usd')"
JANUARY, FEBRUARY, END = date(2026, 1, 1), date(2026, 2, 1), date(2026, 1, 31)
ENDS_MS = START_MS + 90_000
PARTS = (
    *("period_start", "period_allocation", "carry_over_limit", "every", "time_zone"),
    *("current_period_start", "current_period_allocation", "current_period_ends_at"),
)


class PeriodScribe(Scribe):
    """Writes entries about periods as scripts do."""

    def set_period(self, terms: PeriodTerms) -> None:
        self._tell("set_period", terms_body(b"", terms), expires_ms=terms.first_ms, late=True)

    def open_period(self, day: date, amount: int, ends_ms: int = 0) -> None:
        self.balances[MONEY] = self.balances.get(MONEY, 0) + amount
        self._tell("open_period", day_body(NO_EXTRAS, "period_start", day), amount, expires_ms=ends_ms)

    def close_period(self, day: date) -> None:
        body = day_body(NO_EXTRAS, "period_end", day)
        self._tell("close_period", body, expires_ms=self.at_ms, over=UNLIMITED)

    def _tell(
        self, verb: str, body: bytes, amount: int = 0, *, expires_ms: int, over: int = 0, late: bool = False
    ) -> None:
        leg = LegState(MONEY, amount, 0, over, self.balances.get(MONEY, 0), self.reserved.get(MONEY, 0))
        self._append(verb, "", (leg,), body, late=late)
        self.entries[-1] = replace(self.entries[-1], expires_ms=expires_ms)


async def post(ledger: Ledger, scribe: Scribe) -> None:
    await ledger.post({scribe.shard: scribe.entries})
    scribe.entries = []


async def shown(database_url: str) -> list[object]:
    async with connected(database_url) as connection, connection.transaction():
        await connection.execute("SELECT meter.set_tenant('acme')")
        return parts(*await rows(connection, ACCOUNT))


def parts(row: Row) -> list[object]:
    return [row[name] for name in PARTS]


def by_hand() -> PeriodScribe:
    scribe = PeriodScribe()
    scribe.set_period(PeriodTerms(JANUARY, 12_500_000, 250_000, None, None, 0))
    return scribe


CONFIG = [JANUARY, Decimal("12.5"), Decimal("0.25"), None, None]


async def test_an_account_says_its_terms_and_the_period_that_runs(ledger: Ledger, database_url: str) -> None:
    scribe = by_hand()
    await post(ledger, scribe)
    assert await shown(database_url) == [*CONFIG, None, None, None]
    scribe.open_period(JANUARY, 12_500_000)
    await post(ledger, scribe)
    assert await shown(database_url) == [*CONFIG, JANUARY, Decimal("12.5"), None]
    scribe.close_period(END)
    await post(ledger, scribe)
    assert await shown(database_url) == [*CONFIG, None, None, None]
    scribe.open_period(FEBRUARY, 7_000_000)
    await post(ledger, scribe)
    assert await shown(database_url) == [*CONFIG, FEBRUARY, Decimal(7), None]


async def test_a_schedule_says_when_its_period_ends(ledger: Ledger, database_url: str) -> None:
    scribe = PeriodScribe()
    scribe.set_period(PeriodTerms(JANUARY, 5_000_000, None, "7 days", "Europe/Berlin", START_MS))
    scribe.open_period(FEBRUARY, 5_000_000, ENDS_MS)
    await post(ledger, scribe)
    ends_at = datetime.fromtimestamp(ENDS_MS / 1000, UTC)
    said = [JANUARY, Decimal(5), None, "7 days", "Europe/Berlin", FEBRUARY, Decimal(5), ends_at]
    assert await shown(database_url) == said


async def test_without_any_periods_there_is_nothing_to_say(ledger: Ledger, database_url: str) -> None:
    scribe = Scribe()
    scribe.allocate(MONEY, 5)
    await post(ledger, scribe)
    assert await shown(database_url) == [None] * len(PARTS)


@pytest.mark.parametrize("role", ["quotagate_app", "plain_reader"])
async def test_a_role_that_may_read_sees_the_periods_of_its_tenant_alone(
    ledger: Ledger, database_url: str, role: str
) -> None:
    scribe = by_hand()
    scribe.open_period(JANUARY, 12_500_000)
    await post(ledger, scribe)
    await make_roles(database_url)
    async with connected(database_url) as connection:
        await make_plain_role(connection, "plain_reader")
        await connection.execute(f"SET ROLE {role}".encode())
        await connection.execute("SELECT meter.set_tenant('acme', true)")
        assert parts(*await rows(connection, ACCOUNT)) == [*CONFIG, JANUARY, Decimal("12.5"), None]
        assert await rows(connection, "SELECT count(*) FROM meter.period_days") == [{"count": 1}]
        await connection.execute("SELECT meter.set_tenant('other', true)")
        for table in ("periods", "period_days"):
            assert await rows(connection, f"SELECT * FROM meter.{table}") == []
        with pytest.raises(NoDataFound):
            await connection.execute(ACCOUNT.encode())
