"""The pages about the gateway itself."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.seams.shards import Readiness, StoppedShard


async def test_a_process_that_runs_is_alive(gateway: Any) -> None:
    gateway.health.found = Readiness({"redis": "no answer within 2 s"}, {}, [], 0)
    answer = await gateway.get("/healthz")
    assert (answer.status, answer.json) == (200, {"status": "alive"})


async def test_ready_says_what_it_found(gateway: Any) -> None:
    answer = await gateway.get("/readyz")
    assert answer.status == 200
    assert answer.json == {
        "status": "ready",
        "faults": {},
        "warnings": {},
        "epochs": {"7": 3},
        "lag": [{"shard": 7, "head": "3-20", "watermark": "3-8", "entries": 12}],
        "lag_entries": 12,
        "open_holds": 5,
        "stopped": [],
        "quarantined": None,
    }
    assert answer.headers["cache-control"] == "no-store"


async def test_not_ready_says_what_is_in_the_way(gateway: Any) -> None:
    gateway.health.found = Readiness({"postgres": "no answer within 2 s"}, {}, [], 0)
    answer = await gateway.get("/readyz")
    assert (answer.status, answer.json["status"]) == (503, "not_ready")
    assert answer.json["faults"] == {"postgres": "no answer within 2 s"}
    assert answer.headers["retry-after"] == "1"


async def test_stopped_shards_are_named_with_since_and_reason(gateway: Any) -> None:
    since = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    faults = {"shards": "shard 9"}
    gateway.health.found = Readiness(faults, {}, [], 0, [StoppedShard(9, since, "a gap")], quarantined=2)
    answer = await gateway.get("/readyz")
    assert answer.status == 503
    assert answer.json["stopped"] == [{"shard": 9, "since": "2026-01-02T03:04:05Z", "reason": "a gap"}]
    assert answer.json["quarantined"] == 2


async def test_what_nobody_knows_is_null_and_has_no_gauge(gateway: Any) -> None:
    gateway.health.found = Readiness({"redis": "away"}, {}, None, None)
    answer = await gateway.get("/readyz")
    assert answer.json["lag"] is answer.json["lag_entries"] is answer.json["open_holds"] is None
    text = (await gateway.get("/metrics")).body.decode()
    for absent in ("journal_lag", "open_holds", "shards_stopped", "quarantined", "flusher_retries"):
        assert f"quotagate_{absent}" not in text


@pytest.mark.parametrize(("ahead_s", "warned"), [(0.0, False), (10.0, False), (86_400.4, True)])
async def test_a_shard_ahead_of_its_clock_is_a_warning_and_no_fault(
    gateway: Any, ahead_s: float, warned: bool
) -> None:
    gateway.health.found = Readiness({}, {}, [], 0, clock_ahead_s=ahead_s)
    answer = await gateway.get("/readyz")
    assert answer.status == 200
    assert ("86400 s ahead" in answer.json["warnings"].get("clock", "")) == warned
    metrics = (await gateway.get("/metrics")).body.decode()
    assert f"\nquotagate_clock_ahead_seconds {ahead_s}\n" in metrics


async def test_metrics_are_prometheus_text(gateway: Any) -> None:
    gateway.metrics.operation("reserve", "granted", 0.001)
    answer = await gateway.get("/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain")
    text = answer.body.decode()
    assert 'quotagate_operations_total{result="granted",verb="reserve"} 1.0' in text
    assert "quotagate_open_holds 5.0" in text


async def test_a_page_that_fails_says_no_more_than_that(gateway: Any) -> None:
    async def broken() -> Readiness:
        raise OSError("postgres://user:secret@host/db")

    gateway.health.readiness = broken
    with capture_logs() as logs:
        answer = await gateway.get("/readyz")
    assert (answer.status, answer.json["code"]) == (500, "internal")
    assert b"secret" not in answer.body
    assert len(logs) == 1


async def test_the_docs_are_whole_and_load_nothing(gateway: Any) -> None:
    answer = await gateway.get("/docs")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    text = answer.body.decode()
    assert "{{document}}" not in text
    assert "/v1/reservations/{reservation_id}/commit" in text
    for outside in ("src=", "@import", " url(", "<link", "fetch(", "XMLHttpRequest"):
        assert outside not in text
    assert text.count("</script>") == 2
