"""The document against the application: nothing answers 500, what it allows is accepted, the rest refused.

Behind the application stands the real meter, over a decider that agrees to everything.
"""

from __future__ import annotations

import asyncio
import json
import string
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
import pytest
from deciding import Agreeable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from gateway.api.examples import EXAMPLES
from gateway.api.routes import ROUTES
from gateway.meter import Backend, Meter
from gateway.reconcile.reconciler import Reconciler

HOLD = "rsv_0_6f1d0c8e5b7a4f2d9c3e1a08"
POSTS = [route for route in ROUTES if route.method in {"POST", "PUT"} and route.name != "batch"]
GETS = [route for route in ROUTES if route.method in {"GET", "DELETE"}]

# What a schema cannot say: scales differ by unit, some bounds count bytes of UTF-8, objects have a size and
# cursors a place.
BEYOND_SCHEMA = {"VAL_TOO_PRECISE", "VAL_OUT_OF_RANGE", "VAL_CURSOR_INVALID"}
# A schema does not tell which days there are, nor which time zones are known, nor that one needs a schedule.
BEYOND_SCHEMA |= {
    f"VAL_PERIOD_{edge}_{why}" for edge in ("START", "END") for why in ("INVALID", "OUT_OF_RANGE")
}
BEYOND_SCHEMA |= {"VAL_TIME_ZONE_INVALID", "VAL_TIME_ZONE_MISPLACED"}
# Legs are told apart by what they say and do not say; a hold's id says how many it has.
BEYOND_SCHEMA |= {"VAL_LEG_DUPLICATE", "VAL_LEG_UNKNOWN", "VAL_LEG_AMBIGUOUS"}
BYTE_BOUNDS = {"VAL_USER_ID_TOO_LONG", "VAL_RESOURCE_TOO_LONG", "VAL_IDEMPOTENCY_KEY_TOO_LONG"}

quick = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

letters = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
names = st.one_of(
    st.sampled_from(
        ["alice", "llm_call", "tokens", "usd", "é", "a b", "\u200b", "x" * 64, "x" * 65, "x" * 257]
    ),
    st.sampled_from(
        ["", " ", "\t", " a", "a ", "a\nb", "\x00", "\x7f", "\x85", "\u2028", "\u2029x", "null", "5"]
    ),
    letters,
)
numbers = st.one_of(
    st.integers(-5, 5),
    st.sampled_from(
        [0.1, 1.5, 5.0, 1e3, -0.0, 1e-6, 1e-7, 1e300, 86400, 86401, 2**53 - 1, 2**53, -(2**53), 10**30]
    ),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(),
)
times = st.sampled_from(["2026-03-01T12:00:00Z", "2026-03-01T12:00:00.5+02:00", "0001-01-01T00:00:00Z"])
leaves = st.one_of(st.none(), st.booleans(), numbers, names)
trees = st.recursive(
    leaves, lambda kids: st.lists(kids, max_size=3) | st.dictionaries(letters, kids, max_size=3)
)
objects = st.dictionaries(letters, trees, max_size=3)
anything = st.one_of(leaves, times, trees, objects)


LEG_MEMBERS = {
    "leg": st.one_of(st.integers(-1, 2), leaves),
    **{word: st.one_of(names, names, leaves) for word in ("user_id", "event_type", "unit", "resource")},
    "amount": st.one_of(numbers, numbers, leaves),
    "colour": leaves,
}


def likely(field: str) -> st.SearchStrategy[Any]:
    """Values that a field may well take."""
    if field in {"amount", "actual_amount", "ttl_seconds", "reference_id", "limit", "window_seconds"}:
        return numbers
    if field == "event_time":
        return times
    if field in {"also", "actuals", "amounts"}:
        return st.lists(st.fixed_dictionaries({}, optional=LEG_MEMBERS), max_size=3)
    if field == "overage":
        return st.sampled_from(["allow", "cap", "deny"])
    return {"metadata": objects, "check_balance": st.booleans()}.get(field, names)


