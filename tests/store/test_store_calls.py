"""Calls: how often a call is made again, and when it is given up. The links here say what the test wants."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from servers_under_test import ServerUnderTest
from stand import ACCOUNT, Stand, call, hold_id, legs

from gateway.domain.entries import Position
from gateway.domain.names import SHARDS
from gateway.errors import MeterUnavailableError
from gateway.store.calls import Calls
from gateway.store.errors import LinkLostError, RefusedError, StoreError, UnfencedError
from gateway.store.keys import ShardKeys
from gateway.store.loading import Loader
from gateway.store.pipeline import Link, Word
from gateway.store.scripts import scripts

DONE = ["DONE", "-1", "1-0", "allocate 5 acme - 0 0"]
FEW = 4

Answer = Callable[[Sequence[Word]], Any]


class ScriptedLink:
    """Answers calls in order with values and errors; the last one answers all that follow."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self.calls: list[tuple[Word, ...]] = []

    def call(self, *words: Word) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.calls.append(words)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, StoreError):
            future.set_exception(type(answer)(str(answer), **vars(answer)))
        else:
            future.set_result(answer)
        return future

    async def close(self) -> None: ...


class CountingFence:
    """Gives every shard an epoch, one more each time."""

    def __init__(self, error: Exception | None = None) -> None:
        self.raised = 0
        self._error = error

    async def raise_up(self) -> Mapping[int, int]:
        self.raised += 1
        await asyncio.sleep(0)
        if self._error is not None:
            raise self._error
        return dict.fromkeys(range(SHARDS), self.raised)


