"""What entries make of the tables, line by line, to the last field. No database is asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
import pytest
from msgspec.structs import replace
from scribe import ALICE, BOB, MONEY, START_MS, TTL_MS, Scribe

from gateway.domain.entries import Position, entry_id
from gateway.protocols import Extras
from persistence.copytext import amount_field, field, json_field, time_field
from persistence.errors import EntryRefusedError
from persistence.postings import Posting, check_verbs, is_known

NULL = "\\N"
AT = "2025-11-20 00:53:20.000+00:00"
LATER = "2025-11-20 00:58:20.000+00:00"
NO_EXTRAS = [NULL] * 6
OF_ALICE = [ALICE, "alice", "llm_call", "tokens", "claude"]
OF_MONEY = [MONEY, "alice", "llm_call", "usd", NULL]
HOLD = "rsv_0_000000000000000000000001"
HOUR_MS = 3_600_000


def split(lines: Iterable[str]) -> list[list[str]]:
    found = list(lines)
    assert all(line.endswith("\n") for line in found)
    return [line[:-1].split("\t") for line in found]


def unquoted(rows: Iterable[Sequence[str]]) -> list[list[str]]:
    """Give the rows of arrays as those of a COPY would stand: these texts have nothing to escape."""
    return [[NULL if word == "NULL" else word.strip('"') for word in row] for row in rows]


def body(**extras: object) -> bytes:
    return msgspec.json.encode(Extras(**extras))  # type: ignore[arg-type]


def test_the_times_are_those_of_the_tests() -> None:
    assert (time_field(START_MS), time_field(START_MS + TTL_MS)) == (AT, LATER)


def test_a_movement_is_a_line_of_the_ledger_with_its_balance_after() -> None:
    scribe = Scribe(epoch=3)
    scribe.allocate(ALICE, 100)
    scribe.consume(ALICE, 30)
    scribe.adjust(ALICE, -5)
    kept = [
        ["acme", str(entry_id(Position(3, seq))), AT, AT, kind, *OF_ALICE, amount, after, NULL, *NO_EXTRAS]
        for seq, (kind, amount, after) in enumerate(
            [("allocation", "100", "100"), ("consumption", "-30", "70"), ("adjustment", "-5", "65")]
        )
    ]
    posting = Posting(scribe.entries)
    assert split(posting.ledger_lines()) == kept
    assert list(posting.repair_lines()) == []
    assert unquoted(posting.account_rows()) == [
        ["acme", *OF_ALICE, "0", "65", "0", "3", "2", AT, AT, NULL],
    ]


def test_money_is_written_in_its_unit() -> None:
    scribe = Scribe()
    scribe.allocate(MONEY, 1_500_000)
    scribe.consume(MONEY, 1)
    posting = Posting(scribe.entries)
    assert [line[10:12] for line in split(posting.ledger_lines())] == [
        ["1.5", "1.5"],
        ["-0.000001", "1.499999"],
    ]
    assert unquoted(posting.account_rows()) == [
        ["acme", *OF_MONEY, "6", "1499999", "0", "1", "1", AT, AT, NULL]
    ]
    assert [line[4] for line in unquoted(posting.usage_rows())] == ["1.5", "-0.000001"]


def test_what_a_caller_says_beside_is_in_the_line() -> None:
    scribe = Scribe()
    told = body(
        event_time_ms=START_MS - HOUR_MS,
        reference_id=7,
        actor_id="a\tb",
        request_id="r",
        on_behalf_of="o",
        reason="why",
        metadata=msgspec.Raw(b'{"k":1}'),
    )
    scribe.consume(ALICE, 1, body=told)
    (line,) = split(Posting(scribe.entries).ledger_lines())
    assert line[2:4] == [AT, "2025-11-19 23:53:20.000+00:00"]
    assert line[13:] == ["7", "a\\tb", "r", "o", "why", '{"k":1}']


def test_usage_adds_up_by_hour_and_kind() -> None:
    scribe = Scribe()
    for amount, back_ms in ((5, 0), (6, 1), (7, HOUR_MS), (0, 0)):
        scribe.consume(ALICE, amount, body=body(event_time_ms=START_MS - back_ms))
    scribe.consume(BOB, 9)
    scribe.allocate(ALICE, 3)
    posting = Posting(scribe.entries)
    assert unquoted(posting.usage_rows()) == [
        ["acme", ALICE, "2025-11-20 00:00:00.000+00:00", "consumption", "-11", "2"],
        ["acme", ALICE, "2025-11-19 23:00:00.000+00:00", "consumption", "-7", "1"],
        ["acme", BOB, "2025-11-20 00:00:00.000+00:00", "consumption", "-9", "1"],
        ["acme", ALICE, "2025-11-20 00:00:00.000+00:00", "allocation", "3", "1"],
    ]
    assert len(list(posting.ledger_lines())) == 5, "what moves nothing is no line"


def test_an_hour_begins_with_its_first_millisecond() -> None:
    scribe = Scribe()
    begins = START_MS - START_MS % HOUR_MS
    for ms in (begins - 1, begins):
        scribe.consume(ALICE, 1, body=body(event_time_ms=ms))
    hours = [line[2] for line in unquoted(Posting(scribe.entries).usage_rows())]
    assert hours == ["2025-11-19 23:00:00.000+00:00", "2025-11-20 00:00:00.000+00:00"]


def test_an_account_keeps_when_it_was_first_and_last_touched() -> None:
    scribe = Scribe()
    scribe.allocate(ALICE, 1)
    scribe.at_ms += TTL_MS
    scribe.allocate(ALICE, 1)
    (line,) = unquoted(Posting(scribe.entries).account_rows())
    assert line[-3:] == [AT, LATER, NULL]


def test_an_account_that_has_a_row_gets_none_for_a_hold_that_says_what_it_has() -> None:
    """No hold says it where quarantine books the amounts alone; limits are in the row only."""
    scribe = Scribe()
    scribe.reserve({ALICE: 5, BOB: 6}, hold_id=HOLD)
    (made,) = scribe.entries
    both = {("acme", ALICE), ("acme", BOB)}
    assert set(Posting([made]).accounts()) == both
    assert set(Posting([made], {("acme", BOB)}).accounts()) == {("acme", ALICE)}
    assert not Posting([made], both).accounts()
    assert set(Posting([replace(made, limits="1=x")], both).accounts()) == both
    assert set(Posting([replace(made, hold_id="")], both).accounts()) == both


def test_a_repair_is_a_line_also_where_it_books_nothing() -> None:
    scribe = Scribe()
    scribe.repair(ALICE, 0, balance=4, reserved=0)
    scribe.allocate(ALICE, 2)
    posting = Posting(scribe.entries)
    assert [(line[4], line[10], line[11]) for line in split(posting.ledger_lines())] == [
        ("adjustment", "0", "4"),
        ("allocation", "2", "6"),
    ]
    assert split(posting.repair_lines()) == [["acme", ALICE, str(entry_id(Position(1, 0)))]]
    assert [line[3] for line in unquoted(posting.usage_rows())] == ["allocation"]


def test_an_open_hold_is_a_line_for_each_leg() -> None:
    scribe = Scribe()
    scribe.reserve({ALICE: 5, BOB: 6}, body=b'{"reason":"r"}', hold_id=HOLD)
    posting = Posting(scribe.entries)
    first, second = (str(entry_id(Position(1, 0), leg)) for leg in (0, 1))
    assert split(posting.open_hold_lines()) == [
        ["acme", HOLD, "0", ALICE, "alice", "5", AT, LATER, '{"reason":"r"}', "0", "5", NULL, first],
        ["acme", HOLD, "1", BOB, "bob", "6", AT, LATER, '{"reason":"r"}', "0", "6", NULL, second],
    ]
    assert not [*posting.settled_hold_lines(), *posting.hold_change_lines(), *posting.ledger_lines()]


def test_an_extension_of_a_new_hold_is_in_its_line_and_has_one_of_its_own() -> None:
    scribe = Scribe()
    scribe.extend(scribe.reserve({ALICE: 5, BOB: 6}, hold_id=HOLD), 2)
    posting = Posting(scribe.entries)
    ends = "2025-11-20 01:03:20.000+00:00"
    first, second = (str(entry_id(Position(1, 0), leg)) for leg in (0, 1))
    assert [line[3:] for line in split(posting.open_hold_lines())] == [
        [ALICE, "alice", "7", AT, ends, NULL, "0", "5", NULL, first],
        [BOB, "bob", "8", AT, ends, NULL, "0", "6", NULL, second],
    ]
    assert split(posting.extension_lines()) == [
        ["acme", HOLD, str(leg), str(entry_id(Position(1, 1), leg)), account, AT, "2"]
        for leg, account in enumerate((ALICE, BOB))
    ]
    assert not list(posting.hold_change_lines())


@pytest.mark.parametrize(
    ("verb", "status", "consumed"),
    [("commit", "committed", "4"), ("release", "released", NULL), ("expire", "expired", NULL)],
)
@pytest.mark.parametrize("made_here", [True, False])
def test_a_settled_hold_says_how_and_when(verb: str, status: str, consumed: str, made_here: bool) -> None:
    scribe = Scribe()
    hold = scribe.reserve({ALICE: 5}, body=b'{"reason":"r"}', hold_id=HOLD)
    scribe.at_ms += TTL_MS
    _ = scribe.commit(hold, 4) if verb == "commit" else getattr(scribe, verb)(hold)
    posting = Posting(scribe.entries if made_here else scribe.entries[1:])
    change = ["acme", HOLD, "0", status, "5", consumed, LATER, LATER, "False", NULL]
    if made_here:
        made = [ALICE, "alice", AT, '{"reason":"r"}', "0", "5", NULL]
        assert split(posting.settled_hold_lines()) == [[*change, *made]]
        assert not list(posting.hold_change_lines())
    else:
        assert split(posting.hold_change_lines()) == [change]
        assert not list(posting.settled_hold_lines())
    assert not list(posting.open_hold_lines())
    assert len(list(posting.ledger_lines())) == (verb == "commit")


def test_a_late_commit_of_an_older_hold_is_charged_and_late() -> None:
    scribe = Scribe()
    hold = scribe.reserve({ALICE: 5}, hold_id=HOLD)
    scribe.commit_late(hold, scribe.expire(hold), 4)
    posting = Posting(scribe.entries[2:])
    (line,) = split(posting.hold_change_lines())
    assert line[3:6] == ["committed", "5", "4"]
    assert line[8] == "True"
    (line,) = split(posting.ledger_lines())
    assert line[4] == "consumption"
    assert line[10:13] == ["-4", "-4", HOLD]


def test_calls_with_keys_and_what_undoes_them_are_told_apart() -> None:
    scribe = Scribe()
    scribe.allocate(ALICE, 5)
    keyed = scribe.with_key("k\\1", "f")
    undoing = scribe.undo(keyed)
    posting = Posting(scribe.entries)
    assert split(posting.answer_lines()) == [["acme", "k\\\\1", "f", "1", "0", "answer of 1-0"]]
    assert posting.undoing == [(undoing, Position(1, 0))]
    assert len(posting.keyed) == 1


def test_a_call_of_which_nothing_is_booked_under_its_key_is_known_all_the_same() -> None:
    scribe = Scribe()
    plain = scribe.allocate(ALICE, 5)
    scribe.allocate(ALICE, 7)
    keyed = scribe.with_key("k", "f")
    posting = Posting()
    for entry, fitted in ((plain, [plain]), (plain, []), (keyed, [keyed]), (keyed, [plain, keyed])):
        posting.add_fitted(entry, fitted)
    assert posting.known == []
    for booked in ([], [plain]):
        posting.add_fitted(keyed, booked)
    assert posting.known == [(keyed, keyed.keyed)] * 2
    assert posting.keyed == [(keyed, keyed.keyed)] * 2


@pytest.mark.parametrize("verb", ["reserve", "extend", "release", "expire", "audit"])
def test_only_what_books_may_move_a_balance(verb: str) -> None:
    scribe = Scribe()
    entry = replace(scribe.allocate(ALICE, 5), verb=verb)
    with pytest.raises(EntryRefusedError, match=f"entry 1-0 changes a balance, which {verb} never does"):
        Posting([entry])


@pytest.mark.parametrize(
    "bad", [b"{", b'{"reference_id":"x"}', b'{"event_time_ms":999999999999999999}', b"[" * 100_000]
)
def test_a_body_that_cannot_be_booked_is_refused(bad: bytes) -> None:
    scribe = Scribe()
    scribe.allocate(ALICE, 5, body=bad)
    with pytest.raises(EntryRefusedError, match="entry 1-0 has a body that cannot be booked") as refused:
        Posting(scribe.entries)
    assert refused.value.shard == scribe.shard


def test_verbs_that_nobody_knows_are_refused() -> None:
    scribe = Scribe()
    known = [
        replace(scribe.allocate(ALICE, 5), verb=verb) for verb in ("allocate", "audit", "repair", "expire")
    ]
    check_verbs(5, known)
    with pytest.raises(EntryRefusedError, match="shard 5: entry 1-0 has the verb 'later'"):
        check_verbs(5, [*known, replace(known[0], verb="later")])
    assert (is_known("commit"), is_known("later")) == (True, False)


def test_fields_are_escaped_as_copy_reads_them() -> None:
    assert [field(text) for text in ("plain", "", "two words", "a\\b", "a\tb", "a\\b\tc\nd\re", None)] == [
        "plain",
        "",
        "two words",
        "a\\\\b",
        "a\\tb",
        "a\\\\b\\tc\\nd\\re",
        NULL,
    ]
    assert (json_field(b""), json_field(b'"\\n"')) == (NULL, '"\\\\n"')
    assert (amount_field(1_500_000, 6), amount_field(12, 0)) == ("1.5", "12")
    with pytest.raises(OverflowError):
        time_field(10**15)


def test_only_the_last_change_of_a_hold_counts() -> None:
    scribe = Scribe()
    hold = scribe.reserve({ALICE: 5}, hold_id=HOLD)
    scribe.extend(hold, 2)
    last = scribe.commit(hold, 1)
    posting = Posting(scribe.entries[1:])
    assert posting.changed["acme", HOLD] is last
    assert [line[3] for line in split(posting.hold_change_lines())] == ["committed"]


def test_what_is_said_of_periods_makes_its_own_lines() -> None:
    scribe = Scribe()
    opened = scribe.allocate(ALICE, 5, body(metadata={"period_start": "2026-01-01"}))
    closed = scribe.consume(ALICE, 2, body(metadata={"period_end": "2026-01-31"}))
    posting = Posting([replace(opened, verb="open_period"), replace(closed, verb="close_period")])
    days = split(posting.periods.day_lines())
    assert [(*line[:6], line[8], line[10]) for line in days] == [
        ("acme", ALICE, "open", "2026-01-01", "1", "0", "5", "5"),
        ("acme", ALICE, "close", "2026-01-31", "1", "1", "-2", "3"),
    ]
    (change,) = split(posting.periods.change_lines())
    assert change[:2] + change[7:9] == ["acme", ALICE, "2026-01-01", "2026-01-31"]
