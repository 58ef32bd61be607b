"""Counting text: by bytes, by a tokenizer, and by tiktoken where its vocabulary lies on this machine."""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path

import pytest
import tiktoken
import tiktoken.registry
from llm_replies import CHAT_CHUNKS, EVENTS, events

from gateway.llm import Ask, ByteTally, Readers, ReplyHead, TokenizerTally, tiktokens
from gateway.llm.tiktokens import offline_encoding, tiktoken_tally

FILE = "fb374d419588a4632f3f557e76b4b70aebbca790"  # what tiktoken calls o200k_base in its cache


@pytest.mark.parametrize(
    ("pieces", "tokens"),
    [
        ([], 0),
        ([""], 0),
        (["a"], 1),
        (["abcd"], 1),
        (["abcde"], 2),
        (["a"] * 5, 2),
        (["grüß"], 2),
        (["\ud800b"], 1),
    ],
)
def test_four_bytes_are_a_token(pieces: list[str], tokens: int) -> None:
    tally = ByteTally()
    for piece in pieces:
        tally.add(piece)
    assert tally.tokens() == tokens


def test_a_streamed_answer_is_counted_by_the_counter_that_is_given() -> None:
    reader = Readers().reader(ReplyHead("/v1/chat/completions", EVENTS), Ask(), TokenizerTally(str.split))
    assert reader is not None
    reader.feed(events(CHAT_CHUNKS[:4]))
    assert reader.finish().output == 1 + 1 + 4


@pytest.fixture
def own() -> tiktoken.Encoding:
    """Give an encoding in which every byte is a token."""
    ranks = {bytes([byte]): byte for byte in range(256)}
    return tiktoken.Encoding("bytes", pat_str=r".", mergeable_ranks=ranks, special_tokens={"<|end|>": 256})


def test_tiktoken_counts_what_looks_special_as_text(own: tiktoken.Encoding) -> None:
    tally = tiktoken_tally(own)
    tally.add("ab<|end|>")
    assert tally.tokens() == 9


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    def refuse(*_: object) -> None:
        raise AssertionError("tiktoken went out")

    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return tmp_path


def test_a_vocabulary_that_is_not_here_is_not_fetched(cache: Path) -> None:
    assert offline_encoding() is None
    assert offline_encoding("cl100k_base") is None


def test_a_vocabulary_that_is_damaged_is_neither_used_nor_replaced(cache: Path) -> None:
    (cache / FILE).write_bytes(b"damaged")
    assert offline_encoding() is None
    assert (cache / FILE).read_bytes() == b"damaged"


def test_a_vocabulary_that_is_here_is_used(
    cache: Path, monkeypatch: pytest.MonkeyPatch, own: tiktoken.Encoding
) -> None:
    (cache / FILE).write_bytes(b"whole")
    monkeypatch.setitem(tiktokens._SHA256, "o200k_base", hashlib.sha256(b"whole").hexdigest())
    monkeypatch.setitem(tiktoken.registry.ENCODINGS, "o200k_base", own)
    assert offline_encoding() is own


def test_the_usual_place_is_looked_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TIKTOKEN_CACHE_DIR", raising=False)
    monkeypatch.delenv("DATA_GYM_CACHE_DIR", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert tiktokens._cache() == tmp_path / "data-gym-cache"
    monkeypatch.setenv("DATA_GYM_CACHE_DIR", "/elsewhere")
    assert tiktokens._cache() == Path("/elsewhere")


def test_only_known_vocabularies_are_looked_for() -> None:
    with pytest.raises(KeyError):
        offline_encoding("gpt2")
