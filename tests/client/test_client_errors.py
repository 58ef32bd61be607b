"""Problem documents become the error tree, and settings that cannot be right are refused before any call."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from gateway.client import (
    AsyncMeterClient,
    MeterAuthError,
    MeterClient,
    MeterConflictError,
    MeterError,
    MeterUnavailableError,
    MeterValidationError,
)

KINDS = [
    (400, MeterValidationError),
    (401, MeterAuthError),
    (403, MeterAuthError),
    (404, MeterValidationError),
    (405, MeterValidationError),
    (408, MeterUnavailableError),
    (409, MeterConflictError),
    (413, MeterValidationError),
    (415, MeterValidationError),
    (422, MeterValidationError),
    (429, MeterUnavailableError),
    (431, MeterValidationError),
    (500, MeterError),
    (302, MeterError),
    (503, MeterUnavailableError),
]


@pytest.mark.parametrize(("status", "kind"), KINDS)
async def test_a_status_has_its_error(bench: Any, told: Any, status: int, kind: type[MeterError]) -> None:
    problem = {"type": "urn:x", "title": "t", "status": status, "detail": "why", "code": "the_code"}
    bench.answers(httpx2.Response(status, json=problem))
    with pytest.raises(MeterError) as caught:
        await told(bench.client(retries=0).get_user_balances("ann"))
    error = caught.value
    assert type(error) is kind
    assert (error.status, error.code, error.message, error.problem) == (status, "the_code", "why", problem)


@pytest.mark.parametrize("content", [b"", b"<html>Bad Gateway</html>", b"[1]", b'{"detail": 7}', b"\xff\xfe"])
async def test_a_foreign_page_is_still_an_error(bench: Any, told: Any, content: bytes) -> None:
    bench.answers(httpx2.Response(502, content=content))
    with pytest.raises(MeterUnavailableError) as caught:
        await told(bench.client(retries=0).get_user_balances("ann"))
    assert caught.value.message == "the gateway answered with HTTP 502"
    assert caught.value.retry_after_s == 1.0


@pytest.mark.parametrize("kind", [MeterClient, AsyncMeterClient])
@pytest.mark.parametrize(
    ("namespace", "code"),
    [
        ("", "VAL_NAMESPACE_EMPTY"),
        ("  ", "VAL_NAMESPACE_EMPTY"),
        ("x" * 1025, "VAL_NAMESPACE_TOO_LONG"),
        ("\t", "VAL_NAMESPACE_INVALID_CHARS"),
        ("a\u2028b", "VAL_NAMESPACE_INVALID_CHARS"),
        (" a", "VAL_NAMESPACE_WHITESPACE"),
    ],
)
def test_the_constructor_refuses_a_bad_namespace(kind: Any, namespace: str, code: str) -> None:
    with pytest.raises(MeterValidationError) as caught:
        kind("http://gateway", namespace=namespace)
    assert caught.value.code == code


@pytest.mark.parametrize("kind", [MeterClient, AsyncMeterClient])
@pytest.mark.parametrize(
    "url", ["", "gateway:8080", "ftp://gateway", "http://", "http://g/?a=b", "http://[::1", "http://\ud800"]
)
def test_the_constructor_refuses_a_bad_url(kind: Any, url: str) -> None:
    with pytest.raises(MeterValidationError) as caught:
        kind(url)
    assert caught.value.errors[0].field == "base_url"


@pytest.mark.parametrize("kind", [MeterClient, AsyncMeterClient])
@pytest.mark.parametrize("api_key", ["", "two words", "line\nbreak", "ключ"])
def test_the_constructor_refuses_a_bad_key_and_never_shows_it(kind: Any, api_key: str) -> None:
    with pytest.raises(MeterValidationError) as caught:
        kind("http://gateway", api_key)
    assert caught.value.errors[0].field == "api_key"
    assert not api_key or api_key not in caught.value.message


def test_a_client_shows_where_it_points_and_nothing_secret() -> None:
    assert repr(MeterClient("http://gateway:8080/q/", "qg_secret")) == "MeterClient('http://gateway:8080/q')"


def test_the_sdk_shows_no_password() -> None:
    client = MeterClient("http://anna:secret@gateway:8080")
    assert repr(client) == "MeterClient('http://gateway:8080')"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("timeout_s", 0),
        ("timeout_s", float("nan")),
        ("timeout_s", "30"),
        ("attempt_timeout_s", -1.0),
        ("attempt_timeout_s", float("inf")),
        ("retries", -1),
        ("retries", True),
        ("retries", 1.5),
        ("api_key", b"qg_key"),
        ("api_key", 7),
    ],
)
def test_a_client_is_not_made_with_bounds_that_are_none(field: str, value: Any) -> None:
    with pytest.raises(MeterValidationError) as caught:
        MeterClient("http://gateway:8080", **{field: value})
    assert [fault.field for fault in caught.value.errors] == [field]


async def test_a_base_url_may_have_a_path(bench: Any, told: Any) -> None:
    bench.answers(httpx2.Response(200, json={"balances": [], "as_of": "t"}))
    http = bench.client()._given
    client = type(bench.client())("http://gateway/quota/", http_client=http)
    await told(client.get_user_balances(None))
    assert bench.requests[0].url.path == "/quota/v1/balances"
