"""The page of conformance says what there is, and names all that the source API has."""

from __future__ import annotations

from conformance import COMMAND, FUNCTIONS, METHODS, PAGE, page


def test_the_page_says_what_there_is() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), f"stale: run `{COMMAND}`"


def test_every_method_and_function_of_the_source_is_named_once() -> None:
    assert len({source.method for source in METHODS}) == len(METHODS) == 19
    assert len(FUNCTIONS) == 25
