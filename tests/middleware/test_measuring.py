"""What was held and what was charged, compared by model: in bounds, and as Prometheus reads it."""

from __future__ import annotations

import re
from decimal import Decimal

import httpx2
import pytest
from doors import Proxied, Purse
from gating import answering, ask, gated
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from provider import Provider

from gateway.middleware import LlmCosts
from gateway.middleware.measuring import RATIOS, Reservations
from gateway.middleware.scraping import ReservationCollector

USED = b'{"model": "m-1", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": %d}}'


def compare(reservations: Reservations, model: str, held: str, charged: str, unit: str = "tokens") -> None:
    reservations.note(model, unit, Decimal(held), Decimal(charged))


def test_over_and_under_are_apart_and_ratios_in_buckets() -> None:
    reservations = Reservations()
    for held, charged in (("100", "50"), ("100", "100"), ("100", "300"), ("0.000001", "100"), ("100", "0")):
        compare(reservations, "m", held, charged)
    found = reservations.compared()["m", "tokens"]
    assert (found.over, found.under) == (Decimal(150), Decimal("299.999999"))
    filled = {[*RATIOS, "above"][at]: count for at, count in enumerate(found.by_ratio) if count}
    assert filled == {0.01: 1, 0.5: 1, 1.0: 1, 5.0: 1, "above": 1}


def test_however_many_models_there_are_they_stay_in_bounds() -> None:
    reservations = Reservations(most_models=3)
    for at in range(1000):
        compare(reservations, f"m{at}", "2", "1")
    assert set(reservations.compared()) == {
        ("m0", "tokens"),
        ("m1", "tokens"),
        ("m2", "tokens"),
        ("other", "tokens"),
    }
    assert reservations.compared()["other", "tokens"].over == 997
    for at in range(1000):
        compare(reservations, "m", "2", "1", f"unit {at}")
    assert len(reservations.compared()) == 14
    assert sum(sum(found.by_ratio) for found in reservations.compared().values()) == 2000


def shown(text: str) -> dict[str, float]:
    return {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line[0] != "#"
    }


async def test_the_middleware_measures_what_it_charges(purse: Purse) -> None:
    costs = LlmCosts()
    for used in (50, 200):
        app = answering(200, USED % used, content_type=b"application/json")
        await ask(gated(purse, app, estimate=costs.estimate, usage=costs.usage))
    # Nothing was charged for this one, and nothing says how good its estimate was.
    await ask(gated(purse, answering(500), estimate=costs.estimate, usage=costs.usage))
    registry = CollectorRegistry()
    registry.register(ReservationCollector(costs))
    found = shown(generate_latest(registry).decode())
    labels = '{model="m-1",unit="tokens"}'
    assert found[f"quotagate_over_reserved_units_total{labels}"] == 101 - 51
    assert found[f"quotagate_under_reserved_units_total{labels}"] == 201 - 101
    assert found[f"quotagate_charged_to_held_ratio_count{labels}"] == 2
    assert found['quotagate_charged_to_held_ratio_bucket{le="0.75",model="m-1",unit="tokens"}'] == 1
    assert found['quotagate_charged_to_held_ratio_bucket{le="+Inf",model="m-1",unit="tokens"}'] == 2


@pytest.mark.parametrize("path", [None, "/our/metrics"])
async def test_the_proxy_shows_them_where_it_is_told_to(
    proxied: Proxied, provider: Provider, path: str | None
) -> None:
    url = await proxied(metrics_path=path)
    call = {"model": "good", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 50}
    async with httpx2.AsyncClient(trust_env=False) as http:
        await http.post(f"{url}/v1/chat/completions", json=call)
        reply = await http.get(f"{url}/our/metrics")
    measured = re.findall(
        r'^quotagate_charged_to_held_ratio_count\{model="good",.*\} (.*)$', reply.text, re.MULTILINE
    )
    # Without a path of its own it is one of the provider's, like any other.
    assert (measured, len(provider.seen)) == ((["1.0"], 1) if path else ([], 2))
