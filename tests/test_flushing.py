"""What a gateway knows of its flusher: only what lasts is a fault, and no death takes a count back."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from freezing import children

from gateway.embedded import open_meters
from gateway.running.flushing import FlusherNews, flusher_process, telling_gateway
from gateway.servers import start_servers
from gateway.settings import Settings
from persistence.patience import Trouble


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("gateway.running.flushing.time.monotonic", lambda: now[0])
    return now


def test_only_what_lasts_is_a_fault(clock: list[float]) -> None:
    news = FlusherNews()
    assert news.fault is None
    news.heard(Trouble(1, "deadlock detected"))
    clock[0] += 2
    assert news.fault is None
    news.heard(Trouble(2, "no space left"))
    clock[0] += 2
    assert news.fault == "the flusher has not posted for 4 s: no space left"
    news.heard(Trouble(2, None))
    assert news.fault is None
    assert news.retries == 2


def test_a_flusher_that_died_is_a_fault_until_the_next_one_is_heard_of(clock: list[float]) -> None:
    news = FlusherNews()
    news.heard(Trouble(5, "away"))
    news.died("exit code -9")
    clock[0] += 4
    assert news.fault is not None
    assert "it died: exit code -9" in news.fault
    news.heard(Trouble(0, None))
    assert news.fault is None
    news.heard(Trouble(3, "away"))
    assert news.retries == 8


def test_a_flusher_never_waits_for_a_gateway_that_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stdout, os.fdopen(reading, "rb", buffering=0) as pipe:
        monkeypatch.setattr("gateway.running.flushing.sys.stdout", stdout)
        tell = telling_gateway()
        telling = threading.Thread(target=lambda: [tell(Trouble(n, "\1" * 9000)) for n in range(100)])
        telling.start()
        telling.join(10)
        stuck = telling.is_alive()
        heard = pipe.read(1 << 20)
        telling.join(10)
    assert not stuck
    told = [msgspec.json.decode(line, type=Trouble) for line in heard.splitlines()]
    assert [trouble.attempts for trouble in told] == [*range(len(told))], "what goes into it goes whole"
    assert 0 < len(told) < 100


async def test_a_flusher_that_is_killed_is_followed_by_one_that_says_so(settings: Settings) -> None:
    news = FlusherNews()
    async with flusher_process(settings, news):
        await until(flushers)
        for pid in flushers():
            os.kill(pid, signal.SIGKILL)
        await until(lambda: news._reason is not None)
        await until(lambda: news._reason is None)
    assert flushers() == []


async def test_a_flusher_has_the_settings_of_its_gateway_and_no_others(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("QUOTAGATE_PORT", "QUOTAGATE_DRAIN_SECONDS"):
        monkeypatch.setenv(variable, "what the command line overrode")
    monkeypatch.setenv("QUOTAGATE_HOST", "0.0.0.0")
    news = FlusherNews()
    news.died("none was there yet")
    async with flusher_process(settings, news):
        await until(lambda: news._reason is None)


@pytest.fixture(scope="module")
def unposted() -> Iterator[Settings]:
    """Settings of servers that nobody else posts from."""
    with start_servers(None, ephemeral=True, fsync=False) as running:
        yield Settings(redis_url=running.redis_url, database_url=running.database_url, flusher=False)


@pytest.mark.parametrize("killed", [False, True], ids=["starts", "was-killed"])
async def test_what_there_is_is_posted_by_one_that_is_told_to_stop_as_it(
    unposted: Settings, killed: bool
) -> None:
    news = FlusherNews()
    async with open_meters(unposted) as meters:
        meter = meters("acme")
        async with flusher_process(unposted, news):
            if killed:
                await until(flushers)
                os.kill(flushers()[0], signal.SIGKILL)
                await until(lambda: news._reason is not None)
            booked = await meter.allocate("alice", "llm_call", 5, "tokens")
        assert flushers() == []
        entries = await meter.get_ledger("alice", "llm_call", "tokens")
    assert entries[0]["id"] == booked["entry_id"]


def flushers() -> list[int]:
    return [pid for pid in children(os.getpid()) if b"--lifeline" in words_of(pid)]


def words_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.01)
