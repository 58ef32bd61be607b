"""Breaks the connection to the database at the end of a transaction, before or after it is committed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest


@contextmanager
def broken_at(end: int, *, committed: bool) -> Iterator[None]:
    """Break the ``end``-th end of a transaction or savepoint from now on, 1 being the next; 0 is none.

    ``committed`` says that it did what it should and only the answer is lost.
    """
    leave, count = psycopg.AsyncTransaction.__aexit__, 0

    async def broken(self: Any, *raised: Any) -> Any:
        nonlocal count
        count += raised[0] is None
        if count != end or raised[0] is not None:
            return await leave(self, *raised)
        count += 1
        lost = psycopg.OperationalError("the connection is lost")
        await leave(self, *((None, None, None) if committed else (type(lost), lost, None)))
        raise lost

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(psycopg.AsyncTransaction, "__aexit__", broken)
        yield
