"""Shows Prometheus how what was held compared with what was charged. Nothing is measured here."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from gateway.middleware.costs import LlmCosts
from gateway.middleware.measuring import RATIOS
from gateway.middleware.requests import App, Receive, Scope, Send

_LABELS = ("model", "unit")


class ReservationCollector(Collector):
    """The comparison of holds and charges as metrics; register it where your own are.

    Args:
        costs: the costs that the middleware, or another door, was given.
    """

    def __init__(self, costs: LlmCosts) -> None:
        self._costs = costs

    def collect(self) -> Iterable[Metric]:
        """Give the metrics as they stand."""
        ratios = HistogramMetricFamily(
            "quotagate_charged_to_held_ratio",
            "What calls to models were charged, in terms of what was held for them",
            labels=_LABELS,
        )
        over = CounterMetricFamily(
            "quotagate_over_reserved_units", "Units held for calls to models and not charged", labels=_LABELS
        )
        under = CounterMetricFamily(
            "quotagate_under_reserved_units",
            "Units charged for calls to models beyond the hold",
            labels=_LABELS,
        )
        for labels, compared in self._costs.reservations.compared().items():
            ratios.add_metric(labels, _buckets(compared.by_ratio), compared.ratios)
            over.add_metric(labels, float(compared.over))
            under.add_metric(labels, float(compared.under))
        return (ratios, over, under)


def _buckets(counts: tuple[int, ...]) -> list[tuple[str, float]]:
    total = 0
    buckets: list[tuple[str, float]] = []
    for bound, count in zip([*map(str, RATIOS), "+Inf"], counts, strict=True):
        total += count
        buckets.append((bound, total))
    return buckets


class MetricsAt:
    """Answers one path with the metrics; all others are for the app behind it.

    Args:
        app: the app.
        path: the path.
        costs: what is shown.
    """

    def __init__(self, app: App, path: str, costs: LlmCosts) -> None:
        self._app = app
        self._path = path
        self._registry = CollectorRegistry()
        self._registry.register(ReservationCollector(costs))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] != "GET" or scope["path"] != self._path:
            return await self._app(scope, receive, send)
        body = generate_latest(self._registry)
        headers = [
            (b"content-type", CONTENT_TYPE_LATEST.encode()),
            (b"content-length", str(len(body)).encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        return await send({"type": "http.response.body", "body": body})
