"""What every script claims in common: the epoch is checked, time never goes back, an answer is repeated."""

from __future__ import annotations

import pytest
from desk import NEIGHBOUR, SEEN_MS, START_MS, A, B, Desk, Reply

from gateway.store.errors import RefusedError
from gateway.store.replies import read_done, read_standing

CHANGES = ("allocate", "adjust", "consume", "reserve", "commit", "release", "extend")


async def change(desk: Desk, verb: str, amount: int = 5, key: str = "", mark: str = "") -> Reply:
    """Run a changing verb on account A or on the hold ``open``."""
    if verb == "consume":
        return await desk.consume(A, amount, key=key, mark=mark)
    if verb in {"allocate", "adjust"}:
        return await getattr(desk, verb)(A, amount, key, mark)
    if verb == "reserve":
        return await desk.reserve("new", [(A, amount)], key=key, mark=mark)
    if verb == "commit":
        return await desk.commit("open", amount, key=key, mark=mark)
    if verb == "extend":
        return await desk.extend("open", 90_000, amount, key=key, mark=mark)
    return await desk.release("open", key, mark)


async def every_script(desk: Desk) -> list[Reply]:
    changes = [await change(desk, verb, key="k") for verb in CHANGES]
    return [
        *changes,
        await desk.balance(A),
        await desk.look("open"),
        await desk.sweep(),
        await desk.audit(A),
        await desk.audit_holds(A, "open"),
        await desk.repair(A, "1-0"),
        await desk.install(A, 1, 0, 0, 0),
        await desk.recall("open", "absent"),
        await desk.posted(0),
    ]


async def an_account_with_an_open_hold(desk: Desk) -> None:
    await desk.known(A, balance=100)
    assert (await desk.reserve("open", [(A, 20)]))[0] == "DONE"


@pytest.mark.parametrize("epoch", [0, 2, ""])
async def test_another_epoch_is_stale_and_nothing_changes(desk: Desk, epoch: int | str) -> None:
    await an_account_with_an_open_hold(desk)
    before = await desk.everything()
    desk.epoch = epoch  # type: ignore[assignment]  # an epoch nobody could have
    assert {tuple(reply) for reply in await every_script(desk)} == {("STALE", "1")}
    assert await desk.everything() == before


async def test_a_closed_shard_is_stale_and_names_no_epoch(desk: Desk) -> None:
    await an_account_with_an_open_hold(desk)
    await desk.link.call("HDEL", desk.keys.meta, "epoch")
    before = await desk.everything()
    assert {tuple(reply) for reply in await every_script(desk)} == {("STALE", "")}
    assert await desk.everything() == before


async def test_a_lost_shard_is_stale(desk: Desk) -> None:
    await an_account_with_an_open_hold(desk)
    await desk.link.call("FLUSHALL")
    assert {tuple(reply) for reply in await every_script(desk)} == {("STALE", "")}
    assert await desk.everything() == {}


async def test_opening_an_open_shard_again_keeps_its_mark_and_its_clock(desk: Desk) -> None:
    await an_account_with_an_open_hold(desk)
    await desk.posted(0)
    before = await desk.everything()
    await desk.open(1)
    assert await desk.everything() == before


async def test_opening_a_later_epoch_starts_clean_and_keeps_the_clock(desk: Desk) -> None:
    await an_account_with_an_open_hold(desk)
    await desk.open(3)
    assert (await desk.balance(A, at=START_MS - 1))[:3] == ["LOAD", "-1", f"{START_MS - 1}:{START_MS}"]
    await desk.known(A)
    assert (await desk.balance(A, at=START_MS - 1))[4] == str(START_MS)
    await desk.known(A, balance=100)
    assert read_done(await desk.allocate(A, 1), b"").entry.position == (3, 0)
    assert await desk.link.call("HGET", desk.keys.meta, "last_ms") == str(START_MS)


async def test_opening_an_earlier_epoch_is_refused(desk: Desk) -> None:
    await desk.open(3)
    with pytest.raises(RefusedError, match="AHEAD the shard is open in epoch 3"):
        await desk.open(2)


@pytest.mark.parametrize("verb", CHANGES)
async def test_an_epoch_the_journal_has_left_is_refused_with_nothing_written(desk: Desk, verb: str) -> None:
    await an_account_with_an_open_hold(desk)
    await desk.link.call("XADD", desk.keys.journal, "7-*", "head", "allocate 0 acme - 0 0")
    before = await desk.everything()
    with pytest.raises(RefusedError, match="equal or smaller"):
        await change(desk, verb, key="k")
    assert await desk.everything() == before
    await desk.link.call("XDEL", desk.keys.journal, "7-0")


async def test_expired_holds_stay_whole_when_the_journal_refuses_the_epoch(desk: Desk) -> None:
    await an_account_with_an_open_hold(desk)
    await desk.link.call("XADD", desk.keys.journal, "7-*", "head", "allocate 0 acme - 0 0")
    before = await desk.everything()
    desk.now += 60_000
    with pytest.raises(RefusedError):
        await desk.balance(A)
    with pytest.raises(RefusedError):
        await desk.sweep()
    assert await desk.everything() == before


