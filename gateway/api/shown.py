"""The shapes of answers that only HTTP gives; all others are the domain's. No behaviour lives here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, TypedDict

from msgspec import Meta

_RESULTS = ("Posted", "Consumed", "Reserved", "Committed", "Released", "Extended", "Problem")


class Batched(TypedDict):
    """Answer to a batch: of each operation its answer or its problem, in the order of the operations."""

    results: Annotated[
        list[Any],
        Meta(
            extra_json_schema={
                "items": {"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in _RESULTS]}
            }
        ),
    ]


class Swept(TypedDict):
    """Answer to expire: how many holds were dropped because their time was over."""

    count: int


class Alive(TypedDict):
    """Answer of a process that runs."""

    status: Literal["alive"]


class Lag(TypedDict):
    """One shard whose journal is ahead of the ledger: ``<epoch>-<sequence>`` of both, entries between."""

    shard: int
    head: str
    watermark: str
    entries: int


class Stopped(TypedDict):
    """One shard that cannot be posted: since when, and why."""

    shard: int
    since: datetime
    reason: str


class Ready(TypedDict):
    """Whether the gateway can do its work, and what is in its way: ``faults`` says so by part.

    ``warnings`` says, by part as well, what a person should see to while it works. What is null could not be
    found out.
    """

    status: Literal["ready", "not_ready"]
    faults: Mapping[str, str]
    epochs: Mapping[str, int]
    lag: list[Lag] | None
    lag_entries: int | None
    open_holds: int | None
    stopped: list[Stopped]
    quarantined: int | None
    warnings: Mapping[str, str]
