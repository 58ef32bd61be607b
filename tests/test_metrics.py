"""What /metrics says of what was reported and found."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.domain.entries import Position
from gateway.metrics import Metrics
from gateway.seams.shards import Readiness, ShardLag, StoppedShard

IDLE = Readiness({}, {}, [], 0)


def samples(
    metrics: Metrics, readiness: Readiness = IDLE
) -> dict[tuple[str, tuple[tuple[str, str], ...]], Any]:
    families = text_string_to_metric_families(metrics.text(readiness).decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_operations_are_counted_by_verb_and_result() -> None:
    metrics = Metrics()
    for result in ("granted", "granted", "denied"):
        metrics.operation("reserve", result, 0.002)
    metrics.operation("commit", "granted", 0.002)
    seen = samples(metrics)
    name = "quotagate_operations_total"
    assert seen[name, (("result", "granted"), ("verb", "reserve"))] == 2
    assert seen[name, (("result", "denied"), ("verb", "reserve"))] == 1
    assert seen[name, (("result", "granted"), ("verb", "commit"))] == 1
    seconds = "quotagate_operation_duration_seconds"
    assert seen[f"{seconds}_count", (("verb", "reserve"),)] == 3
    assert seen[f"{seconds}_sum", (("verb", "reserve"),)] == pytest.approx(0.006)
    assert seen[f"{seconds}_bucket", (("le", "0.0025"), ("verb", "reserve"))] == 3
    assert seen[f"{seconds}_bucket", (("le", "0.001"), ("verb", "reserve"))] == 0
    assert seen[f"{seconds}_count", (("verb", "commit"),)] == 1


def test_buckets_are_cumulative_and_their_bounds_included() -> None:
    metrics = Metrics()
    for calls, seconds in ((1, 0.0001), (2, 0.00011), (3, 100.0), (5000, 0.0)):
        metrics.round_trip(calls, seconds)
    seen = samples(metrics)
    times = "quotagate_script_duration_seconds"
    assert seen[f"{times}_bucket", (("le", "0.0001"),)] == 2
    assert seen[f"{times}_bucket", (("le", "0.00025"),)] == 3
    assert seen[f"{times}_bucket", (("le", "5.0"),)] == 3
    assert seen[f"{times}_bucket", (("le", "+Inf"),)] == seen[f"{times}_count", ()] == 4
    assert seen[f"{times}_sum", ()] == 100.00021
    sizes = "quotagate_pipeline_batch_size"
    assert seen[f"{sizes}_bucket", (("le", "1.0"),)] == 1
    assert seen[f"{sizes}_bucket", (("le", "2.0"),)] == 2
    assert seen[f"{sizes}_bucket", (("le", "4.0"),)] == 3
    assert seen[f"{sizes}_sum", ()] == seen["quotagate_script_calls_total", ()] == 5006


def test_gauges_say_what_the_last_look_found() -> None:
    lag = [
        ShardLag(3, Position(1, 20), Position(1, 8)),
        ShardLag(9, Position(2, 4), Position(1, 700)),
        ShardLag(11, Position(1, 42), Position(3, -1)),  # nobody wrote since the epoch changed
    ]
    seen = samples(Metrics(), Readiness({}, {3: 1, 9: 2}, lag, 7))
    assert seen["quotagate_ready", ()] == 1
    assert seen["quotagate_open_holds", ()] == 7
    assert seen["quotagate_journal_head", (("shard", "3"),)] == 20
    assert seen["quotagate_journal_watermark", (("shard", "3"),)] == 8
    assert seen["quotagate_journal_shard_lag", (("shard", "3"),)] == 12
    assert seen["quotagate_journal_shard_lag", (("shard", "9"),)] == 5
    assert seen["quotagate_journal_shard_lag", (("shard", "11"),)] == 0
    assert seen["quotagate_journal_lag", ()] == 17
    assert seen["quotagate_shard_epoch", (("shard", "9"),)] == 2


def test_stopped_shards_quarantine_and_retries_are_counted() -> None:
    stopped = [StoppedShard(3, datetime.now(UTC), "a gap")]
    seen = samples(Metrics(), Readiness({}, {}, [], 7, stopped, quarantined=2, retries=5))
    assert seen["quotagate_shards_stopped", ()] == 1
    assert seen["quotagate_quarantined_entries", ()] == 2
    assert seen["quotagate_flusher_retries_total", ()] == 5


def test_what_nobody_knows_has_no_gauge() -> None:
    names = {name for name, _ in samples(Metrics(), Readiness({"redis": "away"}, {}, None, None))}
    assert not names & {
        "quotagate_journal_lag",
        "quotagate_open_holds",
        "quotagate_shards_stopped",
        "quotagate_quarantined_entries",
        "quotagate_flusher_retries_total",
    }


def test_faults_are_named() -> None:
    metrics = Metrics()
    seen = samples(metrics, Readiness({"redis": "away"}, {}, [], 0))
    assert seen["quotagate_ready", ()] == 0
    assert seen["quotagate_fault", (("part", "redis"),)] == 1
    assert not any(name == "quotagate_fault" for name, _ in samples(metrics))


def test_others_may_register_their_own() -> None:
    metrics = Metrics()
    from prometheus_client import Counter

    Counter("quotagate_extra", "More", registry=metrics.registry).inc()
    assert samples(metrics)["quotagate_extra_total", ()] == 1
    assert any(name.startswith("process_") for name, _ in samples(metrics))
