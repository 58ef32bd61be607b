"""What it means when the database refuses to write: that an entry is to blame, or that none is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from persistence.errors import PostingRefusedError, RowRefusedError

# What the database says when it is a row's content that it does not take. All else that it refuses (a table
# that is not there, a right that is missing) would be so for any entry.
OF_A_ROW = (
    psycopg.DataError,
    psycopg.errors.CheckViolation,
    psycopg.errors.NotNullViolation,
    psycopg.errors.ProgramLimitExceeded,
    psycopg.errors.StatementTooComplex,
)


@contextmanager
def refusals() -> Iterator[None]:
    """Turn what a database refuses into RowRefusedError or PostingRefusedError."""
    try:
        yield
    except (*OF_A_ROW, ValueError, OverflowError) as error:
        raise RowRefusedError(in_words(error)) from error
    except psycopg.Error as error:
        raise PostingRefusedError(in_words(error)) from error


def in_words(error: Exception) -> str:
    """Say what the database said, in one line."""
    return f"the database refuses the posting: {' '.join(str(error).split())}"
