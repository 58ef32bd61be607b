"""What must be true of every key in a Redis of ours, whatever was done: spelling, sums, order, lifetimes."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

from gateway.store.pipeline import Link

_KEY = re.compile(
    r"(?P<root>qg1:\{(?:0[0-9][0-9]|1[01][0-9]|12[0-7])\}:)"
    r"(?:(?P<whole>meta|journal)|(?P<epoch>[0-9]+):(?:(?P<due>due)|"
    r"(?P<kind>acct|holds|hold|seen):(?P<path>(?:[A-Za-z0-9_.~-]|%[0-9A-F]{2})+:.*)))"
)
_PART = re.compile(r"(?:[A-Za-z0-9_.~:-]|%[0-9A-F]{2})+")
_TYPES = {
    "meta": "hash",
    "journal": "stream",
    "due": "zset",
    "acct": "hash",
    "holds": "zset",
    "hold": "hash",
    "seen": "string",
}
_FIELDS = {
    "meta": {"epoch", "posted", "last_ms", "schema", "mark", "ledger", "closed", "closing"},
    "acct": {"balance", "reserved", "seq", "next_ms", "absent", "mended", "period", "limits"},
    "hold": {"terms", "body", "status", "settled_ms", "late", "consumed", "uncounted"},
}
_STATUSES = {"committed", "released", "expired", "absent"}
_DAY = re.compile(r"(?:open|close):[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NUMBER = re.compile(r"0|-?[1-9][0-9]*")

# Root with epoch, then kind, then path, to content and TTL (ms, -1 for none).
State = dict[str, dict[str, dict[str, tuple[Any, int]]]]


async def check_shape(link: Link) -> None:
    """Look at every key of the server and fail at the first that is not as documented."""
    for kinds in (await _read(link)).values():
        _check_accounts(kinds)
        _check_holds(kinds)
        _check_due(kinds)
        for path, (_, ttl_ms) in kinds["seen"].items():
            assert ttl_ms > 0, f"the answer for {path} is remembered for ever"


async def _read(link: Link) -> State:
    found: State = defaultdict(lambda: defaultdict(dict))
    for key in await link.call("KEYS", "*"):
        match = _KEY.fullmatch(key)
        assert match, f"no documented key: {key!r}"
        kind = match["whole"] or match["due"] or match["kind"]
        assert await link.call("TYPE", key) == _TYPES[kind], key
        content = await _content(link, key, kind)
        ttl_ms = await link.call("PTTL", key)
        if match["whole"]:
            assert ttl_ms == -1, f"{key} would fade"
            continue
        path = match["path"] or ""
        assert not path or _PART.fullmatch(path), f"an unencoded name in {key!r}"
        found[match["root"] + match["epoch"]][kind][path] = content, ttl_ms
    return found


async def _content(link: Link, key: str, kind: str) -> Any:
    if _TYPES[kind] == "hash":
        words = await link.call("HGETALL", key)
        fields = dict(zip(words[::2], words[1::2], strict=True))
        days = {name for name in fields if _DAY.fullmatch(name)} if kind == "acct" else set()
        assert set(fields) - days <= _FIELDS[kind], f"undocumented fields in {key}: {fields}"
        return fields
    if _TYPES[kind] == "zset":
        words = await link.call("ZRANGE", key, 0, -1, "WITHSCORES")
        return {member: int(float(score)) for member, score in zip(words[::2], words[1::2], strict=True)}
    return None


def _check_accounts(kinds: dict[str, dict[str, tuple[Any, int]]]) -> None:
    for path, (fields, ttl_ms) in kinds["acct"].items():
        assert _NUMBER.fullmatch(fields["balance"]), (path, fields)
        assert _NUMBER.fullmatch(fields["reserved"]), (path, fields)
        assert max(abs(int(fields["balance"])), int(fields["reserved"])) < 2**53, (path, fields)
        assert ("absent" in fields) == (ttl_ms > 0), f"{path} fades, or will never: {fields} {ttl_ms}"
        namespace, _, account = path.partition(":")
        held = 0
        for hold_id in _open_of(kinds, path):
            legs = _terms(kinds["hold"][f"{namespace}:{hold_id}"][0])[1]
            held += sum(amount for name, amount in legs if name == account)
        assert int(fields["reserved"]) == held, f"{path} has {fields['reserved']} reserved, its holds {held}"


def _check_holds(kinds: dict[str, dict[str, tuple[Any, int]]]) -> None:
    for path, (fields, ttl_ms) in kinds["hold"].items():
        namespace, _, hold_id = path.partition(":")
        assert fields.get("status", "expired") in _STATUSES, (path, fields)
        if fields.get("status") == "absent":
            assert ttl_ms > 0, f"an unknown hold is remembered for ever: {path}"
            continue
        expires_ms, legs = _terms(fields)
        for account, _ in legs:
            owner = f"{namespace}:{account}"
            listed = kinds["holds"].get(owner, ({}, -1))[0]
            if "status" in fields:
                assert hold_id not in listed, f"{path} is {fields['status']} and still listed on {owner}"
            elif owner in kinds["acct"]:
                assert listed.get(hold_id) == expires_ms, (
                    f"{path} is open and not listed on {owner}: {listed}"
                )
        if "status" not in fields:
            assert ttl_ms == -1, f"the open hold {path} would fade"
        elif fields["status"] == "committed":
            assert len(fields["consumed"].split(" ")) == len(legs), (path, fields)


def _check_due(kinds: dict[str, dict[str, tuple[Any, int]]]) -> None:
    due = kinds["due"].get("", ({}, -1))[0]
    for path in due:
        assert path in kinds["acct"], f"{path} is due and not in Redis"
    for path, (fields, _) in kinds["acct"].items():
        assert due.get(path) == (int(fields["next_ms"]) if "next_ms" in fields else None), (path, fields, due)
    for path, (listed, ttl_ms) in kinds["holds"].items():
        assert ttl_ms == -1, f"the holds of {path} would fade"
        assert path in kinds["acct"], f"{path} has holds and is not in Redis"
        assert path in due, f"{path} has open holds and no place in due"
        assert due[path] <= min(listed.values()), f"{path} is due after its first hold expires"


def _open_of(kinds: dict[str, dict[str, tuple[Any, int]]], path: str) -> list[str]:
    return list(kinds["holds"].get(path, ({}, -1))[0])


def _terms(fields: dict[str, str]) -> tuple[int, list[tuple[str, int]]]:
    expires_ms, _, *legs = fields["terms"].split(" ")
    return int(expires_ms), [(name, int(amount)) for name, amount in zip(legs[::2], legs[1::2], strict=True)]
