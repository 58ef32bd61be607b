"""The measurements of a gateway, as Prometheus reads them. Others measure; nothing is decided here.

The hot path adds to plain numbers, which cost a tenth of a client library's counters; a collector turns
them into metrics when somebody looks. Calls come from one event loop, so nothing is locked.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from gateway.seams.operations import InboxState
from gateway.seams.shards import Readiness, ShardLag

_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_CALLS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)


class Histogram:
    """Counts observations by bucket. ``bounds`` are the buckets' upper ends, included."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count one observation."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def take_in(self, other: Histogram) -> None:
        """Count what the other, of the same bounds, has counted."""
        self._counts = [mine + its for mine, its in zip(self._counts, other._counts, strict=True)]
        self._sum += other._sum

    def count(self) -> int:
        """Give how many observations were counted."""
        return sum(self._counts)

    def add_to(self, family: HistogramMetricFamily, labels: Sequence[str] = ()) -> None:
        """Add what was counted, under these labels."""
        buckets: list[tuple[str, float]] = []
        total = 0
        for bound, count in zip([*map(str, self._bounds), "+Inf"], self._counts, strict=True):
            total += count
            buckets.append((bound, total))
        family.add_metric(labels, buckets, self._sum)


def _durations() -> Histogram:
    return Histogram(_SECONDS)


class Metrics(Collector):
    """The ``Observer`` of a gateway, and the text its scrapes get.

    Attributes:
        registry: whoever measures more may register it here.
        content_type: of the text.
    """

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._operations: defaultdict[tuple[str, str], Histogram] = defaultdict(_durations)
        self._scripts = Histogram(_SECONDS)
        self._batches = Histogram(_CALLS)
        self._refused: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._shadowed: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._calls = 0
        self._readiness: Readiness | None = None
        self._reconciled = 0
        self._drifting = 0
        self._round_at_s = 0.0
        self.registry.register(self)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def operation(self, verb: str, result: str, seconds: float) -> None:
        """Count one call of the meter."""
        self._operations[verb, result].observe(seconds)

    def refused(self, verb: str, reason: str, count: int = 1, *, shadow: bool = False) -> None:
        """Count what was refused, or what shadow limits would have refused."""
        (self._shadowed if shadow else self._refused)[verb, reason] += count

    def round_trip(self, calls: int, seconds: float) -> None:
        """Count one batch of script calls that shared a round trip."""
        self._calls += calls
        self._batches.observe(calls)
        self._scripts.observe(seconds)

    def reconciled(self, accounts: int) -> None:
        """Count accounts that were compared with the ledger."""
        self._reconciled += accounts

    def drifting(self, accounts: int) -> None:
        """Note how many accounts differ from the ledger."""
        self._drifting = accounts

    def round_done(self, at_s: float) -> None:
        """Note that all accounts have been compared, at this Unix time."""
        self._round_at_s = at_s

    def text(self, readiness: Readiness) -> bytes:
        """Give all metrics, with the gauges that ``readiness`` fills."""
        self._readiness = readiness
        return generate_latest(self.registry)

    def collect(self) -> Iterable[Metric]:
        """Give the metrics as they stand."""
        yield from self._counted()
        yield from self._refusals()
        yield from self._rounds()
        if self._readiness is not None:
            yield from _gauges(self._readiness)

    def _counted(self) -> Iterable[Metric]:
        results = CounterMetricFamily(
            "quotagate_operations", "Calls of the meter, by verb and result", labels=("verb", "result")
        )
        by_verb: defaultdict[str, Histogram] = defaultdict(_durations)
        for (verb, result), histogram in self._operations.items():
            results.add_metric((verb, result), histogram.count())
            by_verb[verb].take_in(histogram)
        durations = HistogramMetricFamily(
            "quotagate_operation_duration_seconds", "Time of a call of the meter, by verb", labels=("verb",)
        )
        for verb, histogram in by_verb.items():
            histogram.add_to(durations, (verb,))
        calls = CounterMetricFamily("quotagate_script_calls", "Script calls sent to Redis", self._calls)
        scripts = HistogramMetricFamily(
            "quotagate_script_duration_seconds", "Time of a round trip that carried script calls"
        )
        self._scripts.add_to(scripts)
        batches = HistogramMetricFamily(
            "quotagate_pipeline_batch_size", "Script calls that shared one round trip"
        )
        self._batches.add_to(batches)
        return (results, durations, calls, scripts, batches)

    def _refusals(self) -> Iterable[Metric]:
        refused = CounterMetricFamily(
            "quotagate_refusals", "Operations denied, by verb and reason", labels=("verb", "reason")
        )
        shadowed = CounterMetricFamily(
            "quotagate_shadow_refusals",
            "What shadow limits would have refused, by verb and reason",
            labels=("verb", "reason"),
        )
        for family, counts in ((refused, self._refused), (shadowed, self._shadowed)):
            for labels, count in counts.items():
                family.add_metric(labels, count)
            yield family

    def _rounds(self) -> Iterable[Metric]:
        yield CounterMetricFamily(
            "quotagate_reconciled_accounts", "Accounts that reconcile has compared", self._reconciled
        )
        yield GaugeMetricFamily(
            "quotagate_drift_accounts", "Accounts on which Redis and the ledger differ", self._drifting
        )
        yield GaugeMetricFamily(
            "quotagate_reconcile_last_success_timestamp_seconds",
            "When reconcile last came to the end of all accounts; 0 for a process that has not",
            self._round_at_s,
        )


