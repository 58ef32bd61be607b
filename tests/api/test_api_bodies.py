"""Bodies on their way in: size, pieces, media type, encoding, and clients that go away."""

from __future__ import annotations

import json
from typing import Any

import pytest

BODY = {"user_id": "alice", "event_type": "llm_call", "unit": "tokens", "amount": 5}
TEXT = json.dumps(BODY).encode()
MAX = 1024 * 1024


def padded(size: int) -> bytes:
    return TEXT + b" " * (size - len(TEXT))


async def test_a_body_may_come_in_pieces(gateway: Any) -> None:
    pieces = [TEXT[:10], b"", TEXT[10:11], TEXT[11:]]
    answer = await gateway.ask("POST", "/v1/reservations", TEXT, chunks=pieces)
    assert answer.status == 200
    assert gateway.meter.calls[0][:4] == ("reserve", "alice", "llm_call", 5)


@pytest.mark.parametrize("pieces", [1, 2, 50])
@pytest.mark.parametrize(("size", "status"), [(MAX, 200), (MAX + 1, 413)])
async def test_a_body_is_bounded_however_it_comes(gateway: Any, size: int, status: int, pieces: int) -> None:
    body = padded(size)
    step = -(-size // pieces)
    chunks = [body[start : start + step] for start in range(0, size, step)]
    answer = await gateway.ask("POST", "/v1/reservations", body, chunks=chunks)
    assert answer.status == status
    if status == 413:
        assert answer.json["code"] == "body_too_large"
        assert gateway.meter.calls == []


@pytest.mark.parametrize("declared", [str(MAX + 1), "9" * 30, "9" * 5000, "-1", "+5", "1_0", ""])
async def test_a_body_declared_too_large_is_never_read(gateway: Any, declared: str) -> None:
    answer = await gateway.ask(
        "POST", "/v1/reservations", TEXT, [("Content-Length", declared)], chunks=[]
    )  # without a chunk the client would be gone at the first look
    assert (answer.status, answer.json["code"]) == (413, "body_too_large")


async def test_the_bound_is_the_gateways(make_gateway: Any) -> None:
    gateway = make_gateway(max_body_bytes=len(TEXT))
    assert (await gateway.post("/v1/reservations", TEXT)).status == 200
    answer = await gateway.post("/v1/reservations", TEXT + b" ")
    assert (answer.status, str(len(TEXT)) in answer.json["detail"]) == (413, True)


@pytest.mark.parametrize("whole", [[], [TEXT[:10]], [TEXT[:10], TEXT[10:20]]])
async def test_a_client_that_goes_away_gets_no_answer_and_changes_nothing(
    gateway: Any, whole: list[bytes]
) -> None:
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in whole]
    messages.append({"type": "http.disconnect"})

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: Any) -> None:
        raise AssertionError(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/reservations", "query_string": b"", "headers": []}
    await gateway.app(scope, receive, send)
    assert gateway.meter.calls == []
    assert messages == []


@pytest.mark.parametrize(
    ("media", "status"),
    [
        ("application/json", 200),
        ("Application/JSON", 200),
        ("application/json; charset=utf-8", 200),
        ("application/json; charset=utf8", 200),
        ('application/json;charset="UTF-8"', 200),
        ("application/json; profile=x", 200),
        ("application/json; charset=latin-1", 415),
        ("application/x-www-form-urlencoded", 415),
        ("application/problem+json", 415),
        ("text/plain", 415),
        ("text/json", 415),
        ("", 415),
    ],
)
async def test_a_body_is_json_or_says_nothing(gateway: Any, media: str, status: int) -> None:
    answer = await gateway.post("/v1/reservations", TEXT, content_type=media)
    assert answer.status == status
    if status == 415:
        assert answer.json["code"] == "unsupported_media_type"
    assert (await gateway.ask("POST", "/v1/reservations", TEXT, chunks=[TEXT])).status == 200


@pytest.mark.parametrize(
    ("coding", "status"),
    [("gzip", 415), ("GZIP, identity", 415), ("", 415), ("identity", 200), ("Identity", 200)],
)
async def test_a_body_is_sent_as_it_is(gateway: Any, coding: str, status: int) -> None:
    answer = await gateway.post("/v1/reservations", TEXT, content_encoding=coding)
    assert answer.status == status
    if status == 415:
        assert answer.json["code"] == "unsupported_media_type"
        assert "Content-Encoding" in answer.json["detail"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b'{"user_id": "alice",}',
        b"{'user_id': 'alice'}",
        TEXT + b"x",
        TEXT + TEXT,
        b"\xef\xbb\xbf" + TEXT,
        TEXT.decode().encode("utf-16"),
        TEXT.replace(b"alice", b"\xff"),
        TEXT.replace(b"alice", b"\xed\xa0\x80"),
        TEXT.replace(b"alice", b"\\ud800"),
        TEXT.replace(b"alice", b"a\nb"),
        TEXT.replace(b"5", b"NaN"),
        TEXT.replace(b"5", b"Infinity"),
        TEXT.replace(b"5", b"05"),
        TEXT.replace(b"5", b"+5"),
        TEXT.replace(b"5", b".5"),
        TEXT.replace(b"5", b"5."),
        TEXT.replace(b"5", b"0x5"),
        b'{"unknown": "\xff"}',
        b'{"amount": "wrong", "user_id": "\\udfff"}',
        b'{"amount": "wrong", "unit": "tokens"',
        b"[" * 200_000,
        b'{"metadata": ' + b'{"a":' * 100_000,
        TEXT[:-1] + b', "metadata": {"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
    ],
)
async def test_what_is_no_json_is_malformed(gateway: Any, body: bytes) -> None:
    answer = await gateway.post("/v1/reservations", body)
    assert (answer.status, answer.json["code"]) == (400, "malformed_json")
    assert gateway.meter.calls == []


async def test_no_body_at_all_is_said_to_be_empty(gateway: Any) -> None:
    answer = await gateway.post("/v1/reservations", b"")
    assert (answer.status, answer.json["code"]) == (400, "malformed_json")
    assert answer.json["detail"] == "the body is empty, and must be a JSON object"


@pytest.mark.parametrize("body", [b"[]", b"5", b"null", b"true", b'"text"', b"1e999999"])
async def test_json_that_is_no_object_is_named(gateway: Any, body: bytes) -> None:
    answer = await gateway.post("/v1/reservations", body)
    assert (answer.status, answer.faults) == (422, [("body", "VAL_BODY_INVALID_TYPE")])


@pytest.mark.parametrize("path", ["/v1/reservations/h1/release", "/v1/reconcile", "/v1/reservations/expire"])
@pytest.mark.parametrize("body", [b"", b"{}", b" { } "])
async def test_a_body_with_nothing_to_say_may_be_left_out(gateway: Any, path: str, body: bytes) -> None:
    assert (await gateway.post(path, body)).status == 200


async def test_a_repeated_name_counts_as_it_was_last(gateway: Any) -> None:
    answer = await gateway.post("/v1/reservations", TEXT[:-1] + b', "amount": 7}')
    assert answer.status == 200
    assert gateway.meter.calls[0][3] == 7
