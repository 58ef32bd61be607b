"""Counts tokens with tiktoken, where its vocabulary is on this machine already. Nothing is ever fetched."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import tiktoken

from gateway.llm.tallies import TokenizerTally

_VOCABULARIES = "https://openaipublic.blob.core.windows.net/encodings/"
# The hashes that tiktoken itself asks for: any other content it throws away, and fetches the file anew.
_SHA256 = {
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
}


def offline_encoding(name: str = "o200k_base") -> tiktoken.Encoding | None:
    """Give an encoding whose vocabulary lies in tiktoken's cache (``TIKTOKEN_CACHE_DIR``); else None.

    Reads that file: call it once, at the start. Raises KeyError for a name but o200k_base and cl100k_base.
    """
    expected = _SHA256[name]
    path = (
        _cache() / hashlib.sha1(f"{_VOCABULARIES}{name}.tiktoken".encode(), usedforsecurity=False).hexdigest()
    )
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != expected:
        return None
    return tiktoken.get_encoding(name)


def tiktoken_tally(encoding: tiktoken.Encoding) -> TokenizerTally:
    """Give a tally that counts with an encoding; what looks like a special token is counted as text."""
    return TokenizerTally(encoding.encode_ordinary)


def _cache() -> Path:
    own = os.environ.get("TIKTOKEN_CACHE_DIR") or os.environ.get("DATA_GYM_CACHE_DIR")
    return Path(own) if own else Path(tempfile.gettempdir()) / "data-gym-cache"
