"""Lists that operators read: their pages, and the cursors between these."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gateway.admin.paging import account_after, namespace_after, number_of
from gateway.errors import MeterValidationError


@pytest.mark.parametrize(
    ("read", "cursor", "place"),
    [
        (number_of, "MTA5OTUxMTYyNzc5Mg", 1_099_511_627_792),
        (namespace_after, "InTDqW7DoG50Ig", "ténànt"),
        (account_after, "ImFsaWNlOmxsbV9jYWxsOnRva2VuczoyJTNGIg", "alice:llm_call:tokens:2%3F"),
    ],
)
def test_a_cursor_of_before_is_read(read: Callable[[str], Any], cursor: str, place: object) -> None:
    assert read(cursor) == place


@pytest.mark.parametrize(
    ("read", "cursor"),
    [
        (number_of, "!!NQ"),
        (number_of, "NR"),
        (number_of, "LTE"),
        (number_of, "IjUi"),
        (namespace_after, "NQ"),
        (namespace_after, "IiI"),
        (account_after, "ImFsaWNlIg"),
        (account_after, "ImE6Yjo6ZCUzZiI"),
        (account_after, "x"),
    ],
)
def test_what_no_page_ended_with_is_refused(read: Callable[[str], Any], cursor: str) -> None:
    with pytest.raises(MeterValidationError) as caught:
        read(cursor)
    assert [(fault.field, fault.code) for fault in caught.value.errors] == [("cursor", "VAL_CURSOR_INVALID")]