class NoSource:
    """A ledger that is away, or that knows nothing."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    async def load_accounts(self, wanted: Any) -> Mapping[Any, Any]:
        if self._error is not None:
            raise self._error
        return {}

    load_holds = load_accounts


def calls_over(
    link: Any, fence: Any = None, source: Any = None, clock: Callable[[], Word] | None = None
) -> Calls:
    loader = Loader(link, scripts(), source or NoSource(), absent_ttl_ms=1000, settled_ms=1000)
    made = Calls(link, scripts(), fence or CountingFence(), loader)
    if clock is not None:
        made = Calls(link, scripts(), fence or CountingFence(), loader, clock)
    return made


def run(calls: Calls, *, repeatable: bool = False) -> Any:
    return calls.run("allocate", 62, "", "", ("acme", "", 1, "a", 5, ""), repeatable=repeatable)


async def test_a_call_names_keys_epoch_and_time() -> None:
    link = ScriptedLink(DONE)
    calls = calls_over(link, clock=lambda: 17)
    await calls.open()
    await calls.run("commit", 62, "acme:h", "acme:k", ("acme", "f", 9, "h", "charge", b"{}", 4))
    keys = ShardKeys(62, 1)
    assert link.calls == [
        (
            *("EVALSHA", scripts()["commit"].sha, 5, keys.meta, keys.journal, keys.due),
            *(keys.hold_prefix + "acme:h", keys.seen_prefix + "acme:k", "1", 17),
            *("acme", "f", 9, "h", "charge", b"{}", 4),
        )
    ]


async def test_an_unfenced_server_is_fenced_and_asked_again() -> None:
    link = ScriptedLink(UnfencedError("NOSCRIPT"), DONE)
    fence = CountingFence()
    assert await run(calls_over(link, fence)) == DONE
    assert (len(link.calls), fence.raised) == (2, 1)
    assert [words[6] for words in link.calls] == ["0", "1"]


async def test_a_stale_epoch_is_learnt_anew() -> None:
    link = ScriptedLink(["STALE", "7"], DONE)
    calls = calls_over(link)
    assert await run(calls) == DONE
    assert calls.keys(62).epoch == "1"
    assert calls.keys(127).epoch == "1"


async def test_a_shard_that_stays_closed_is_told_by_its_number() -> None:
    with pytest.raises(MeterUnavailableError, match=r"^shard 62 is closed while Redis recovers$") as told:
        await run(calls_over(ScriptedLink(["STALE", "7"])))
    assert told.value.code == "recovering"


async def test_one_fence_serves_all_who_need_it() -> None:
    errors = [UnfencedError("NOSCRIPT")] * 20
    link = ScriptedLink(*errors, DONE)
    fence = CountingFence()
    calls = calls_over(link, fence)
    assert await asyncio.gather(*(run(calls) for _ in range(20))) == [DONE] * 20
    assert fence.raised == 1
    await calls.open()
    assert fence.raised == 2


async def test_one_who_gives_up_waiting_does_not_stop_the_fence() -> None:
    fence = CountingFence()
    calls = calls_over(ScriptedLink(DONE), fence)
    first, second = asyncio.ensure_future(calls.open()), asyncio.ensure_future(calls.open())
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert (first.cancelled(), fence.raised) == (True, 1)


async def test_a_fence_that_fails_is_told_to_all_and_tried_again() -> None:
    fence = CountingFence(MeterUnavailableError("no", "recovering"))
    calls = calls_over(ScriptedLink(UnfencedError("NOSCRIPT")), fence)
    results = await asyncio.gather(*(run(calls) for _ in range(5)), return_exceptions=True)
    assert {getattr(result, "code", None) for result in results} == {"recovering"}
    assert fence.raised == 1
    with pytest.raises(MeterUnavailableError):
        await calls.open()
    assert fence.raised == 2


@pytest.mark.parametrize(
    ("sent", "repeatable", "again"),
    [(True, False, False), (True, True, True), (False, False, True), (False, True, True)],
)
async def test_a_lost_call_is_made_again_when_it_can_do_no_harm(
    sent: bool, repeatable: bool, again: bool
) -> None:
    link = ScriptedLink(LinkLostError("gone", sent=sent), DONE)
    calls = calls_over(link)
    if again:
        assert await run(calls, repeatable=repeatable) == DONE
    else:
        with pytest.raises(MeterUnavailableError, match="gone"):
            await run(calls, repeatable=repeatable)
    assert len(link.calls) == 1 + again


async def test_a_repeatable_call_is_not_repeated_for_ever() -> None:
    link = ScriptedLink(LinkLostError("gone", sent=True))
    with pytest.raises(MeterUnavailableError):
        await run(calls_over(link), repeatable=True)
    assert 1 < len(link.calls) <= FEW


async def test_a_server_that_is_away_is_given_up_soon() -> None:
    link = ScriptedLink(LinkLostError("cannot connect", sent=False))
    with pytest.raises(MeterUnavailableError):
        await run(calls_over(link))
    assert len(link.calls) <= FEW


async def test_a_refusal_of_the_server_ends_the_call() -> None:
    link = ScriptedLink(RefusedError("OOM command not allowed"))
    with pytest.raises(MeterUnavailableError, match="OOM"):
        await run(calls_over(link), repeatable=True)
    assert len(link.calls) == 1


async def test_a_call_that_never_becomes_final_is_given_up() -> None:
    link = ScriptedLink(["LOAD", "-1", "5", "", "acme:a"])
    with pytest.raises(MeterUnavailableError, match="absent"):
        await run(calls_over(link))
    assert len(link.calls) < 100


@pytest.mark.parametrize("answer", [["STALE", "7"], UnfencedError("NOSCRIPT")])
async def test_a_server_that_stays_unfenced_is_given_up_soon(answer: Any) -> None:
    link, fence = ScriptedLink(answer), CountingFence()
    with pytest.raises(MeterUnavailableError):
        await run(calls_over(link, fence), repeatable=True)
    assert len(link.calls) <= FEW
    assert fence.raised <= FEW


async def test_a_ledger_that_is_away_fails_the_call_that_needs_it() -> None:
    link = ScriptedLink(["LOAD", "-1", "5", "", "acme:a"])
    with pytest.raises(MeterUnavailableError, match="ledger is away"):
        await run(calls_over(link, source=NoSource(MeterUnavailableError("the ledger is away"))))


@pytest.mark.parametrize(
    "error", [LinkLostError("gone", sent=True), RefusedError("OOM"), UnfencedError("NOSCRIPT")]
)
async def test_a_link_that_fails_while_loading_is_unavailability(error: StoreError) -> None:
    link = ScriptedLink(["LOAD", "-1", "5", "", "acme:a"], error, DONE)
    result = (await asyncio.gather(run(calls_over(link)), return_exceptions=True))[0]
    assert result == DONE or isinstance(result, MeterUnavailableError)


async def test_a_clock_of_ones_own_goes_with_loads_too(stand: Stand) -> None:
    stand = Stand(stand.server, stand.link, clock=lambda: 1_000_000_000_000)
    standing = await stand.decider.standing("acme", ACCOUNT)
    assert standing == (0, 0, 1_000_000_000_000)


async def test_an_account_with_very_many_expired_holds_still_answers(stand: Stand) -> None:
    await overdue(stand, 6500)
    assert (await stand.decider.standing("acme", ACCOUNT))[:2] == (10_000, 0)


async def test_expire_expires_every_overdue_hold_of_one_account(stand: Stand) -> None:
    await overdue(stand, 250)
    assert await stand.decider.expire("acme") == 250


async def overdue(stand: Stand, count: int) -> None:
    """Bring in an account with many holds that are overdue."""
    await stand.decider.open()
    now_ms = (await stand.decider.standing("acme", "some:other:x:")).now_ms
    args: list[Word] = [ACCOUNT, 1, 10_000, count, count]
    for number in range(count):
        args += [hold_id(number), now_ms - 1, f"{now_ms - 1} {now_ms - 9} {ACCOUNT} 1", b""]
    keys = stand.keys
    names = (keys.meta, keys.journal, keys.due)
    reply = await stand.link.call(
        "EVALSHA",
        stand.server.scripts["install"].sha,
        3,
        *names,
        keys.epoch,
        "",
        "acme",
        f"{now_ms}:{now_ms}",
        1000,
        *args,
    )
    assert reply[0] == "INSTALLED"


async def test_the_head_outlives_the_entries(stand: Stand) -> None:
    await stand.decider.open()
    assert await stand.decider.head(stand.shard) == Position(1, -1)
    for _ in range(3):
        await stand.decider.allocate(call(), ACCOUNT, 5)
    assert await stand.decider.head(stand.shard) == Position(1, 2)
    keys = stand.keys
    await stand.link.call("HSET", keys.meta, "posted", 2)
    await stand.link.call("XTRIM", keys.journal, "MAXLEN", 0)
    assert await stand.decider.head(stand.shard) == Position(1, 2)
    await stand.decider.reserve(call(), hold_id(1), 1000, legs(1))
    assert await stand.decider.head(stand.shard) == Position(1, 3)


async def test_the_head_of_a_server_that_is_away_is_not_known() -> None:
    with pytest.raises(MeterUnavailableError):
        await calls_over(ScriptedLink(LinkLostError("gone", sent=False))).head(3)


async def test_the_shards_time_is_that_of_its_scripts(server: ServerUnderTest, link: Link) -> None:
    now = [4_000_000_000_000]
    stand = Stand(server, link, clock=lambda: now[0])
    await stand.decider.allocate(call(), ACCOUNT, 1)
    assert await stand.decider.now_ms(stand.shard) == now[0]
    now[0] -= 1000
    assert await stand.decider.now_ms(stand.shard) == now[0] + 1000
    assert (await stand.decider.standing("acme", ACCOUNT)).now_ms == now[0] + 1000


async def test_without_a_clock_of_its_own_a_shard_has_the_servers(stand: Stand) -> None:
    await stand.decider.open()
    before, after = [await stand.decider.now_ms(stand.shard) for _ in range(2)]
    assert 0 <= after - before < 60_000
    assert abs(before - time.time_ns() // 1_000_000) < 60_000
