"""Names with every nasty character: they survive keys, journal and replies, and forge nothing."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from desk import START_MS, Desk
from msgspec.structs import replace

from gateway.domain.names import account_text, parse_account
from gateway.store.replies import read_done, read_entry, read_hold

NASTY = (
    "a:b:c:d",
    "100%25%",
    "{042}",
    "qg1:{001}:meta",
    "two  spaces inside",
    "quote\"s'and\\slashes/",
    "*?[a-z]*",
    "-",
    "'; DROP TABLE",
    "ünï çødé ☃ 🦀",
    "\u00a0\u200b\u202e",
    "漢字" * 600,
    "%s%d%.0f",
    "a\u2003b",
    "0",
    "nan",
    "x" * 4096,
)


@pytest.mark.parametrize("name", NASTY, ids=range(len(NASTY)))
async def test_a_name_survives_a_whole_life(desk: Desk, name: str) -> None:
    desk = Desk(desk.link, desk.scripts, name[:1024])
    await desk.open()
    account, other = (
        account_text(name, name[:256], name[:64], name),
        account_text(None, name[:256], "t", None),
    )
    assert parse_account(account) == (name, name[:256], name[:64], name)
    await desk.known(account, other, balance=100)
    body = '{"metadata":{"ü":"\\u0022 ☃ 🦀"}}'
    key = quote(name, safe="")
    done = read_done(await desk.reserve("h", [(account, 5), (other, 6)], 1000, body=body, key=key), b"")
    assert done.entry.namespace == name[:1024]
    assert [leg.account for leg in done.entry.legs] == [account, other]
    assert read_hold(name[:1024], "h", await desk.look("h"))[0].body == body.encode()
    told = (await desk.entries())[0]
    assert replace(told, keyed=None) == replace(done.entry, body=body.encode())
    assert told.keyed is not None
    assert told.keyed[:2] == (name, "first")
    assert read_entry(f"1-{told.position.seq}", told.keyed.answer, b"") == done.entry
    assert read_done(await desk.commit("h", 5, 0), b"").entry.legs[0].balance == 95
    await desk.reserve("g", [(account, 5), (other, 6)], 1000)
    assert await desk.sweep(desk.ns, at=START_MS + 1000) == ["SWEPT", "-1", "1", "0"]
    assert (await desk.audit(account, other))[0] == "DONE"
    assert await desk.standing(account) == (95, 0)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (("a:b", "c"), ("a", "b:c")),
        (("a", ""), ("", "a")),
        (("a%3Ab", "c"), ("a:b", "c")),
        (("%", "25"), ("%25", "")),
    ],
)
async def test_no_two_names_share_an_account(desk: Desk, one: tuple[str, str], two: tuple[str, str]) -> None:
    first, second = (account_text(user or None, "e", "t", resource) for user, resource in (one, two))
    await desk.known(first, second)
    await desk.allocate(first, 1)
    assert (await desk.standing(first), await desk.standing(second)) == ((1, 0), (0, 0))


async def test_a_body_of_sixteen_kilobytes_travels_whole(desk: Desk) -> None:
    await desk.known("a:b:c:", balance=10)
    body = '{"metadata":{"x":"' + "☃" * 5400 + '"}}'
    await desk.reserve("h", [("a:b:c:", 1)], body=body.encode())
    await desk.commit("h", 1, body=body.encode())
    assert [entry.body for entry in await desk.entries()] == [body.encode()] * 2
    assert read_hold("acme", "h", await desk.look("h"))[0].body == body.encode()
