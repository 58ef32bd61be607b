"""Chores go on beside something else: whatever makes one fail, it is begun again."""

from __future__ import annotations

import asyncio

import pytest
import structlog

from gateway.running.chores import insist, running_chore

WAIT_S = 10.0


class Chore:
    """Work that fails as often as it is told, and then goes on until it is cancelled."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.going = asyncio.Event()
        self.ended = False

    async def work(self) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.going.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended = True


async def test_a_chore_that_fails_is_begun_again_and_ends_with_its_context() -> None:
    chore = Chore(KeyError("a mistake"), ExceptionGroup("two", [ValueError("a right is missing")]))
    with structlog.testing.capture_logs() as logs:
        async with asyncio.timeout(WAIT_S), running_chore("chore_of_a_test", chore.work):
            await chore.going.wait()
            assert not chore.ended
    assert chore.ended
    # Others who work in this process log too.
    mine = [log for log in logs if log.get("chore") == "chore_of_a_test"]
    told = [(log["event"], log["attempts"], log["log_level"]) for log in mine]
    assert told == [("chore_failed", n, "error") for n in (1, 2)]


async def test_what_fails_at_the_end_is_told_to_whoever_waits_for_it() -> None:
    ending = asyncio.Event()
    ending.set()
    with pytest.raises(KeyError):
        await insist("post", Chore(KeyError("a mistake")).work, ending.is_set)
