"""Names: what is refused with which word, and texts that no name can forge."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.names import (
    SHARDS,
    account_errors,
    account_text,
    key_text,
    name_error,
    namespace_error,
    namespace_text,
    parse_account,
    parse_namespace,
    shard_of,
)

# Lone surrogates are no text that UTF-8 could carry; the checks refuse them.
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
maybe = st.one_of(st.none(), texts)


@given(maybe, texts, texts, maybe)
def test_an_account_is_read_back_from_its_text(
    user_id: str | None, event_type: str, unit: str, resource: str | None
) -> None:
    text = account_text(user_id, event_type, unit, resource)
    assert parse_account(text) == (user_id, event_type, unit, resource)
    assert text.count(":") == 3
    assert text.isascii()
    assert not set(text) & set(" {}*?[]\\\"'\n\t")


@given(texts)
def test_a_namespace_is_read_back_from_its_text(namespace: str) -> None:
    assert parse_namespace(namespace_text(namespace)) == namespace
    assert ":" not in namespace_text(namespace)
    assert 0 <= shard_of(namespace) < SHARDS


@given(st.one_of(texts, st.from_regex("[A-Za-z0-9_.~%-]{1,20}", fullmatch=True)))
def test_a_key_is_read_back_from_its_text(key: str) -> None:
    assert unquote(key_text(key)) == key
    assert key_text(key).isascii()
    assert not set(key_text(key)) & set(" :{}*?[]\\\"'\n\t")


@pytest.mark.parametrize("bound", ["max_chars", "max_bytes"])
def test_a_name_without_spaces_is_bounded_too(bound: str) -> None:
    assert name_error("unit", "x" * 5, **{bound: 5}) is None
    fault = name_error("unit", "x" * 6, **{bound: 5})
    assert fault is not None
    assert fault.code == "VAL_UNIT_TOO_LONG"


def test_shards_never_move() -> None:
    # Every key and row of a namespace lies in its shard: these numbers are for ever.
    assert [shard_of(namespace) for namespace in ("default", "acme", "ünï", "")] == [95, 62, 106, 0]


def test_no_resource_and_an_empty_one_are_one() -> None:
    assert account_text("u", "e", "t", None) == account_text("u", "e", "t", "")


@pytest.mark.parametrize(
    ("value", "flaw"),
    [
        (None, "NULL"),
        (5, "INVALID_TYPE"),
        (b"acme", "INVALID_TYPE"),
        (["acme"], "INVALID_TYPE"),
        ("", "EMPTY"),
        ("   ", "EMPTY"),
        (" " * 5000, "EMPTY"),
        ("x" * 1025, "TOO_LONG"),
        ("\x00" * 1025, "TOO_LONG"),
        ("a\x00b", "INVALID_CHARS"),
        ("\t", "INVALID_CHARS"),
        ("a\x1f", "INVALID_CHARS"),
        ("a\x7f", "INVALID_CHARS"),
        ("a\x85", "INVALID_CHARS"),
        ("\u2028a", "INVALID_CHARS"),
        ("a\u2029", "INVALID_CHARS"),
        (" a\n", "INVALID_CHARS"),
        ("a\ud800", "INVALID_CHARS"),
        (" a", "WHITESPACE"),
        ("a ", "WHITESPACE"),
    ],
    ids=repr,
)
def test_what_is_no_namespace_says_why(value: object, flaw: str) -> None:
    fault = namespace_error(value)
    assert fault is not None
    assert (fault.field, fault.code) == ("namespace", f"VAL_NAMESPACE_{flaw}")


@pytest.mark.parametrize(
    "value", ["a", "x" * 1024, "a b", "\u00a0", "\u200b", "🦀" * 1024, "a:b%c{d}", "\u0080", "~", "\u2027"]
)
def test_everything_else_passes(value: str) -> None:
    assert namespace_error(value) is None


def test_bytes_are_counted_where_bytes_are_the_bound() -> None:
    assert name_error("user_id", "ü" * 2048, max_bytes=4096) is None
    fault = name_error("user_id", "ü" * 2048 + "x", max_bytes=4096)
    assert fault is not None
    assert (fault.code, fault.detail) == ("VAL_USER_ID_TOO_LONG", "must be at most 4096 bytes of UTF-8")


def test_all_flaws_of_an_account_are_told_in_order() -> None:
    found = account_errors("", None, "x" * 65, " r")
    assert [(fault.field, fault.code) for fault in found] == [
        ("event_type", "VAL_EVENT_TYPE_NULL"),
        ("unit", "VAL_UNIT_TOO_LONG"),
        ("user_id", "VAL_USER_ID_EMPTY"),
        ("resource", "VAL_RESOURCE_WHITESPACE"),
    ]
    assert account_errors(None, "e", "t", "") == []
