"""The measurement of the doors runs; how fast they are is for a quiet machine to say."""

from __future__ import annotations

from loadtest.doors import Added, measure, show


async def test_every_kind_of_request_is_measured() -> None:
    found = await measure(3)
    assert [added.kind for added in found] == [
        "fixed cost",
        "reply",
        "piece of a stream",
        "reply, SDK transport",
    ]
    assert all(added.median_us <= added.p99_us for added in found)


def test_a_target_that_is_missed_is_told() -> None:
    assert "MISSED" in show([Added("slow", 1000.0, 2000.0)])
    assert "kept" in show([Added("quick", 999.0, 2000.0)])
