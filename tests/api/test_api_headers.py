"""The headers of the API: namespace, actor, idempotency key, request id."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.protocols import NOBODY, Actor

BODY = {"user_id": "alice", "event_type": "llm_call", "unit": "tokens", "amount": 5}
BALANCE = "/v1/balance?event_type=llm_call&unit=tokens"


@pytest.mark.parametrize(
    ("text", "namespace"),
    [("acme", "acme"), ("a%20b", "a b"), ("a+b", "a+b"), ("%C3%A9%25", "é%"), ("", ""), ("a b", "a b")],
)
async def test_the_namespace_is_percent_encoded(gateway: Any, text: str, namespace: str) -> None:
    assert (await gateway.get(BALANCE, x_namespace=text)).status == 200
    assert gateway.asked_for == [(namespace, NOBODY)]


@pytest.mark.parametrize("value", [b"%FF", b"%zz", b"100%", b"\xc3\xa9", b"%ED%A0%80"])
@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("X-Namespace", "VAL_NAMESPACE_INVALID_ENCODING"),
        ("X-Actor-Id", "VAL_ACTOR_ID_INVALID_ENCODING"),
        ("X-Request-Id", "VAL_REQUEST_ID_INVALID_ENCODING"),
        ("X-On-Behalf-Of", "VAL_ON_BEHALF_OF_INVALID_ENCODING"),
        ("X-Actor-Reason", "VAL_ACTOR_REASON_INVALID_ENCODING"),
    ],
)
async def test_a_bad_encoding_names_its_header(gateway: Any, header: str, code: str, value: bytes) -> None:
    answer = await gateway.ask("GET", BALANCE, headers=[(header, value)])
    assert (answer.status, answer.faults) == (422, [(header, code)])
    assert gateway.meter.calls == []


async def test_the_actor_goes_with_the_call(gateway: Any) -> None:
    await gateway.post(
        "/v1/reservations",
        BODY,
        x_actor_id="user:admin-bob",
        x_request_id="req-7",
        x_on_behalf_of="user%3Aalic%C3%A9",
        x_actor_reason=" because%20",
    )
    assert gateway.asked_for == [("default", Actor("user:admin-bob", "req-7", "user:alicé", " because "))]


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("x" * 513, "TOO_LONG"),
        ("%C3%A9" * 257, "TOO_LONG"),
        ("a%0Ab", "INVALID_CHARS"),
        ("a%00b", "INVALID_CHARS"),
        ("a%C2%85b", "INVALID_CHARS"),
        ("%E2%80%A8", "INVALID_CHARS"),
        ("", "EMPTY"),
        ("%20", "EMPTY"),
    ],
)
async def test_every_bad_part_of_the_actor_is_named(gateway: Any, value: str, code: str) -> None:
    answer = await gateway.post("/v1/reservations", BODY, x_actor_id=value, x_actor_reason=value)
    assert answer.status == 422
    assert answer.faults == [
        ("X-Actor-Id", f"VAL_ACTOR_ID_{code}"),
        ("X-Actor-Reason", f"VAL_ACTOR_REASON_{code}"),
    ]
    assert gateway.meter.calls == []


async def test_the_longest_actor_passes(gateway: Any) -> None:
    assert (await gateway.get(BALANCE, x_actor_id="%C3%A9" * 256)).status == 200
    assert gateway.asked_for[0][1].actor_id == "é" * 256


@pytest.mark.parametrize(
    "path",
    [
        "/v1/allocations",
        "/v1/consumptions",
        "/v1/adjustments",
        "/v1/reservations",
    ],
)
async def test_the_header_is_the_bodys_idempotency_key(gateway: Any, path: str) -> None:
    assert (await gateway.post(path, BODY, idempotency_key="50%25 off")).status == 200
    assert (await gateway.post(path, BODY | {"idempotency_key": "50%25 off"})).status == 200
    assert gateway.meter.calls[0] == gateway.meter.calls[1]
    assert "50%25 off" in gateway.meter.calls[0]


@pytest.mark.parametrize(
    ("path", "body"),
    [("commit", {"actual_amount": 5}), ("release", b""), ("release", {}), ("extend", {"amount": 5})],
)
async def test_the_header_is_the_key_of_what_settles_a_hold(gateway: Any, path: str, body: Any) -> None:
    assert (await gateway.post(f"/v1/reservations/h1/{path}", body, idempotency_key="k")).status == 200
    assert gateway.meter.calls[0][-1] == "k"


async def test_both_keys_must_be_the_same(gateway: Any) -> None:
    body = BODY | {"idempotency_key": "a"}
    assert (await gateway.post("/v1/reservations", body, idempotency_key="a")).status == 200
    answer = await gateway.post("/v1/reservations", body, idempotency_key="b")
    assert (answer.status, answer.faults) == (422, [("Idempotency-Key", "VAL_IDEMPOTENCY_KEY_DIFFERS")])
    assert len(gateway.meter.calls) == 1


async def test_a_key_that_a_header_cannot_carry_is_refused(gateway: Any) -> None:
    answer = await gateway.ask("POST", "/v1/reservations", BODY, [("Idempotency-Key", b"caf\xc3\xa9")])
    assert answer.faults == [("Idempotency-Key", "VAL_IDEMPOTENCY_KEY_INVALID_ENCODING")]
    assert gateway.meter.calls == []


async def test_a_batch_has_no_key_of_its_own(gateway: Any) -> None:
    answer = await gateway.post("/v1/batch", {"operations": []}, idempotency_key="k")
    assert (answer.status, answer.faults) == (422, [("Idempotency-Key", "VAL_IDEMPOTENCY_KEY_MISPLACED")])


async def test_what_is_repeated_without_harm_takes_any_key(gateway: Any) -> None:
    assert (await gateway.post("/v1/reconcile", b"", idempotency_key="k")).status == 200
    assert (await gateway.get(BALANCE, idempotency_key="k")).status == 200


@pytest.mark.parametrize(
    "header",
    [
        "X-Namespace",
        "X-Actor-Id",
        "X-Request-Id",
        "Idempotency-Key",
        "Durability",
        "Authorization",
        "Host",
        "Content-Type",
    ],
)
async def test_a_header_that_decides_comes_once(gateway: Any, header: str) -> None:
    answer = await gateway.ask("POST", "/v1/reservations", BODY, [(header, "a"), (header, "b")])
    assert (answer.status, answer.faults) == (422, [(header.lower(), "VAL_REPEATED_HEADER")])
    assert gateway.meter.calls == []


@pytest.mark.parametrize("level", ["journal", "replicated", "fsync", "ledger"])
@pytest.mark.parametrize("target", ["/v1/reservations", "/v1/batch"])
async def test_the_durability_goes_with_the_call(gateway: Any, target: str, level: str) -> None:
    body = {"operations": [BODY | {"op": "consume"}]} if target == "/v1/batch" else BODY
    assert (await gateway.post(target, body, durability=level)).status == 200
    assert gateway.meter.durability == level


async def test_a_call_without_the_header_asks_for_no_durability(gateway: Any) -> None:
    assert (await gateway.post("/v1/reservations", BODY)).status == 200
    assert gateway.meter.durability is None


@pytest.mark.parametrize("value", [b"", b"Journal", b"disk", b"\xff", b"fsync, ledger"])
async def test_an_unknown_durability_names_its_header(gateway: Any, value: bytes) -> None:
    answer = await gateway.ask("POST", "/v1/reservations", BODY, headers=[("Durability", value)])
    assert (answer.status, answer.faults) == (422, [("Durability", "VAL_DURABILITY_INVALID")])
    assert "journal, replicated, fsync, ledger" in answer.json["detail"]
    assert gateway.meter.calls == []


async def test_other_headers_may_repeat(gateway: Any) -> None:
    headers = [("Accept", "text/html"), ("Accept", "*/*"), ("Cookie", "a=1"), ("Cookie", "b=2")]
    assert (await gateway.ask("POST", "/v1/reservations", BODY, headers)).status == 200


@pytest.mark.parametrize("target", [BALANCE, "/v1/balance", "/v1/balances", "/nowhere", "/healthz", "/docs"])
async def test_the_request_id_comes_back_with_every_answer(gateway: Any, target: str) -> None:
    answer = await gateway.get(target, x_request_id="trace/7 %C3%A9")
    assert answer.headers["x-request-id"] == "trace/7 %C3%A9"
    made = [(await gateway.get(target)).headers["x-request-id"] for _ in range(3)]
    assert len(set(made)) == 3


@pytest.mark.parametrize("value", [b"\xff", b"a\tb", b"", b"x" * 2000, b"a\x7f"])
async def test_a_request_id_that_cannot_be_repeated_is_replaced(gateway: Any, value: bytes) -> None:
    answer = await gateway.ask("GET", BALANCE, headers=[("X-Request-Id", value)])
    assert answer.status == 422
    assert answer.headers["x-request-id"].isascii()
    assert answer.headers["x-request-id"] != value.decode("latin-1")
