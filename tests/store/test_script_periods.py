"""Periods as the scripts keep them: what lapses and what does not, at every edge, and beside many expired holds."""

from __future__ import annotations

import pytest
from desk import START_MS, A, B, Desk

CLOSED_MS = START_MS - 500
UNLIMITED = -(2**53 - 1)


async def install_closed(
    desk: Desk, account: str = A, balance: int = 200, over: int = 0, *, expired: int = 0, open_holds: int = 0
) -> None:
    """Install an account whose period has closed, with ``over`` beyond what could be carried over.

    It has holds h0, h1... of 1 each from before that, and ``expired`` others that were made since and are over.
    """
    words = f"0 {CLOSED_MS} {over} - 2096-09-30 - 10 0 2096-01-01 - -"
    holds = [(f"h{n}", START_MS + 60_000, CLOSED_MS - 1) for n in range(open_holds)]
    holds += [(f"over{n}", START_MS - 1, CLOSED_MS) for n in range(expired)]
    flat = [
        word
        for name, expires_ms, created_ms in holds
        for word in (name, expires_ms, f"{expires_ms} {created_ms} {account} 1", "")
    ]
    installed = await desk.install(account, words, balance, len(holds), len(holds), *flat)
    assert installed == ["INSTALLED", "-1"]


@pytest.mark.parametrize("verb", ["undo", "commit", "release"])
async def test_what_is_asked_for_again_has_let_nothing_lapse_yet(desk: Desk, verb: str) -> None:
    """More has expired than one call returns: it changes nothing else, and what lapses does so once."""
    await install_closed(desk, expired=101, open_holds=1)

    async def settle() -> list[str]:
        if verb == "undo":
            return await desk.undo("consume", "-", "duplicate:1-1", A, -4, made_ms=CLOSED_MS - 1)
        return await (desk.commit("h0", 0) if verb == "commit" else desk.release("h0"))

    assert await settle() == ["AGAIN", "-1"]
    assert await desk.standing(A) == (200, 2)
    assert (await settle())[0] == "DONE"
    assert await desk.standing(A) == ((200, 1) if verb == "undo" else (199, 0))