def _losses(readiness: Readiness) -> Iterable[Metric]:
    if readiness.proven_loss is not None:
        yield CounterMetricFamily(
            "quotagate_proven_loss",
            "Journal entries that existed and nobody has any more",
            readiness.proven_loss,
        )
    if readiness.unheard_epochs is not None:
        yield CounterMetricFamily(
            "quotagate_unheard_epochs",
            "Epochs of shards left without hearing every gateway that may have acknowledged in them",
            readiness.unheard_epochs,
        )


def _gauges(readiness: Readiness) -> Iterable[Metric]:
    yield GaugeMetricFamily(
        "quotagate_ready", "1 when the gateway can do its work", int(not readiness.faults)
    )
    faults = GaugeMetricFamily("quotagate_fault", "1 for each part that is in the way", labels=("part",))
    for part in readiness.faults:
        faults.add_metric((part,), 1)
    yield faults
    if readiness.duplicates is not None:
        yield from _duplicates(readiness.duplicates)
    yield GaugeMetricFamily(
        "quotagate_clock_ahead_seconds",
        "How far the time of the furthest shard is ahead of the clock of Redis",
        readiness.clock_ahead_s,
    )
    yield from _losses(readiness)
    if readiness.inbox is not None:
        yield from _inbox(readiness.inbox)
    epochs = _by_shard("quotagate_shard_epoch", "Generation of a shard's data in Redis")
    for shard, epoch in readiness.epochs.items():
        epochs.add_metric((str(shard),), epoch)
    yield epochs
    # What nobody knows has no number: a gauge that said 0 would look like all was well.
    if readiness.open_holds is not None:
        yield GaugeMetricFamily("quotagate_open_holds", "Holds that are open", readiness.open_holds)
    if readiness.quarantined is not None:
        stopped = len(readiness.stopped)
        yield GaugeMetricFamily("quotagate_shards_stopped", "Shards that cannot be posted", stopped)
        yield GaugeMetricFamily(
            "quotagate_quarantined_entries", "Entries in quarantine, unresolved", readiness.quarantined
        )
    if readiness.retries is not None:
        yield CounterMetricFamily(
            "quotagate_flusher_retries", "Attempts of the flusher that were in vain", readiness.retries
        )
    if readiness.lag is not None:
        yield from _journal(readiness.lag)


def _duplicates(counts: Mapping[str, int]) -> Iterable[Metric]:
    yield GaugeMetricFamily(
        "quotagate_duplicates_pending",
        "Calls done twice and not undone yet",
        counts.get("pending", 0),
    )
    yield CounterMetricFamily(
        "quotagate_duplicates_undone", "Calls done twice and undone", counts.get("undone", 0)
    )
    yield CounterMetricFamily(
        "quotagate_keys_reused", "Calls with a key that another call had long before", counts.get("kept", 0)
    )


def _inbox(state: InboxState) -> Iterable[Metric]:
    yield GaugeMetricFamily(
        "quotagate_inbox_pending", "Operations recorded in SQL that have no answer yet", state.pending
    )
    yield GaugeMetricFamily(
        "quotagate_inbox_oldest_seconds",
        "How long the oldest of them has waited; 0 without any",
        state.oldest_s,
    )
    answered = CounterMetricFamily(
        "quotagate_inbox_operations", "Operations recorded in SQL that were answered", labels=("result",)
    )
    for result, count in state.answered.items():
        answered.add_metric((result,), count)
    yield answered


def _journal(found: Sequence[ShardLag]) -> Iterable[Metric]:
    heads = _by_shard("quotagate_journal_head", "Last sequence that the journal of a shard has given out")
    marks = _by_shard("quotagate_journal_watermark", "Last sequence of that shard that the ledger has")
    lags = _by_shard("quotagate_journal_shard_lag", "Entries of that shard that the ledger does not have yet")
    for lag in found:
        label = (str(lag.shard),)
        heads.add_metric(label, lag.head.seq)
        marks.add_metric(label, lag.watermark.seq)
        lags.add_metric(label, lag.entries)
    total = sum(lag.entries for lag in found)
    waiting = GaugeMetricFamily("quotagate_journal_lag", "Entries of all shards not in the ledger yet", total)
    return (heads, marks, lags, waiting)


def _by_shard(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=("shard",))
