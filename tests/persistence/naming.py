"""Names of any length for the ledger's tests, the longest that callers may send among them."""

from __future__ import annotations

from random import Random

from gateway.domain.names import (
    EVENT_TYPE_MAX_CHARS,
    NAMESPACE_MAX_CHARS,
    RESOURCE_MAX_BYTES,
    UNIT_MAX_CHARS,
    USER_ID_MAX_BYTES,
    account_errors,
    account_text,
    namespace_error,
    parse_account,
)
from persistence.names import NAMESPACE_MAX_BYTES, PART_MAX_CHARS, account_key, namespace_key

# One, two, three and four bytes a character; percent-encoding makes each byte three, but for the first.
ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_",
    "!%:;/\\'\"{}$ ~",
    "éßжλ\u00a0",
    "漢字☃\ufffe",
    "😀🧮\U0001d538\U0010fffe",
    "a:é漢😀%!",
)


def random_name(seed: int, letters: str, size: int, *, max_chars: int = 0, max_bytes: int = 0) -> str:
    """Give a name of ``size`` characters, or of as many as its limits let it have; the same for a seed."""
    text = "x" + "".join(Random(seed).choices(letters, k=size - 1))
    if max_chars:
        text = text[:max_chars]
    if max_bytes:
        text = text.encode()[:max_bytes].decode(errors="ignore")
    return text.rstrip(" ")


def longest(seed: int = 0, letters: str = ALPHABETS[4]) -> tuple[str, str]:
    """Give a namespace and an account, each part as long as a caller may send it."""
    account = account_text(
        random_name(seed, letters, USER_ID_MAX_BYTES, max_bytes=USER_ID_MAX_BYTES),
        random_name(seed + 1, letters, EVENT_TYPE_MAX_CHARS),
        random_name(seed + 2, letters, UNIT_MAX_CHARS),
        random_name(seed + 3, letters, RESOURCE_MAX_BYTES, max_bytes=RESOURCE_MAX_BYTES),
    )
    namespace = random_name(seed + 4, letters, NAMESPACE_MAX_CHARS)
    assert account_errors(*parse_account(account)) == []
    assert namespace_error(namespace) is None
    return namespace, account


def longest_kept(seed: int = 0) -> tuple[str, str]:
    """Give a namespace and an account, each part as long as it may be to stand as it is."""
    parts = [random_name(seed + place, ALPHABETS[0], PART_MAX_CHARS) for place in range(4)]
    namespace = random_name(seed + 4, ALPHABETS[4], NAMESPACE_MAX_BYTES, max_bytes=NAMESPACE_MAX_BYTES - 8)
    namespace += "x" * (NAMESPACE_MAX_BYTES - len(namespace.encode()))
    account = account_text(*parts)
    assert (namespace_key(namespace), account_key(account)) == (namespace, account)
    return namespace, account
