"""What a replay counts while it runs. Nothing is asked and nothing is printed here."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Sequence

from gateway.replay.plan import Payer
from gateway.replay.trace import Request, Trace

BUCKETS = 48
_EXAMPLES = 3


class Latencies:
    """How long one verb took, in seconds: from the moment it was due, and from the moment it was sent.

    Counting from the due time leaves nothing out: a call that had to wait for a slow gateway counts its wait.
    """

    def __init__(self) -> None:
        self.due = array("d")
        self.sent = array("d")

    def add(self, due: float, sent: float, answered: float) -> None:
        """Count one answered call by the times of a monotonic clock."""
        self.due.append(answered - due)
        self.sent.append(answered - sent)


class Tally:
    """The counts of one run."""

    def __init__(self, trace: Trace) -> None:
        self.granted = 0
        self.denied = 0
        self.failures: list[str] = []
        self.failed = 0
        self.reserved_tokens = 0
        self.charged_tokens = 0
        self.exceeded = 0
        self.first_denied_s: float | None = None
        self.reserve = Latencies()
        self.commit = Latencies()
        self.charges: defaultdict[Payer, list[int]] = defaultdict(list)
        self.spent: defaultdict[str, list[int]] = defaultdict(lambda: [0] * BUCKETS)
        self.refused = [0] * BUCKETS
        self._duration_s = trace.duration_s

    @property
    def done(self) -> int:
        """How many requests have come to their end."""
        return self.denied + self.failed + sum(map(len, self.charges.values()))

    def grant(self) -> None:
        """Count a reserve that was granted."""
        self.granted += 1

    def deny(self, request: Request) -> None:
        """Count a reserve that was denied."""
        self.denied += 1
        self.refused[self._bucket(request)] += 1
        if self.first_denied_s is None or request.offset_s < self.first_denied_s:
            self.first_denied_s = request.offset_s

    def charge(self, request: Request, payer: Payer, reserved: int, charged: int) -> None:
        """Count a commit."""
        self.charges[payer].append(charged)
        self.reserved_tokens += reserved
        self.charged_tokens += charged
        self.exceeded += charged > reserved
        self.spent[payer.team][self._bucket(request)] += charged

    def fail(self, request: Request, error: Exception) -> None:
        """Count a request that a call failed for; the first few are kept to be told."""
        self.failed += 1
        if len(self.failures) < _EXAMPLES:
            self.failures.append(f"line {request.line}: {error}")

    def _bucket(self, request: Request) -> int:
        share = request.offset_s / self._duration_s if self._duration_s else 0.0
        return min(int(share * BUCKETS), BUCKETS - 1)


def percentile(values: Sequence[float], share: float) -> float:
    """Give the value that this share of all does not exceed (nearest rank); NaN of none."""
    if not values:
        return float("nan")
    ranked = sorted(values)
    return ranked[max(-int(-share * len(ranked) // 1), 1) - 1]
