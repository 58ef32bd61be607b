"""The body of an answer as it arrives: until the call's deadline, and no longer. Nothing is sent here."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx2


class UntilDeadline(httpx2.SyncByteStream):
    """A body that is given up at a deadline, in monotonic seconds.

    A timeout of the HTTP client is for a single piece: a body that comes in ever more of them has none.
    """

    def __init__(self, stream: httpx2.SyncByteStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._stream:
            if time.monotonic() >= self._deadline:
                raise late()
            yield piece

    def close(self) -> None:
        """Close the body, with its connection where it has not come to its end."""
        self._stream.close()


def late() -> httpx2.ReadTimeout:
    """Give the fault of an answer that is not here whole in time."""
    return httpx2.ReadTimeout("the answer was not here whole in time")