@pytest.mark.parametrize("verb", CHANGES)
async def test_a_repeated_call_gets_its_first_answer_and_changes_nothing(desk: Desk, verb: str) -> None:
    await an_account_with_an_open_hold(desk)
    first = await change(desk, verb, key="k%3A1", mark="f1")
    assert first[0] == "DONE"
    await desk.allocate(A, 1000)
    before = await desk.everything()
    desk.now += 120_000  # also after the hold has expired
    assert await change(desk, verb, key="k%3A1", mark="f1") == ["REPLAYED", "-1", *first[2:]]
    assert await desk.everything() == before


@pytest.mark.parametrize("verb", CHANGES)
async def test_a_key_that_came_with_something_else_is_a_mismatch(desk: Desk, verb: str) -> None:
    await an_account_with_an_open_hold(desk)
    assert (await desk.allocate(A, 7, key="k", mark="f1"))[0] == "DONE"
    before = await desk.everything()
    assert await change(desk, verb, key="k", mark="f2") == ["MISMATCH", "-1"]
    assert await desk.everything() == before


async def test_a_denial_and_an_overflow_are_remembered_for_nobody(desk: Desk) -> None:
    await desk.known(A, balance=2)
    assert (await desk.reserve("h", [(A, 3)], key="k"))[0] == "DENIED"
    assert (await desk.consume(A, 3, check=1, key="k"))[0] == "DENIED"
    assert (await desk.allocate(A, 2**53 - 1, key="k"))[0] == "OVERFLOW"
    await desk.allocate(A, 1)
    assert (await desk.reserve("h", [(A, 3)], key="k"))[0] == "DONE"


async def test_a_settled_hold_is_no_answer_to_remember(desk: Desk) -> None:
    await an_account_with_an_open_hold(desk)
    await desk.release("open")
    assert await desk.commit("open", 1, key="k") == ["SETTLED", "-1", "released"]
    assert await desk.link.call("KEYS", "*:seen:*") == []


async def test_an_answer_is_remembered_for_the_window(desk: Desk) -> None:
    await desk.known(A)
    await desk.allocate(A, 1, key="k")
    seen = f"{desk.keys.seen_prefix}acme:k"
    assert SEEN_MS - 60_000 < await desk.link.call("PTTL", seen) <= SEEN_MS


async def test_keys_of_two_namespaces_are_two(desk: Desk) -> None:
    other = Desk(desk.link, desk.scripts, NEIGHBOUR)
    assert other.shard == desk.shard
    for each in (desk, other):
        await each.known(A)
        assert (await each.allocate(A, 1, key="k"))[0] == "DONE"


async def test_a_clock_that_goes_back_is_held_at_the_last_change(desk: Desk) -> None:
    await desk.known(A, balance=100)
    await desk.reserve("h", [(A, 10)], 1000, at=START_MS)
    done = read_done(await desk.allocate(A, 1, at=START_MS - 5000), b"")
    assert done.entry.at_ms == START_MS
    done = read_done(await desk.reserve("g", [(A, 10)], 1000, at=1), b"")
    assert (done.entry.at_ms, done.entry.expires_ms) == (START_MS, START_MS + 1000)
    assert read_standing(await desk.balance(A, at=START_MS + 1000)).reserved == 0
    # What expired stays so, and the journal's times never decrease.
    assert read_standing(await desk.balance(A, at=START_MS)) == (101, 0, START_MS + 1000)
    times = [entry.at_ms for entry in await desk.entries()]
    assert times == sorted(times)


async def test_without_a_time_the_server_gives_its_own(desk: Desk) -> None:
    await desk.known(A)
    seconds, micros = map(int, await desk.link.call("TIME"))
    reply = await desk.run("balance", [desk.keys.due], "", "acme", A)
    assert 0 <= read_standing(reply).now_ms - (seconds * 1000 + micros // 1000) < 60_000


async def test_every_answer_carries_the_watermark(desk: Desk) -> None:
    await an_account_with_an_open_hold(desk)
    await desk.known(B)
    await desk.posted(0)
    await desk.allocate(A, 3, "known", "f")
    replies = [
        await desk.allocate(A, 3),
        await desk.allocate(A, 3, "known", "f"),
        await desk.allocate(A, 3, "known", "g"),
        await desk.allocate(A, 2**53 - 1),
        await desk.allocate("nobody:x:y:", 3),
        await desk.consume(B, 3, check=1),
        await desk.balance(A),
        await desk.look("open"),
        await desk.look("none"),
        await desk.sweep(),
        await desk.audit(A),
        await desk.audit("nobody:x:y:"),
        await desk.recall("none", "absent"),
        await desk.commit("none", 1),
        await desk.install(A, 1, 0, 0, 0),
        await desk.posted(-1),
    ]
    assert [reply[1] for reply in replies] == ["0"] * len(replies)
    assert [reply[0] for reply in replies] == [
        *("DONE", "REPLAYED", "MISMATCH", "OVERFLOW", "LOAD", "DENIED", "BALANCE", "HOLD", "LOAD", "SWEPT"),
        *("DONE", "NOTHING", "INSTALLED", "SETTLED", "INSTALLED", "POSTED"),
    ]
