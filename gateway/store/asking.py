"""Puts a question to Redis, and says in the meter's words when there is no answer. Knows no key."""

from __future__ import annotations

from typing import Any

from gateway.errors import MeterUnavailableError
from gateway.store.errors import StoreError
from gateway.store.pipeline import Link, Word


async def ask(link: Link, *words: Word) -> Any:
    """Send one command and give its answer. Raises MeterUnavailableError."""
    try:
        return await link.call(*words)
    except StoreError as error:
        raise unanswered(error) from error


def unanswered(error: StoreError) -> MeterUnavailableError:
    """Give the error that the meter's callers see in the place of the store's own."""
    return MeterUnavailableError(f"Redis did not answer: {error}")
