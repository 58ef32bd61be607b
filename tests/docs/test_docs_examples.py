"""Every example of the documents is run, and its answer compared with the one that is shown."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from doc_blocks import EXECUTED, Block, blocks_of, documents
from doc_reader import Reader
from doc_shapes import same_http, same_json, shaped

RUN = frozenset({"sh", "python", "sql"})
ANSWERS = frozenset({"json", "http", "text"})
# Shown for reading: what does not return, needs another machine or changes this one; and files.
READ = frozenset({"console", "ini", "yaml"})


def tried(reader: Reader, document: str) -> int:
    """Run the blocks of a document in order; give how many answers were compared."""
    compared = 0
    real: str | None = None
    for block in blocks_of(document):
        assert block.kind in RUN | ANSWERS | READ, f"{block.place}: nobody knows what to do with {block.kind}"
        if block.kind in RUN:
            real = reader.run(block)
        elif block.kind in READ:
            real = None
        elif real is not None:
            compare(block, real)
            compared += 1
        else:
            assert block.kind == "text", f"{block.place}: an answer to nothing that was run"
    return compared


def compare(block: Block, real: str) -> None:
    if block.kind == "text":
        wanted, found = shaped(block.text), shaped(real)
    else:
        wanted, found = (same_json if block.kind == "json" else same_http)(block.text, real)
    assert found == wanted, f"{block.place} shows another answer; the real one is\n{real}"


@pytest.mark.parametrize("document", EXECUTED)
def test_the_examples_of_a_document_are_true(document: str, open_reader: Callable[..., Reader]) -> None:
    assert tried(open_reader(document), document)


@pytest.mark.parametrize("document", sorted({*documents()} - {*EXECUTED}))
def test_no_other_document_has_examples_that_nobody_runs(document: str) -> None:
    assert not [block.place for block in blocks_of(document) if block.kind in RUN]


def test_the_readme_is_true_where_curl_is_ours(open_reader: Callable[..., Reader]) -> None:
    assert tried(open_reader("README.md", own_curl=True), "README.md")


@pytest.mark.parametrize(
    ("shown", "real"),
    [
        ('{"a": 1}', '{"a": 1.0}'),
        ('{"a": 1}', '{"a": 1, "b": 2}'),
        ('{"a": [1, "…"]}', '{"a": [2, 3]}'),
        ('{"a": "rsv_0_6f1d0c8e5b7a4f2d9c3e1a08"}', '{"a": "rsv_0_6f1d"}'),
        ('{"a": null}', '{"a": "2026-03-01T12:00:00.000Z"}'),
    ],
)
def test_another_answer_is_told_from_the_one_shown(shown: str, real: str) -> None:
    wanted, found = same_json(shown, real)
    assert wanted != found


def test_ids_times_and_what_is_left_out_may_differ() -> None:
    wanted, found = same_json(
        '{"id": "rsv_0_6f1d0c8e5b7a4f2d9c3e1a08", "at": "2026-03-01T12:00:00.000Z", "l": [1, "…"], "…": "…"}',
        '{"id": "rsv_0_000000000000000000000000", "at": "2027-01-01T00:00:00.001Z", "l": [1, 2], "b": 3}',
    )
    assert wanted == found


@pytest.mark.parametrize(
    ("status", "same"),
    [("422 Unprocessable Entity", True), ("422 Unprocessable Content", True), ("400 Bad", False)],
)
def test_an_answer_is_its_status_the_headers_shown_and_its_body(status: str, same: bool) -> None:
    shown = "HTTP/1.1 422 Unprocessable Entity\na: b\n\n{}"
    wanted, found = same_http(shown, f"HTTP/1.1 {status}\r\na: b\r\nc: d\r\n\r\n{{}}")
    assert (wanted == found) is same