def bodies(route: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Bodies near the example: any field may be left out, take a likely value, or take any value at all."""
    fields = route.request.__struct_fields__
    example = EXAMPLES[route.name].request
    members = {field: st.one_of(likely(field), likely(field), anything) for field in fields}
    usual = {field: st.just(value) for field, value in example.items()}
    mixed = {
        field: st.one_of(usual.get(field, value), usual.get(field, value), value)
        for field, value in members.items()
    }
    strange = st.dictionaries(st.sampled_from(["op", "colour", "Amount", ""]), leaves, max_size=1)
    near = st.fixed_dictionaries(
        {field: mixed[field] for field in usual}, optional={f: v for f, v in mixed.items() if f not in usual}
    )
    far = st.fixed_dictionaries({}, optional=mixed)
    return st.one_of(near, near, far, st.builds(lambda body, more: body | more, near, strange))


@pytest.fixture
def app(gateway: Any) -> Any:
    agreeable: Any = Agreeable()
    backend = Backend(
        agreeable, agreeable, gateway.metrics, Reconciler(agreeable, agreeable, agreeable, wait_s=1)
    )
    gateway.meters = lambda namespace, actor: Meter(backend, namespace, actor)
    gateway.__post_init__()
    return gateway


@pytest.fixture(scope="module")
def told() -> Iterator[Callable[..., Any]]:
    """Run a coroutine to its end: hypothesis calls what is not one."""
    with asyncio.Runner() as runner:
        yield runner.run


@pytest.fixture
def document(app: Any, told: Any) -> Any:
    # JSON Schema's patterns are ECMAScript's, where a dollar sign means the very end; in Python it does not.
    return msgspec.json.decode(
        told(app.get("/openapi.json")).body.replace(b'$"', b'\\\\Z"').replace(b"$|", b"\\\\Z|")
    )


def check(answer: Any, allowed: bool, asked: object) -> None:
    """Compare the application's judgement of ``asked`` with the document's."""
    assert answer.status in {200, 422}, (asked, answer.body)
    if answer.status == 200:
        assert allowed, f"accepted, but the document forbids it: {asked!r}"
    elif allowed:
        codes = {code for _, code in answer.faults}
        assert codes <= BEYOND_SCHEMA | BYTE_BOUNDS | {"VAL_METADATA_INVALID_CHARS"}, (asked, answer.body)


@pytest.mark.parametrize("route", POSTS, ids=lambda route: route.name)
def test_bodies_are_judged_as_the_document_says(app: Any, told: Any, document: Any, route: Any) -> None:
    body = document["paths"][route.path][route.method.lower()]["requestBody"]["content"]["application/json"]
    valid = Draft202012Validator({**body["schema"], "components": document["components"]}).is_valid
    path = route.path.replace("{reservation_id}", HOLD)

    @quick
    @given(bodies(route))
    def run(asked: Any) -> None:
        check(told(app.ask(route.method, path, msgspec.json.encode(asked))), valid(asked), asked)

    run()


def test_operations_are_judged_as_bodies_are(app: Any, told: Any, document: Any) -> None:
    schema = document["components"]["schemas"]["Batch"]["properties"]["operations"]["items"]
    valid = Draft202012Validator({"anyOf": schema["anyOf"], "components": document["components"]}).is_valid
    operations = st.sampled_from([route for route in POSTS if route.hot]).flatmap(
        lambda route: (
            bodies(route).map(lambda body: {"reservation_id": HOLD} | {"op": route.name} | body)
            if "{" in route.path
            else bodies(route).map(lambda body: {"op": route.name} | body)
        )
    )

    @quick
    @given(st.lists(st.one_of(operations, anything), max_size=5))
    def run(asked: list[Any]) -> None:
        answer = told(app.post("/v1/batch", msgspec.json.encode({"operations": asked})))
        assert answer.status == 200, (asked, answer.body)
        for operation, result in zip(asked, answer.json["results"], strict=True):
            if "status" not in result:
                assert valid(operation), f"accepted, but the document forbids it: {operation!r}"
            else:
                assert result["status"] == 422, result
                codes = {fault["code"] for fault in result["errors"]}
                assert not valid(operation) or codes <= BEYOND_SCHEMA | BYTE_BOUNDS | {
                    "VAL_METADATA_INVALID_CHARS"
                }

    run()


@pytest.mark.parametrize("route", GETS, ids=lambda route: route.name)
def test_queries_are_judged_as_the_document_says(app: Any, told: Any, document: Any, route: Any) -> None:
    described = [
        one
        for one in document["paths"][route.path][route.method.lower()]["parameters"]
        if one.get("in") == "query"
    ]
    schemas = {one["name"]: Draft202012Validator(one["schema"]) for one in described}
    required = {one["name"] for one in described if one["required"]}
    example = {name: str(value) for name, value in EXAMPLES[route.name].request.items()}
    texts = st.one_of(
        names, st.sampled_from(["1", "100", "10000", "10001", "0", "-1", "active", "lost"]), times
    )
    fields = {
        name: st.one_of(st.just(example[name]), texts) if name in example else texts for name in schemas
    }
    queries = st.fixed_dictionaries({}, optional=fields | {"colour": texts})
    near = st.builds(lambda more: {name: example[name] for name in required} | more, queries)
    path = route.path.replace("{reservation_id}", HOLD)

    @quick
    @given(st.one_of(near, queries))
    def run(asked: Mapping[str, str]) -> None:
        answer = told(app.ask(route.method, f"{path}?{urlencode(asked, quote_via=quote)}"))
        allowed = required <= set(asked) <= set(schemas) and all(
            schemas[name].is_valid(int(text) if name == "limit" and text.strip("-").isdecimal() else text)
            for name, text in asked.items()
        )
        if answer.status == 422 and {field for field, _ in answer.faults} <= {
            "cursor",
            "start_time",
            "end_time",
            "at",
        }:
            return  # the document calls them opaque, and times by a format that validators need not check
        check(answer, allowed, asked)

    run()


@quick
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/"), min_size=1, max_size=40))
@pytest.mark.parametrize("verb", ["", "/commit", "/release", "/extend"])
def test_any_text_may_be_asked_for_as_a_hold(app: Any, told: Any, verb: str, hold_id: str) -> None:
    body = {"/commit": {"actual_amount": 1}, "/release": {}, "/extend": {"ttl_seconds": 5}}.get(verb)
    # A question mark would begin the query; servers hand the path on decoded.
    path = f"/v1/reservations/{hold_id.replace('?', '_')}{verb}"
    answer = told(app.post(path, body) if verb else app.get(path))
    assert answer.status in {200, 404, 405, 422}


@quick
@given(
    st.dictionaries(
        st.sampled_from(
            ["X-Namespace", "X-Actor-Id", "X-Request-Id", "X-On-Behalf-Of", "X-Actor-Reason",
             "Idempotency-Key", "Authorization", "Origin", "Content-Type", "Content-Length"]
        ),
        st.one_of(st.binary(max_size=20), names.map(lambda text: quote(text).encode())),
        min_size=1,
    )
)  # fmt: skip
def test_any_header_is_taken_or_refused(app: Any, told: Any, headers: dict[str, bytes]) -> None:
    body = {"user_id": None, "event_type": "x", "unit": "tokens", "amount": 5}
    answer = told(app.ask("POST", "/v1/reservations", body, list(headers.items())))
    assert answer.status in {200, 403, 413, 415, 422}, answer.body
    assert answer.headers["x-request-id"].isprintable()


def _refuse(word: str) -> None:
    raise ValueError(word)


def is_json(body: bytes) -> bool:
    """Whether the standard library, made strict, reads it as UTF-8 JSON without lone surrogates."""
    try:
        value = json.loads(body.decode(), parse_constant=_refuse)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return False
    return True


WHOLE = (
    b'{"user_id": "al\\u00e9", "event_type": "x", "unit": "usd", "amount": 1.5e0,'
    b' "metadata": {"a": [null, true]}}'
)
pieces = st.one_of(
    st.binary(max_size=3),
    st.sampled_from([*string.punctuation, "\\u12", "\\ud800", "1e", "00", "tru", "NaN", "\ufeff"]).map(
        str.encode
    ),
)


@settings(quick, max_examples=600)
@given(st.lists(st.tuples(st.integers(0, len(WHOLE)), st.integers(0, 3), pieces), min_size=1, max_size=2))
def test_malformed_is_what_everybody_calls_malformed(
    app: Any, told: Any, edits: list[tuple[int, int, bytes]]
) -> None:
    body = WHOLE
    for at, cut, piece in edits:
        body = body[:at] + piece + body[at + cut :]
    answer = told(app.post("/v1/reservations", body))
    assert answer.status in {200, 400, 422}, body
    assert (answer.status != 400) == is_json(body), body
