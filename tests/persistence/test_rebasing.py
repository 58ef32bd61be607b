"""Entries fitted to a ledger that does not stand where their scripts found it."""

from __future__ import annotations

import random

import pytest
from msgspec.structs import replace
from scribe import ALICE, BOB, START_MS, TTL_MS, Scribe

from gateway.domain.entries import Entry
from gateway.domain.holds import ACTIVE, COMMITTED, EXPIRED, RELEASED
from persistence.rebasing import Books, KnownHold


def fit(books: Books, *entries: Entry) -> list[Entry]:
    return [fitted for entry in entries for fitted in books.fit(entry)]


def known(status: str, *amounts: int) -> dict[tuple[str, str], KnownHold]:
    return {("acme", HOLD): KnownHold(status, START_MS + TTL_MS, amounts)}


HOLD = "rsv_0_000000000000000000000001"


@pytest.mark.parametrize("seed", range(20))
def test_where_nothing_is_missing_every_entry_comes_out_as_it_went_in(seed: int) -> None:
    chance, scribe = random.Random(seed), Scribe()
    for _ in range(60):
        held = [*scribe.open]
        step = chance.randrange(7)
        if step == 0 or not held:
            scribe.allocate(ALICE, chance.randrange(1, 50))
            scribe.reserve({ALICE: 3, BOB: 2})
        elif step == 1:
            scribe.commit(chance.choice(held), chance.randrange(5))
        elif step == 2:
            scribe.release(chance.choice(held))
        elif step == 3:
            scribe.extend(chance.choice(held), 2)
        elif step == 4:
            gone = chance.choice(held)
            scribe.commit_late(gone, scribe.expire(gone), 2)
        else:
            scribe.consume(BOB, 4)
    assert fit(Books({}, {}), *scribe.entries) == scribe.entries


def test_amounts_are_changes_of_what_the_ledger_has() -> None:
    scribe = Scribe()
    scribe.allocate(ALICE, 10)
    missing = scribe.consume(ALICE, 3)
    last = scribe.consume(ALICE, 2)
    fitted = fit(Books({("acme", ALICE): (100, 7)}, {}), *scribe.entries[:1], last)
    assert [(leg.balance, leg.reserved) for entry in fitted for leg in entry.legs] == [(110, 7), (108, 7)]
    assert missing not in fitted


@pytest.mark.parametrize("verb", ["commit", "release"])
def test_what_settles_a_hold_returns_what_the_ledger_holds(verb: str) -> None:
    scribe = Scribe()
    hold = scribe.reserve({ALICE: 5}, hold_id=HOLD)
    settling = scribe.commit(hold, 4) if verb == "commit" else scribe.release(hold)
    books = Books({("acme", ALICE): (20, 9)}, known(ACTIVE, 8))
    (fitted,) = fit(books, settling)
    leg = fitted.legs[0]
    assert (leg.held, leg.hold, leg.balance, leg.reserved) == (-8, 8, 20 + leg.amount, 1)
    assert not fitted.late


def test_a_commit_of_a_hold_that_expired_meanwhile_is_late() -> None:
    scribe = Scribe()
    (fitted,) = fit(
        Books({("acme", ALICE): (20, 0)}, known(EXPIRED, 5)),
        scribe.commit(scribe.reserve({ALICE: 5}, hold_id=HOLD), 4),
    )
    assert (fitted.late, fitted.hold_id, fitted.legs[0].held, fitted.legs[0].balance) == (True, HOLD, 0, 16)


@pytest.mark.parametrize("status", [COMMITTED, RELEASED])
def test_a_commit_of_a_hold_that_was_settled_otherwise_is_charged_and_leaves_the_hold_alone(
    status: str,
) -> None:
    scribe = Scribe()
    commit = scribe.commit(scribe.reserve({ALICE: 5}, hold_id=HOLD), 4)
    (fitted,) = fit(Books({("acme", ALICE): (20, 0)}, known(status, 5)), commit)
    assert (fitted.hold_id, fitted.legs[0].amount, fitted.legs[0].balance) == ("", -4, 16)
    assert (fitted.legs[0].reserved, fitted.legs[0].hold) == (0, 0)


def test_what_undoes_a_hold_that_has_expired_still_settles_it_and_a_plain_release_does_not() -> None:
    scribe = Scribe()
    release = scribe.release(scribe.reserve({ALICE: 5}, hold_id=HOLD))
    assert fit(Books({("acme", ALICE): (20, 0)}, known(EXPIRED, 5)), release) == []
    (fitted,) = fit(Books({("acme", ALICE): (20, 0)}, known(EXPIRED, 5)), replace(release, late=True))
    assert (fitted.verb, fitted.hold_id, fitted.late) == ("release", HOLD, True)
    assert (fitted.legs[0].held, fitted.legs[0].reserved) == (0, 0)


def test_a_copy_of_the_books_goes_its_own_way() -> None:
    books, scribe = Books({}, {}), Scribe()
    scribe.allocate(ALICE, 10)
    hold = scribe.reserve({ALICE: 5}, hold_id=HOLD)
    assert fit(books.copy(), *scribe.entries) == fit(books, *scribe.entries) == scribe.entries
    copied = books.copy()
    assert fit(copied, scribe.release(hold)) == scribe.entries[2:]
    assert fit(books, scribe.entries[2]) == scribe.entries[2:]


def test_a_commit_of_a_hold_nobody_knows_makes_it_first() -> None:
    scribe = Scribe()
    commit = scribe.commit(scribe.reserve({ALICE: 5}, hold_id=HOLD), 4)
    made, fitted = fit(Books({}, {}), commit)
    assert (made.verb, made.hold_id, made.legs[0].reserved, made.legs[0].amount) == ("reserve", HOLD, 5, 0)
    assert (fitted.legs[0].balance, fitted.legs[0].reserved) == (-4, 0)


def test_an_extension_of_a_hold_nobody_knows_makes_it_at_its_full_size() -> None:
    scribe = Scribe()
    extension = scribe.extend(scribe.reserve({ALICE: 5}, hold_id=HOLD), 3)
    (made,) = fit(Books({}, {}), extension)
    assert (made.verb, made.expires_ms, made.legs[0].hold, made.legs[0].reserved) == (
        "reserve",
        extension.expires_ms,
        8,
        8,
    )


@pytest.mark.parametrize("status", [COMMITTED, RELEASED, EXPIRED])
def test_what_changes_nothing_any_more_is_left_out(status: str) -> None:
    scribe = Scribe()
    hold = scribe.reserve({ALICE: 5}, hold_id=HOLD)
    extension, release = scribe.extend(hold, 3), scribe.release(hold)
    books = Books({("acme", ALICE): (20, 0)}, known(status, 5))
    assert fit(books, scribe.entries[0], extension, release, scribe.audit(ALICE)) == []


def test_a_release_of_a_hold_nobody_knows_is_left_out() -> None:
    scribe = Scribe()
    assert fit(Books({}, {}), scribe.release(scribe.reserve({ALICE: 5}))) == []
