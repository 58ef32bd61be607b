"""Reports: they wait for the ledger, bounded, page by cursors, and say as of when."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from acting import ACCOUNT, AT, AT_MS, HOLD, WHOSE, Script, done

from gateway.domain.cursors import write_cursor
from gateway.domain.decisions import Standing
from gateway.domain.entries import Position, entry_id
from gateway.domain.holds import Hold, HoldLeg
from gateway.domain.names import shard_of
from gateway.errors import MeterUnavailableError, MeterValidationError
from gateway.meter import Meter
from gateway.protocols import AccountRow, Extras, LedgerLine, Mismatch
from gateway.seams.reconcile import AccountCheck
from gateway.verbs.cursors import read_holds_cursor, read_id_cursor

HEAD = Position(2, 10)


def line(number: int, **extras: Any) -> LedgerLine:
    return LedgerLine(number, "consumption", ACCOUNT, -5, 95, AT_MS, AT_MS + 9, HOLD, Extras(**extras))


def hold(number: int) -> Hold:
    return Hold(
        "acme",
        f"rsv_0_{number:024x}",
        "active",
        (HoldLeg(ACCOUNT, 5, None),),
        AT_MS,
        AT_MS + 9,
        None,
        late=False,
        body=b"",
    )


@pytest.fixture(autouse=True)
def caught_up(script: Script) -> None:
    now_ms = AT_MS + 77_000
    script.answers |= {"head": HEAD, "now_ms": now_ms, "posted_upto": True, "watermark": (HEAD, AT_MS)}


async def test_a_report_waits_until_the_ledger_holds_what_it_was_asked_about(
    meter: Meter, script: Script
) -> None:
    script.answers |= {"balances": [[AccountRow(ACCOUNT, 100, 30)]]}
    answer = await meter.balances("alice")
    assert [asked[0] for asked in script.asked] == ["now_ms", "head", "posted_upto", "balances"]
    assert script.asked[2] == ("posted_upto", shard_of("acme"), HEAD, 0.05)
    assert answer["as_of"] == "2026-03-01T12:01:17.000Z"
    assert answer["balances"] == [
        {
            "event_type": "llm_call",
            "resource": None,
            "unit": "tokens",
            "balance": 100,
            "reserved": 30,
            "available": 70,
        }
    ]


async def test_a_ledger_that_stays_behind_is_reported_as_of_its_own_time(
    meter: Meter, script: Script
) -> None:
    script.answers |= {"posted_upto": False, "watermark": (Position(2, 9), AT_MS), "balances": [[]]}
    assert await meter.balances(None) == {"balances": [], "as_of": AT}


async def test_a_posting_that_redis_has_not_heard_of_counts(meter: Meter, script: Script) -> None:
    script.answers |= {"posted_upto": False, "watermark": (HEAD, AT_MS), "balances": [[]]}
    assert (await meter.balances(None))["as_of"] != AT


async def test_a_page_of_the_ledger_and_the_next(meter: Meter, script: Script) -> None:
    lines = [line(number) for number in (50, 40, 30)]
    script.answers |= {"ledger": [lines, lines[2:]]}
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    page = await meter.ledger(*WHOSE, "tokens", start_time=start, end_time=end, limit=2)
    assert script.asked[-2:] == [
        ("ledger", "acme", ACCOUNT, start, end, 3, None),
        ("referrers", "acme", [50, 40]),
    ]
    assert [entry["id"] for entry in page["entries"]] == [50, 40]
    cursor = page["next_cursor"]
    assert cursor is not None
    page = await meter.ledger(*WHOSE, "tokens", limit=2, cursor=cursor)
    assert script.asked[-2] == ("ledger", "acme", ACCOUNT, None, None, 3, 40)
    assert [entry["id"] for entry in page["entries"]] == [30]
    assert page["next_cursor"] is None


async def test_an_entry_of_the_ledger(meter: Meter, script: Script) -> None:
    script.answers |= {"ledger": [[line(50, actor_id="ann", reference_id=7)]], "referrers": {50: (60, 70)}}
    [entry] = await meter.get_ledger(*WHOSE, "tokens")
    assert entry == {
        "id": 50,
        "entry_type": "consumption",
        "amount": -5,
        "balance_after": 95,
        "event_time": AT,
        "created_at": "2026-03-01T12:00:00.009Z",
        "user_id": "alice",
        "event_type": "llm_call",
        "unit": "tokens",
        "resource": None,
        "reservation_id": HOLD,
        "reference_id": 7,
        "referenced_by": [60, 70],
        "actor_id": "ann",
        "request_id": None,
        "on_behalf_of": None,
        "reason": None,
        "metadata": None,
    }


async def test_a_long_page_lets_others_have_their_turn(meter: Meter, script: Script) -> None:
    """What ten thousand lines take to be worded must not stop every other caller for as long."""
    script.answers |= {"ledger": [[line(number) for number in range(2000, 0, -1)]]}
    script.answers |= {"holds": [[hold(number) for number in range(2000, 0, -1)]]}
    for report in (meter.ledger(*WHOSE, "tokens", limit=5000), meter.reservations(limit=5000)):
        turns, done = 0, asyncio.ensure_future(report)
        while not done.done():
            await asyncio.sleep(0)
            turns += 1
        await done
        assert turns > 20


async def test_a_correction_of_what_is_not_posted_yet_waits_for_it(meter: Meter, script: Script) -> None:
    reference = entry_id(HEAD)
    script.answers |= {"entry_exists": [False, True], "adjust": done("adjust", 5, 0, 0, 5, 0)}
    await meter.adjust(*WHOSE, 5, "tokens", reference_id=reference)
    assert [asked[0] for asked in script.asked] == [
        *("entry_exists", "head", "posted_upto", "entry_exists", "adjust"),
    ]
    assert script.asked[2] == ("posted_upto", shard_of("acme"), HEAD, 0.05)


async def test_a_correction_of_what_cannot_be_found(meter: Meter, script: Script) -> None:
    script.answers |= {"entry_exists": False, "posted_upto": False}
    for reference, error in (
        (entry_id(HEAD), MeterUnavailableError),
        (entry_id(HEAD) + 16, MeterValidationError),
    ):
        with pytest.raises(error) as caught:
            await meter.adjust(*WHOSE, 5, "tokens", reference_id=reference)
        assert caught.value.code in {"ledger_backlog", "VAL_REFERENCE_NOT_FOUND"}
    assert "adjust" not in [asked[0] for asked in script.asked]


async def test_a_page_of_holds_and_the_next(meter: Meter, script: Script) -> None:
    holds = [hold(number) for number in (3, 2, 1)]
    script.answers |= {"holds": [holds, holds[2:]]}
    page = await meter.reservations("active", "alice", limit=2)
    assert script.asked[-1][1:4] == ("acme", "active", "alice")
    assert script.asked[-1][5:] == (3, None)
    assert len(page["reservations"]) == 2
    page = await meter.list_reservations(cursor=page["next_cursor"], limit=2)
    assert script.asked[-1][5:] == (3, (AT_MS, holds[1].hold_id))
    assert page["next_cursor"] is None
    assert page["reservations"][0]["status"] == "expired"


@pytest.mark.parametrize(
    ("arguments", "field", "code"),
    [
        ({"limit": 0}, "limit", "VAL_NOT_POSITIVE"),
        ({"limit": 10_001}, "limit", "VAL_LIMIT_TOO_LARGE"),
        ({"limit": True}, "limit", "VAL_LIMIT_INVALID_TYPE"),
        ({"limit": "5"}, "limit", "VAL_LIMIT_INVALID_TYPE"),
        ({"cursor": "x"}, "cursor", "VAL_CURSOR_INVALID"),
        ({"cursor": ""}, "cursor", "VAL_CURSOR_INVALID"),
        ({"cursor": "ü"}, "cursor", "VAL_CURSOR_INVALID"),
        ({"cursor": "\ud800"}, "cursor", "VAL_CURSOR_INVALID"),
        ({"cursor": "!!Wz\n%%Vd"}, "cursor", "VAL_CURSOR_INVALID"),
        ({"cursor": "WzUsImEi!!!!XQ"}, "cursor", "VAL_CURSOR_INVALID"),
        ({"cursor": "WzUsImEiXR"}, "cursor", "VAL_CURSOR_INVALID"),
        ({"cursor": write_cursor((-1,))}, "cursor", "VAL_CURSOR_INVALID"),
        ({"cursor": write_cursor((2**63,))}, "cursor", "VAL_CURSOR_INVALID"),
        ({"cursor": write_cursor((1, 2, 3))}, "cursor", "VAL_CURSOR_INVALID"),
        ({"cursor": write_cursor(("a", 1))}, "cursor", "VAL_CURSOR_INVALID"),
    ],
    ids=range(15),
)
async def test_pages_that_cannot_be(
    meter: Meter, script: Script, arguments: Any, field: str, code: str
) -> None:
    for call in (meter.ledger(*WHOSE, "tokens", **arguments), meter.reservations(**arguments)):
        with pytest.raises(MeterValidationError) as caught:
            await call
        assert [(fault.field, fault.code) for fault in caught.value.errors] == [(field, code)]
    assert script.asked == []


async def test_a_cursor_that_is_no_text(meter: Meter) -> None:
    with pytest.raises(MeterValidationError):
        await meter.ledger(*WHOSE, "tokens", cursor=5)  # type: ignore[arg-type]


async def test_an_unknown_status_names_those_there_are(meter: Meter) -> None:
    with pytest.raises(MeterValidationError, match="active, committed, expired, released"):
        await meter.reservations("open")


def test_cursors_of_one_list_are_none_of_the_other() -> None:
    assert read_id_cursor(write_cursor((5,))) == 5
    assert read_holds_cursor(write_cursor((5, HOLD))) == (5, HOLD)
    for read, cursor in ((read_id_cursor, write_cursor((5, HOLD))), (read_holds_cursor, write_cursor((5,)))):
        with pytest.raises(MeterValidationError):
            read(cursor)


async def test_reconcile_audits_every_account_and_waits_for_each_verdict(
    meter: Meter, script: Script
) -> None:
    accounts = [ACCOUNT, *(f"u{number}:e:tokens:" for number in range(119))]
    wrong = Mismatch("acme", ACCOUNT, "balance_mismatch", 10, 7)
    audit = done("audit", 0, 0, 0, 7, 0).entry
    script.answers |= {
        "accounts": [accounts[:51], accounts[50:101], accounts[100:]],
        "audit": [audit, None, audit],
        "audits": [None, [wrong], [], []],
        "check": [{ACCOUNT: AccountCheck(10, 0, Position(1, 4), 10, 0, 0, None)}, {}],
        "begin_report": 5,
        "note_report": None,
    }
    answer = await meter.reconciled()
    assert (answer["accounts_checked"], answer["report_id"], answer["next_cursor"]) == (120, 5, None)
    assert [len(asked[2]) for asked in script.asked if asked[0] == "audit"] == [50, 50, 20]
    assert [found["discrepancy"] for found in answer["discrepancies"]] == [-3]
    assert script.asked[-1] == ("note_report", "acme", 5, [wrong], 120, 0, True)


@pytest.mark.parametrize(
    ("row", "told", "found"),
    [
        # The row says what Redis says: what is wrong with it is wrong with Redis.
        (AccountCheck(7, 2, Position(1, 6), 10, 0, 0, None), [], ["balance_mismatch", "reserved_mismatch"]),
        # Redis is right and the row is not.
        (AccountCheck(9, 0, Position(1, 4), 7, 0, 0, None), ["balance_mismatch"], ["state_mismatch"]),
        (AccountCheck(7, 0, Position(1, 4), 7, 0, 0, (5, 7)), [], ["chain_broken"]),
        (AccountCheck(7, 0, Position(1, 4), 7, 0, 0, None), [], []),
    ],
)
async def test_what_is_wrong_is_named(
    meter: Meter, script: Script, row: AccountCheck, told: list[str], found: list[str]
) -> None:
    script.answers |= {
        "accounts": [[ACCOUNT]],
        "audit": done("audit", 0, 0, 0, 7, 0).entry,
        "audits": [[Mismatch("acme", ACCOUNT, issue, row.balance, 7) for issue in told]],
        "check": {ACCOUNT: row},
        "begin_report": 5,
        "note_report": None,
    }
    assert [issue["issue_type"] for issue in await meter.reconcile()] == found


async def test_an_account_that_was_touched_after_its_audit_is_looked_at_again(
    meter: Meter, script: Script
) -> None:
    audit = done("audit", 0, 0, 0, 7, 0).entry
    wrong = Mismatch("acme", ACCOUNT, "balance_mismatch", 10, 7)
    script.answers |= {
        "accounts": [[ACCOUNT]],
        "audit": audit,
        "audits": [[wrong], []],
        "check": {ACCOUNT: AccountCheck(5, 0, Position(1, 6), 5, 0, 0, None)},
        "begin_report": 5,
        "note_report": None,
    }
    assert await meter.reconcile() == []
    script.answers["audits"] = [[wrong]]
    with pytest.raises(MeterUnavailableError, match="faster"):
        await meter.reconcile()


async def test_a_reconcile_without_a_flusher_says_so(meter: Meter, script: Script) -> None:
    script.answers |= {
        "accounts": [["a:b:c:"]],
        "audit": done("audit", 0, 0, 0, 7, 0).entry,
        "audits": None,
        "begin_report": 5,
        "following": None,
    }
    for following in (None, Position(HEAD.epoch, HEAD.seq + 1), Position(HEAD.epoch + 1, 0)):
        script.answers |= {"following": following}
        with pytest.raises(MeterUnavailableError, match="flusher") as caught:
            await meter.reconcile()
        assert caught.value.code == "ledger_backlog"


async def test_a_gap_in_the_journal_is_all_that_a_reconcile_finds(meter: Meter, script: Script) -> None:
    script.answers |= {
        "accounts": [["a:b:c:"]],
        "audit": done("audit", 0, 0, 0, 7, 0).entry,
        "audits": None,
        "begin_report": 5,
        "note_report": None,
        "following": Position(HEAD.epoch, HEAD.seq + 3),
    }
    (issue,) = await meter.reconcile()
    assert (issue["issue_type"], issue["event_type"]) == ("sequence_gap", "journal")
    assert (issue["expected"], issue["actual"], issue["discrepancy"]) == (HEAD.seq + 1, HEAD.seq + 3, 2)


async def test_a_list_of_holds_goes_by_the_clock_of_the_shard(meter: Meter, script: Script) -> None:
    script.answers |= {"holds": [[hold(1)]]}
    for now_ms, status in ((AT_MS + 8, "active"), (AT_MS + 9, "expired")):
        script.answers |= {"now_ms": now_ms}
        page = await meter.reservations()
        assert script.asked[-1] == ("holds", "acme", None, None, now_ms, 101, None)
        assert page["reservations"][0]["status"] == status


async def test_a_balance_of_a_time_past_is_the_ledgers(meter: Meter, script: Script) -> None:
    script.answers |= {"balance_at": (100, 30)}
    answer = await meter.get_balance(*WHOSE, "tokens", at=datetime(2026, 3, 1, 12, tzinfo=UTC))
    assert script.asked[-1] == ("balance_at", "acme", ACCOUNT, AT_MS)
    assert answer == {"balance": 100, "reserved": 30, "available": 70, "as_of": AT}


async def test_a_ledger_behind_gives_its_own_time_unless_the_question_is_older(
    meter: Meter, script: Script
) -> None:
    script.answers |= {"balance_at": (100, 30), "watermark": (Position(2, 9), AT_MS + 2)}
    script.answers |= {"posted_upto": False}
    for asked_ms, as_of in ((AT_MS + 5, "2026-03-01T12:00:00.002Z"), (AT_MS, AT)):
        at = datetime.fromtimestamp(asked_ms / 1000, UTC)
        assert (await meter.get_balance(*WHOSE, "tokens", at=at))["as_of"] == as_of


async def test_the_future_is_not_told(meter: Meter, script: Script) -> None:
    script.answers |= {"now_ms": AT_MS + 9}
    at = datetime.fromtimestamp((AT_MS + 10) / 1000, UTC)
    with pytest.raises(MeterValidationError) as refused:
        await meter.get_balance(*WHOSE, "tokens", at=at)
    assert [(error.field, error.code) for error in refused.value.errors] == [("at", "VAL_AT_IN_FUTURE")]
    assert [asked[0] for asked in script.asked] == ["now_ms"]
    for wrong in (datetime(2026, 3, 1, 12), "2026-03-01T12:00:00Z"):  # noqa: DTZ001 - no zone is the point
        with pytest.raises(MeterValidationError) as refused:
            await meter.get_balance(*WHOSE, "tokens", at=wrong)  # type: ignore[arg-type]
        assert [(error.field, error.code) for error in refused.value.errors] == [("at", "VAL_AT_INVALID")]


async def test_an_account_that_may_not_be_posted_yet_is_not_said_to_be_missing(
    meter: Meter, script: Script
) -> None:
    script.answers |= {"standing": Standing(0, 0, AT_MS), "account_facts": None}
    with pytest.raises(MeterValidationError) as missing:
        await meter.get_account(*WHOSE, "tokens")
    assert missing.value.code == "DATA_ACCOUNT_NOT_FOUND"
    assert script.asked[0][0] == "standing", "looked at, it begins what has begun"
    script.answers |= {"posted_upto": False, "watermark": (Position(2, 9), AT_MS)}
    with pytest.raises(MeterUnavailableError):
        await meter.get_account(*WHOSE, "tokens")
