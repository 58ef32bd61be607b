"""What usage is charged as: weights give units, prices give dollars, both exact and rounded once."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from typing import Any

import pytest
from genai_prices.data import providers
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.amounts import to_scaled
from gateway.errors import MeterValidationError
from gateway.llm import FilePrices, Price, Prices, Usage, Weights
from gateway.llm.genai import GenaiPrices
from gateway.llm.numbers import MOST_TOKENS
from gateway.llm.rates import rounded_up
from gateway.llm.usage import KINDS

AT = datetime(2026, 1, 15, tzinfo=UTC)
ALL = Usage(input=1, cached_input=10, cache_write=100, cache_write_1h=1000, output=10_000, reasoning=100_000)


def test_every_token_is_one_unit_without_weights() -> None:
    assert Weights().charge(ALL) == ALL.total == 111_111
    assert Weights().charge(Usage()) == 0
    assert Weights({"gpt*": {"input": 2, "output": 2}}).charge(ALL) == 111_111


def test_each_kind_has_its_weight() -> None:
    row = {
        "input": 1,
        "cached_input": 2,
        "cache_write": 3,
        "cache_write_1h": 4,
        "output": 5,
        "reasoning": 6,
    }
    assert Weights({"*": row}).charge(ALL) == 1 + 20 + 300 + 4000 + 50_000 + 600_000
    for kind in KINDS:
        only = {"input": 0, "output": 0, **dict.fromkeys(KINDS, 0), kind: 1}
        assert Weights({"*": only}).charge(ALL) == getattr(ALL, kind)


def test_a_kind_without_weight_follows_its_parent() -> None:
    assert Weights({"*": {"input": 2, "output": 3}}).charge(ALL) == 2 * 1111 + 3 * 110_000
    assert Weights({"*": {"input": 1, "output": 0, "cache_write": 2}}).charge(ALL) == 11 + 2 * 1100
    assert Weights({"*": {"input": 0, "output": 0, "cache_write": 0, "cached_input": 1}}).charge(ALL) == 10
    assert Weights({"*": {"input": 0, "output": 1, "reasoning": 0}}).charge(ALL) == 10_000


def test_units_are_rounded_up_once_at_the_end() -> None:
    weights = Weights({"*": {"input": "0.1", "output": "0.1"}})
    assert [weights.charge(Usage(input=n)) for n in (0, 1, 9, 10, 11)] == [0, 1, 1, 1, 2]
    assert weights.charge(Usage(input=5, output=5)) == 1


@pytest.mark.parametrize(
    ("model", "weight"),
    [
        ("gpt-4o", 7),
        ("gpt-4o-mini", 5),
        ("gpt-4o-mini-2024-07-18", 5),
        ("gpt-4", 3),
        ("gpt-5", 3),
        ("claude", 2),
        (None, 2),
    ],
)
def test_the_longest_pattern_that_fits_counts(model: str | None, weight: int) -> None:
    rows = {"*": 2, "gpt*": 3, "gpt-4o-mini*": 5, "gpt-4o": 7}
    weights = Weights({pattern: {"input": weight, "output": 0} for pattern, weight in rows.items()})
    assert weights.charge(Usage(input=1, model=model)) == weight


@given(st.tuples(*[st.integers(0, MOST_TOKENS)] * 6), st.decimals(0, 1000, places=6))
def test_charges_are_exact_in_any_decimal_context(counts: tuple[int, ...], weight: Decimal) -> None:
    usage = Usage(*counts)
    with localcontext() as context:
        context.prec = 3
        charged = Weights({"*": {"input": weight, "output": weight}}).charge(usage)
    scaled = int(weight * 10**6) * usage.total
    assert charged == -(-scaled // 10**6)


# What people write.

GOOD = {"input": 1, "output": 1}


@pytest.mark.parametrize(
    ("rows", "field", "code"),
    [
        ({"a*b": GOOD}, "weights['a*b']", "VAL_INVALID_PATTERN"),
        ({"m": 3}, "weights['m']", "VAL_INVALID_TYPE"),
        ({"m": {"output": 1}}, "weights['m'].input", "VAL_MISSING"),
        ({"m": {"input": 1}}, "weights['m'].output", "VAL_MISSING"),
        ({"m": GOOD | {"thinking": 1}}, "weights['m'].thinking", "VAL_UNKNOWN_FIELD"),
        ({"m": GOOD | {"input": True}}, "weights['m'].input", "VAL_INVALID_NUMBER"),
        ({"m": GOOD | {"input": "NaN"}}, "weights['m'].input", "VAL_INVALID_NUMBER"),
        ({"m": GOOD | {"input": None}}, "weights['m'].input", "VAL_INVALID_NUMBER"),
        ({"m": GOOD | {"reasoning": None}}, "weights['m'].reasoning", "VAL_INVALID_NUMBER"),
        ({"m": GOOD | {"input": -1}}, "weights['m'].input", "VAL_OUT_OF_RANGE"),
        ({"m": GOOD | {"input": 1_000_001}}, "weights['m'].input", "VAL_OUT_OF_RANGE"),
        ({"m": GOOD | {"input": "1e-13"}}, "weights['m'].input", "VAL_TOO_PRECISE"),
    ],
)
def test_a_wrong_table_names_its_field(rows: dict[str, Any], field: str, code: str) -> None:
    with pytest.raises(MeterValidationError) as caught:
        Weights(rows)
    assert [(error.field, error.code) for error in caught.value.errors] == [(field, code)]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{",
        b'{"m": {"input": NaN, "output": 1}}',
        b"\xff",
        b"[" * 10**5,
        b'{"a": 1e9999999999999999999}',
    ],
)
def test_a_table_is_a_json_object(text: bytes) -> None:
    with pytest.raises(MeterValidationError) as caught:
        Weights.from_json(text)
    assert caught.value.errors[0].code == "VAL_INVALID_JSON"
    with pytest.raises(MeterValidationError):
        FilePrices(text)


def test_numbers_in_json_are_exact() -> None:
    weights = Weights.from_json(b'{"*": {"input": 0.1, "output": 1000000}}')
    assert weights.charge(Usage(input=10)) == 1
    assert weights.charge(Usage(output=3)) == 3_000_000


# Prices of one's own.

FILE = json.dumps(
    {
        "version": "2026-01",
        "usd_per_million": {
            "gpt-4o-mini*": {"input": "0.15", "cached_input": 0.075, "output": 0.6},
            "free": {"input": 0, "output": 0},
        },
    }
).encode()


def test_a_price_is_exact_and_says_where_it_is_from() -> None:
    usage = Usage(input=1000, cached_input=201, output=10, reasoning=1, model="gpt-4o-mini-2024-07-18")
    price = FilePrices(FILE).price(usage, AT)
    assert price == Price(Decimal("0.000171675"), "file 2026-01")
    assert price.charge() == Decimal("0.000172")
    assert to_scaled("amount", price.charge(), 6) == 172
    with localcontext() as context:
        context.prec = 2
        assert FilePrices(FILE).price(usage, AT) == price
        assert price.charge() == Decimal("0.000172")


def test_what_is_free_costs_nothing_and_what_is_not_listed_has_no_price() -> None:
    free = FilePrices(FILE).price(Usage(input=5, model="free"), AT)
    assert free is not None
    assert (free.usd, free.charge()) == (0, 0)
    assert FilePrices(FILE).price(Usage(input=5, model="gpt-4o"), AT) is None
    assert FilePrices(FILE).price(Usage(input=5), AT) is None


def test_a_file_without_version_has_the_hash_of_its_text() -> None:
    text = b'{"usd_per_million": {"*": {"input": 1, "output": 1}}}'
    price = FilePrices(text).price(Usage(input=1), AT)
    assert price == Price(Decimal("0.000001"), "file 6b6dcbdfb4a9")


@pytest.mark.parametrize(
    ("table", "field"),
    [
        ({}, "prices.usd_per_million"),
        ({"usd_per_million": []}, "prices.usd_per_million"),
        ({"usd_per_million": {}, "version": 3}, "prices.version"),
        ({"usd_per_million": {}, "currency": "EUR"}, "prices.currency"),
        ({"usd_per_million": {"m": {"input": 1}}}, "prices.usd_per_million['m'].output"),
    ],
)
def test_a_wrong_price_file_names_its_field(table: dict[str, Any], field: str) -> None:
    with pytest.raises(MeterValidationError) as caught:
        FilePrices(json.dumps(table).encode())
    assert [error.field for error in caught.value.errors] == [field]


@pytest.mark.parametrize(
    ("number", "places", "up"),
    [
        ("0", 6, "0"),
        ("0.0000001", 6, "0.000001"),
        ("0.000001", 6, "0.000001"),
        ("1.5", 0, "2"),
        ("2", 0, "2"),
    ],
)
def test_what_is_rounded_is_never_below(number: str, places: int, up: str) -> None:
    assert rounded_up(Decimal(number), places) == Decimal(up)


# Prices of known models.


@pytest.mark.parametrize(
    ("model", "usage", "usd"),
    [
        # 0.15, 0.075 and 0.60 dollars for a million.
        ("gpt-4o-mini-2024-07-18", {"input": 1000, "cached_input": 200, "output": 100}, "0.000225"),
        # 3.00, cache read 0.30, cache write 3.75, for an hour 6.00, output 15.00.
        (
            "claude-sonnet-4-5-20250929",
            {
                "input": 12,
                "cached_input": 5000,
                "cache_write": 100,
                "cache_write_1h": 200,
                "output": 30,
                "reasoning": 60,
            },
            "0.004461",
        ),
        ("text-embedding-3-small", {"input": 1_000_000}, "0.02"),
        ("davinci-002", {"input": 1, "output": 1}, "0.000004"),
        ("gpt-4o-mini", {}, "0"),
    ],
)
def test_known_models_have_their_prices(model: str, usage: dict[str, int], usd: str) -> None:
    price = GenaiPrices().price(Usage(**usage, model=model), AT)
    assert price is not None
    assert price.usd == Decimal(usd)
    assert price.source.startswith("genai-prices 0.")


def test_how_a_call_was_served_changes_its_price() -> None:
    def usd(**served: str) -> Decimal:
        usage = Usage(input=10**6, output=10**6, model="gpt-5-mini", served=served)
        price = GenaiPrices().price(usage, datetime(2026, 11, 1, tzinfo=UTC))
        assert price is not None
        return price.usd

    assert usd() == usd(service_tier="default") == usd(anything="else")
    assert usd(service_tier="flex") * 2 == usd()
    assert usd(service_tier="priority") > usd()


@pytest.mark.parametrize(("day", "usd"), [(9, 10), (10, 2)])
def test_a_price_is_the_one_of_its_day(day: int, usd: int) -> None:
    price = GenaiPrices().price(Usage(input=10**6, model="o3"), datetime(2025, 6, day, tzinfo=UTC))
    assert price is not None
    assert price.usd == usd


def test_a_model_nobody_knows_has_no_price() -> None:
    prices = GenaiPrices()
    assert prices.price(Usage(input=1, model="no-such-model"), AT) is None
    assert prices.price(Usage(input=1), AT) is None
    assert GenaiPrices("no-such-provider").price(Usage(input=1, model="gpt-4o"), AT) is None


def test_a_provider_has_prices_of_its_own() -> None:
    assert GenaiPrices("azure").price(Usage(input=1000, model="gpt-4o"), AT) is not None
    assert GenaiPrices("anthropic").price(Usage(input=1000, model="gpt-4o"), AT) is None


def test_a_model_that_is_not_paid_by_tokens_is_not_free() -> None:
    assert GenaiPrices().price(Usage(input=100, output=10, model="whisper-1"), AT) is None
    assert GenaiPrices().price(Usage(input=1, output=1, model="text-embedding-3-small"), AT) is None


def test_every_known_model_takes_every_usage() -> None:
    for provider in providers:
        prices = GenaiPrices(provider.id)
        for model in provider.models:
            price = prices.price(Usage(*ALL.by_kind().values(), model=model.id), AT)
            assert price is None or price.usd >= 0


def test_prices_are_exact_in_any_decimal_context() -> None:
    usage = Usage(input=1_234_567, output=7_654_321, model="gpt-4o-mini")
    with localcontext() as context:
        context.prec = 2
        price = GenaiPrices().price(usage, AT)
    assert price is not None
    assert price.usd == (Decimal("0.15") * 1_234_567 + Decimal("0.6") * 7_654_321) / 10**6


def test_unknown_names_do_not_pile_up() -> None:
    prices = GenaiPrices("anthropic")
    for number in range(50):
        prices.price(Usage(input=1, model=f"no-such-model-{number}"), AT)
    assert prices._found.cache_info().maxsize == 4096


def test_nothing_goes_out_for_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("prices went out")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert GenaiPrices().price(Usage(input=1, model="gpt-4o"), AT) is not None


def test_pricing_starts_no_thread() -> None:
    code = """if True:
        import threading
        from datetime import UTC, datetime
        from gateway.llm import Usage
        from gateway.llm.genai import GenaiPrices
        assert GenaiPrices().price(Usage(input=1, model="gpt-4o"), datetime.now(UTC))
        print(threading.active_count())
    """
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "1"


def test_the_first_list_that_knows_a_model_counts() -> None:
    prices = Prices([FilePrices(FILE), GenaiPrices()])
    own = prices.price(Usage(input=10, model="free"), AT)
    known = prices.price(Usage(input=10, model="gpt-4o"), AT)
    assert own is not None
    assert own.source == "file 2026-01"
    assert known is not None
    assert known.source.startswith("genai-prices")
    assert prices.price(Usage(input=10, model="no-such-model"), AT) is None


def test_a_model_without_price_is_refused_if_so_configured() -> None:
    prices = Prices([FilePrices(FILE)], refuse_unknown=True)
    with pytest.raises(MeterValidationError, match="'no-such-model' has no price") as caught:
        prices.price(Usage(input=10, model="no-such-model"), AT)
    assert [(error.field, error.code) for error in caught.value.errors] == [("model", "VAL_UNKNOWN_MODEL")]
