"""The verbs as Python calls them, through link, loader and scripts, on every server."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace
from servers_under_test import ServerUnderTest
from stand import ACCOUNT, Stand, call, hold_id, legs

from gateway.domain.decisions import Denied, Done, Settled
from gateway.domain.names import account_text
from gateway.errors import MeterConflictError, MeterValidationError

LARGEST = 2**53 - 1


async def entry_of(decision: object) -> tuple[str, int, int]:
    assert isinstance(decision, Done), decision
    leg = decision.entry.legs[0]
    return decision.entry.verb, leg.balance, leg.reserved


async def test_two_hundred_concurrent_reserves_of_three_on_a_hundred_grant_thirty_three(stand: Stand) -> None:
    await stand.decider.allocate(call(), ACCOUNT, 100)
    decisions = await asyncio.gather(
        *(stand.decider.reserve(call(), hold_id(n), 60_000, legs(3)) for n in range(200))
    )
    granted = [decision for decision in decisions if isinstance(decision, Done)]
    denied = [decision for decision in decisions if isinstance(decision, Denied)]
    assert (len(granted), len(denied)) == (33, 167)
    assert {(d.balance, d.reserved) for d in denied} == {(100, 99)}
    assert (await stand.decider.standing("acme", ACCOUNT))[:2] == (100, 99)
    await stand.post()
    assert stand.ledger.accounts["acme", ACCOUNT] == (100, 99)


async def test_reserves_over_several_connections_grant_no_more(stand: Stand, server: ServerUnderTest) -> None:
    await stand.decider.allocate(call(), ACCOUNT, 100)
    links = [server.link() for _ in range(8)]
    others = [stand.other(link) for link in links]
    decisions = await asyncio.gather(
        *(
            other.decider.reserve(call(), hold_id(1000 * n + m), 60_000, legs(3))
            for n, other in enumerate(others)
            for m in range(25)
        )
    )
    assert sum(isinstance(decision, Done) for decision in decisions) == 33
    for link in links:
        await link.close()


async def test_a_life(stand: Stand) -> None:
    decider = stand.decider
    assert await entry_of(await decider.allocate(call(), ACCOUNT, 100)) == ("allocate", 100, 0)
    assert await entry_of(await decider.consume(call(), ACCOUNT, 10, check=True)) == ("consume", 90, 0)
    assert await entry_of(await decider.adjust(call(), ACCOUNT, -5)) == ("adjust", 85, 0)
    assert await entry_of(await decider.reserve(call(), hold_id(1), 60_000, legs(80))) == ("reserve", 85, 80)
    assert isinstance(await decider.consume(call(), ACCOUNT, 6, check=True), Denied)
    assert await entry_of(await decider.extend(call(), hold_id(1), 90_000, [5])) == ("extend", 85, 85)
    assert isinstance(await decider.extend(call(), hold_id(1), 0, [1]), Denied)
    assert await entry_of(await decider.commit(call(), hold_id(1), [60])) == ("commit", 25, 0)
    assert await decider.commit(call(), hold_id(1), [60]) == Settled("committed")
    assert await decider.release(call(), hold_id(1)) == Settled("committed")
    assert await decider.extend(call(), hold_id(1), 9000, [0]) == Settled("committed")
    assert await entry_of(await decider.reserve(call(), hold_id(2), 60_000, legs(25))) == ("reserve", 25, 25)
    assert await entry_of(await decider.release(call(), hold_id(2))) == ("release", 25, 0)
    found = await decider.look("acme", hold_id(2))
    assert found is not None
    assert found[0].status == "released"
    assert await decider.look("acme", hold_id(3)) is None
    assert await decider.commit(call(), hold_id(3), [1]) == Settled("not_found")
    audit = await stand.auditor.audit("acme", [ACCOUNT])
    assert audit is not None
    assert audit.position == await decider.head(stand.shard)
    assert await stand.auditor.audit("acme", ["nobody:x:y:"]) is None
    await stand.post()


async def test_time_of_the_server_expires_holds(stand: Stand) -> None:
    await stand.decider.allocate(call(), ACCOUNT, 100)
    await stand.decider.reserve(call(), hold_id(1), 1, legs(100))
    done = None
    for _ in range(2000):  # each try takes the server a while; a millisecond is soon over
        done = await stand.decider.reserve(call(), hold_id(2), 60_000, legs(100))
        if isinstance(done, Done):
            break
    assert isinstance(done, Done)
    late = await stand.decider.commit(call(), hold_id(1), [7])
    assert isinstance(late, Done)
    assert late.entry.late


async def test_a_late_commit_is_refused_where_that_is_the_policy(stand: Stand) -> None:
    now = [4_000_000_000_000]
    stand = Stand(stand.server, stand.link, clock=lambda: now[0], late_commit="refuse")
    await stand.decider.allocate(call(), ACCOUNT, 100)
    await stand.decider.reserve(call(), hold_id(1), 1000, legs(100))
    now[0] += 1000
    assert await stand.decider.commit(call("k"), hold_id(1), [7]) == Settled("expired")
    assert await stand.decider.expire("acme") == 0


async def test_a_replay_gives_the_first_answer_and_another_mark_is_a_conflict(stand: Stand) -> None:
    first = await stand.decider.reserve(call("k"), hold_id(1), 60_000, legs(1))
    assert isinstance(first, Denied)
    await stand.decider.allocate(call(), ACCOUNT, 10)
    first = await stand.decider.reserve(call("k"), hold_id(1), 60_000, legs(1))
    again = await stand.decider.reserve(call("k"), hold_id(2), 60_000, legs(1))
    assert isinstance(first, Done)
    assert isinstance(again, Done)
    assert (first.replayed, again.replayed) == (False, True)
    assert again.entry == first.entry
    with pytest.raises(MeterConflictError) as conflict:
        await stand.decider.allocate(call("k", "other"), ACCOUNT, 10)
    assert conflict.value.status == 409


@pytest.mark.parametrize("key", ["a b", "ü:☃", "%", "{x}", "*", "k" * 512, "'\"\\", "a/b?c"])
async def test_a_key_may_be_any_text(stand: Stand, key: str) -> None:
    assert not (await stand.decider.allocate(call(key), ACCOUNT, 10)).replayed
    assert (await stand.decider.allocate(call(key), ACCOUNT, 10)).replayed
    assert not (await stand.decider.allocate(call(key + "x"), ACCOUNT, 10)).replayed


async def test_beyond_the_largest_number_is_a_fault_of_the_amount(stand: Stand) -> None:
    account = account_text("alice", "llm", "usd", None)
    await stand.decider.allocate(call(), account, LARGEST)
    with pytest.raises(MeterValidationError) as caught:
        await stand.decider.allocate(call(), account, 1)
    (fault,) = caught.value.errors
    assert (fault.field, fault.code) == ("amount", "VAL_OUT_OF_RANGE")
    assert (await stand.decider.standing("acme", account))[:2] == (LARGEST, 0)


async def test_a_commit_beyond_the_largest_number_names_the_field_of_commit(stand: Stand) -> None:
    await stand.decider.allocate(call(), ACCOUNT, 1)
    await stand.decider.reserve(call(), hold_id(1), 60_000, legs(1))
    await stand.decider.consume(call(), ACCOUNT, LARGEST, check=False)
    with pytest.raises(MeterValidationError) as caught:
        await stand.decider.commit(call(), hold_id(1), [LARGEST])
    assert caught.value.errors[0].field == "actual_amount"


async def test_many_missing_accounts_share_one_query(stand: Stand) -> None:
    await stand.decider.open()
    accounts = [account_text(f"user-{n}", "llm", "tokens", None) for n in range(100)]
    await asyncio.gather(*(stand.decider.standing("acme", account) for account in accounts))
    asked = [account for query in stand.ledger.queries for _, account in query]
    assert sorted(asked) == sorted(accounts)
    # A socket may give the hundred replies in several pieces; each piece is one query.
    assert len(stand.ledger.queries) <= (10 if stand.server.real else 1)
    await asyncio.gather(*(stand.decider.standing("acme", account) for account in accounts))
    assert len(asked) == sum(map(len, stand.ledger.queries))


async def test_an_unknown_hold_is_asked_for_once_in_a_while(stand: Stand) -> None:
    for _ in range(3):
        assert await stand.decider.commit(call(), hold_id(7), [1]) == Settled("not_found")
        assert await stand.decider.look("acme", hold_id(7)) is None
    assert len(stand.ledger.queries) == 1


async def test_an_account_that_left_comes_back_as_it_was(stand: Stand) -> None:
    other = account_text("bob", "llm", "tokens", None)
    for account in (ACCOUNT, other):
        await stand.decider.allocate(call(), account, 100)
    both = [(ACCOUNT, 10), (other, 20)]
    await stand.decider.reserve(call(body=b'{"reason":"why"}'), hold_id(1), 60_000, both)
    await stand.leave()
    assert (await stand.decider.standing("acme", ACCOUNT))[:2] == (100, 10)
    await stand.leave()
    await stand.leave(other)
    await stand.link.call("DEL", f"{stand.keys.hold_prefix}acme:{hold_id(1)}")
    done = await stand.decider.commit(call(), hold_id(1), [10, 5])
    assert isinstance(done, Done)
    assert [(leg.balance, leg.reserved) for leg in done.entry.legs] == [(90, 0), (95, 0)]
    found = await stand.decider.look("acme", hold_id(1))
    assert found is not None
    assert found[0].body == b'{"reason":"why"}'
    await stand.post()


@pytest.mark.parametrize("status", ["committed", "released"])
async def test_a_settled_hold_that_left_is_read_from_the_ledger(stand: Stand, status: str) -> None:
    await stand.decider.allocate(call(), ACCOUNT, 100)
    await stand.decider.reserve(call(), hold_id(1), 60_000, legs(10))
    if status == "committed":
        await stand.decider.commit(call(), hold_id(1), [4])
    else:
        await stand.decider.release(call(), hold_id(1))
    before = await stand.decider.look("acme", hold_id(1))
    await stand.post()
    await stand.link.call("DEL", f"{stand.keys.hold_prefix}acme:{hold_id(1)}")
    assert await stand.decider.release(call(), hold_id(1)) == Settled(status)
    after = await stand.decider.look("acme", hold_id(1))
    assert before is not None
    assert after is not None
    assert after[0] == before[0]


async def test_a_new_epoch_loads_everything_anew(stand: Stand) -> None:
    await stand.decider.allocate(call(), ACCOUNT, 100)
    await stand.decider.reserve(call(), hold_id(1), 60_000, legs(10))
    await stand.post()
    await stand.link.call("FLUSHALL")
    done = await stand.decider.commit(call(), hold_id(1), [10])
    assert isinstance(done, Done)
    assert (done.entry.position, done.entry.legs[0].balance) == ((2, 0), 90)
    await stand.post()


async def test_a_server_that_forgot_the_scripts_keeps_its_epoch(stand: Stand) -> None:
    await stand.decider.allocate(call(), ACCOUNT, 100)
    await stand.link.call("SCRIPT", "FLUSH")
    done = await stand.decider.consume(call(), ACCOUNT, 1, check=True)
    assert isinstance(done, Done)
    assert done.entry.position == (1, 1)
    assert stand.fence.raised == 2


async def test_the_sweep_of_a_shard_counts_every_namespace(stand: Stand) -> None:
    now = [4_000_000_000_000]
    stand = Stand(stand.server, stand.link, clock=lambda: now[0])
    for namespace in ("acme", "acme-142"):
        for number in range(3):
            await stand.decider.allocate(replace(call(), namespace=namespace), ACCOUNT, 5)
            legs_of = legs(5)
            hold = hold_id(number + 10 * len(namespace))
            await stand.decider.reserve(replace(call(), namespace=namespace), hold, 1000, legs_of)
    now[0] += 1000
    assert await stand.decider.expire("acme") == 3
    assert await stand.decider.sweep(stand.shard) == 0
    for namespace in ("acme", "acme-142"):
        assert (await stand.decider.standing(namespace, ACCOUNT)).reserved == 0


async def test_a_sweep_of_more_accounts_than_one_call_looks_at(stand: Stand) -> None:
    now = [4_000_000_000_000]
    stand = Stand(stand.server, stand.link, clock=lambda: now[0])
    accounts = [account_text(f"u{n}", "llm", "tokens", None) for n in range(230)]
    await asyncio.gather(*(stand.decider.allocate(call(), account, 5) for account in accounts))
    await asyncio.gather(
        *(stand.decider.reserve(call(), hold_id(n), 1000, [(a, 5)]) for n, a in enumerate(accounts))
    )
    now[0] += 1000
    assert await stand.decider.sweep(stand.shard) == 230
    await stand.post()
    assert {reserved for _, reserved in stand.ledger.accounts.values()} == {0}
