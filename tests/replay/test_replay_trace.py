"""Reading traces: what is right, and how what is wrong is named."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from gateway.replay.trace import Request, TraceError, read_trace

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
SHIPPED = Path(__file__).parents[2] / "loadtest" / "traces" / "azure_llm_trace_conv.csv"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="utf-8", newline="")
    return path


def test_a_trace_is_read_with_offsets_from_its_first_request(tmp_path: Path) -> None:
    text = HEADER + "2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,0,109\r\n"
    trace = read_trace(written(tmp_path, text))
    assert trace.requests == [Request(2, 0.0, 374, 44), Request(3, 4.314579, 0, 109)]
    assert trace.duration_s == 4.314579
    assert trace.requests[0].tokens == 418
    assert trace.at(trace.duration_s).isoformat() == "2023-11-16T18:15:50.995169"


def test_columns_stand_in_any_order_and_among_others(tmp_path: Path) -> None:
    text = "\nModel,GeneratedTokens,TIMESTAMP,ContextTokens\n\nx,44,2023-11-16 18:15:46,374\n\n"
    assert read_trace(written(tmp_path, text)).requests == [Request(4, 0.0, 374, 44)]


def test_the_shipped_trace_is_whole() -> None:
    trace = read_trace(SHIPPED)
    assert len(trace.requests) == 19_366
    assert sum(request.tokens for request in trace.requests) == 26_450_535
    assert 3500 < trace.duration_s < 3600
    assert SHIPPED.with_name("README.md").read_text(encoding="utf-8").count("CC-BY-4.0") == 1


def test_a_limit_reads_no_further(tmp_path: Path) -> None:
    text = HEADER + "2023-11-16 18:15:46,1,2\n2023-11-16 18:15:47,1,2\nnot a line\n"
    assert len(read_trace(written(tmp_path, text), limit=2).requests) == 2


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "the columns TIMESTAMP,ContextTokens,GeneratedTokens are needed, here are none"),
        ("time,in,out\n2023-11-16,1,2\n", 1, "here are time,in,out"),
        (HEADER + "2023-11-16 18:15:46,1\n", 2, "3 columns are needed, here are 2"),
        (HEADER + "2023-11-16 18:15:46,1,2\n\n1\n", 4, "3 columns are needed, here are 1"),
        (HEADER + "yesterday,1,2\n", 2, "TIMESTAMP 'yesterday' is no time"),
        (HEADER + "0001-01-01T00:00:00+23:00,1,2\n9999-12-31T23:59:59-23:00,1,2\n", 2, "is no time"),
        (HEADER + "2023-11-16 18:15:46,-1,2\n", 2, "ContextTokens '-1' is no number of tokens"),
        (HEADER + "2023-11-16 18:15:46,1,2.5\n", 2, "GeneratedTokens '2.5' is no number of tokens"),
        (HEADER + "2023-11-16 18:15:46,1,٣\n", 2, "GeneratedTokens '٣' is no number of tokens"),
        (HEADER + f"2023-11-16 18:15:46,1,{'9' * 40}\n", 2, "is no number of tokens"),
        (HEADER + "2023-11-16 18:15:46,1,2\n2023-11-16 18:15:47Z,1,2\n", 3, "both have a time zone"),
        (HEADER + '2023-11-16 18:15:46,1,"2\n', 2, "unexpected end of data"),
    ],
)
def test_a_fault_is_named_by_file_and_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(TraceError) as caught:
        read_trace(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert words in str(caught.value)


def test_requests_come_in_order_of_time_whatever_their_lines_order(tmp_path: Path) -> None:
    text = HEADER + "2023-11-16 18:15:48,1,1\n2023-11-16 18:15:46,2,2\n2023-11-16 18:15:48,3,3\n"
    trace = read_trace(written(tmp_path, text))
    assert trace.requests == [Request(3, 0, 2, 2), Request(2, 2, 1, 1), Request(4, 2, 3, 3)]
    assert (trace.began, trace.duration_s) == (datetime.fromisoformat("2023-11-16 18:15:46"), 2)


def test_spaces_around_names_and_numbers_are_harmless(tmp_path: Path) -> None:
    text = "TIMESTAMP, ContextTokens, GeneratedTokens\n2023-11-16 18:15:46, 374, 44\n"
    assert read_trace(written(tmp_path, text)).requests == [Request(2, 0, 374, 44)]


def test_a_column_that_comes_twice_is_not_guessed(tmp_path: Path) -> None:
    text = HEADER.replace("\n", ",ContextTokens\n") + "2023-11-16 18:15:46,374,44,12\n"
    with pytest.raises(TraceError, match=":1: the column ContextTokens is there more than once"):
        read_trace(written(tmp_path, text))


def test_a_file_without_requests_or_without_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="no requests"):
        read_trace(written(tmp_path, HEADER))
    binary = tmp_path / "b.csv"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TraceError, match=str(binary)):
        read_trace(binary)
    with pytest.raises(TraceError, match="No such file"):
        read_trace(tmp_path / "none.csv")
