"""Cursors: what was written is read back, and no other text is read at all."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.cursors import page_of, unpack_cursor, write_cursor

scalars = st.one_of(st.integers(0, 2**63 - 1), st.text(st.characters(exclude_categories=["Cs"])))
places = st.one_of(scalars, st.lists(scalars, max_size=3).map(tuple))


@given(places)
def test_a_place_is_read_back(place: int | str | tuple[int | str, ...]) -> None:
    cursor = write_cursor(place)
    assert json.loads(unpack_cursor(cursor)) == (list(place) if isinstance(place, tuple) else place)
    assert set(cursor) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def test_cursors_never_change() -> None:
    # Clients hold them from one version of the gateway to the next.
    assert write_cursor((1_099_511_627_872,)) == "WzEwOTk1MTE2Mjc4NzJd"
    assert write_cursor((5, "a:b:c:~?")) == "WzUsImE6YjpjOn4_Il0"
    assert write_cursor("ténànt") == "InTDqW7DoG50Ig"
    assert unpack_cursor("WzUsImE6YjpjOn4_Il0") == b'[5,"a:b:c:~?"]'


@pytest.mark.parametrize(
    "cursor",
    [
        "!!Wz\n%%Vd",
        "WzVd=",
        "WzUsImEiXR",
        "WzUsImEiXQ==",
        "WzUsImE6YjpjOn4/Il0",
        " WzVd",
        "WzVd\n",
        "W",
        "ü",
        "\ud800",
    ],
)
def test_another_text_for_the_same_place_is_none(cursor: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - it says nothing, callers say it all
        unpack_cursor(cursor)


@pytest.mark.parametrize(("found", "page", "cursor"), [(0, 0, None), (2, 2, None), (3, 2, "MQ")])
def test_a_cursor_stands_where_a_page_follows(found: int, page: int, cursor: str | None) -> None:
    rows = range(found)
    assert page_of(rows, 2, lambda row: row) == (rows[:page], cursor)
