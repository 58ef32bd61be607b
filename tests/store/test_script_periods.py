"""Periods as the scripts keep them: what lapses and what does not, at every edge."""

from __future__ import annotations

import pytest
from desk import START_MS, A, Desk

CLOSED_MS = START_MS - 500
UNLIMITED = -(2**53 - 1)


async def install_closed(
    desk: Desk, account: str = A, over: int = 0, made_ms: int = CLOSED_MS - 1, expired: int = 0
) -> None:
    """Install an account with 200 whose period has closed, with ``over`` beyond what could be carried over.

    Its hold h of 10 was made at ``made_ms``; ``expired`` others of 1 were made since and are over.
    """
    words = f"0 {CLOSED_MS} {over} - 2096-09-30 - 10 0 2096-01-01 - -"
    holds = [("h", START_MS + 60_000, made_ms, 10)]
    holds += [(f"over{n}", START_MS - 1, CLOSED_MS, 1) for n in range(expired)]
    flat = [
        word
        for name, expires_ms, created_ms, amount in holds
        for word in (name, expires_ms, f"{expires_ms} {created_ms} {account} {amount}", "")
    ]
    installed = await desk.install(account, words, 200, 10 + expired, len(holds), *flat)
    assert installed == ["INSTALLED", "-1"]


@pytest.mark.parametrize("verb", ["undo", "commit", "release"])
async def test_what_is_asked_for_again_has_let_nothing_lapse_yet(desk: Desk, verb: str) -> None:
    """More has expired than one call returns: it changes nothing else, and what lapses does so once."""
    await install_closed(desk, expired=101)

    async def settle() -> list[str]:
        if verb == "undo":
            return await desk.undo("consume", "-", "duplicate:1-1", A, -4, made_ms=CLOSED_MS - 1)
        return await (desk.commit("h", 0) if verb == "commit" else desk.release("h"))

    assert await settle() == ["AGAIN", "-1"]
    assert await desk.standing(A) == (200, 11)
    assert (await settle())[0] == "DONE"
    assert await desk.standing(A) == ((200, 10) if verb == "undo" else (190, 0))


@pytest.mark.parametrize(
    ("since_ms", "over", "added", "word"),
    [
        (-1, 0, 5, "SETTLED"),
        (-1, 0, 0, "DONE"),
        (-1, UNLIMITED, 5, "DONE"),
        (-1, UNLIMITED + 1, 5, "SETTLED"),
        (0, 0, 5, "DONE"),
    ],
)
async def test_a_hold_stays_at_its_size_once_its_period_has_closed(
    desk: Desk, since_ms: int, over: int, added: int, word: str
) -> None:
    """One made from that moment on does not, nor where all is carried over; more time may always be had."""
    await install_closed(desk, over=over, made_ms=CLOSED_MS + since_ms)
    reply = await desk.extend("h", 90_000, added)
    assert reply[0] == word
    assert word == "DONE" or reply[1:] == ["-1", "closed"]
