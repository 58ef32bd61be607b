"""What stands in an array that Postgres reads is what was put in, whatever the text."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.names import account_text
from persistence.arraytext import account_elements, columns, element, namespace_element

_Row = tuple[str | None, str | None]
_TEXTS = st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
_TRAPS = ["", " ", "NULL", "null", "{", "}", "{}", ",", '"', "\\", '\\"', "a b", "\t", "\n", "\\N", "'", "ü☃"]


@pytest.fixture(scope="module")
def connection(postgres_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres_url, autocommit=True) as opened:
        yield opened


@given(told=st.lists(st.tuples(_TEXTS, _TEXTS), min_size=1, max_size=8))
def test_every_text_is_read_back(connection: psycopg.Connection, told: list[_Row]) -> None:
    rows = [(element(first), element(second)) for first, second in told]
    query = "SELECT * FROM unnest(%(firsts)s::text[], %(seconds)s::text[])"
    assert connection.execute(query, columns(("firsts", "seconds"), rows)).fetchall() == told


def test_what_means_something_in_an_array_is_read_back(connection: psycopg.Connection) -> None:
    found = columns(("texts",), [(element(text),) for text in [*_TRAPS, None]])
    query = "SELECT unnest(%(texts)s::text[])"
    assert [text for (text,) in connection.execute(query, found)] == [*_TRAPS, None]


def test_an_account_stands_whole_and_in_its_parts(connection: psycopg.Connection) -> None:
    account = account_text('a"\\b', "NULL", "tokens", None)
    rows = [(namespace_element('n"'), *account_elements(account))]
    names = ("namespaces", "accounts", "users", "events", "units", "resources")
    query = f"SELECT * FROM unnest({', '.join(f'%({name})s::text[]' for name in names)})"
    found = connection.execute(query.encode(), columns(names, rows)).fetchall()
    assert found == [('n"', account, 'a"\\b', "NULL", "tokens", None)]
