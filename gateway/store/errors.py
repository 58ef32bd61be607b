"""What can go wrong between us and Redis. Callers of the meter see MeterErrors instead."""

from __future__ import annotations


class StoreError(Exception):
    """Base of the store's own errors."""


class LinkLostError(StoreError):
    """The connection broke or no answer came in time. ``sent`` says whether the server may have acted."""

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.sent = sent


class UnfencedError(StoreError):
    """The server does not know our scripts: it restarted or was promoted since it was fenced."""


class RefusedError(StoreError):
    """The server answered with an error of its own: out of memory, read only, loading."""


class DemotedError(RefusedError):
    """The server is a replica now: its data are no longer those that were decided on."""
