"""What a change of one word in the scripts could spoil unseen: bodies, bounds, fields and times."""

from __future__ import annotations

import pytest
from desk import A, B, Desk

from gateway.store.errors import RefusedError
from gateway.store.keys import SCHEMA

BODY = '{"reason":"why"}'
LARGEST = 2**53 - 1


async def last_body(desk: Desk) -> bytes:
    return (await desk.entries())[-1].body


async def test_every_verb_writes_its_callers_body(held: Desk) -> None:
    await held.allocate(A, 5, body=BODY)
    assert await last_body(held) == BODY.encode()
    await held.adjust(A, -5, body=BODY)
    assert await last_body(held) == BODY.encode()
    await held.consume(A, 5, body=BODY)
    assert await last_body(held) == BODY.encode()
    await held.extend("h", 90_000, 1, 1, body=BODY)
    assert await last_body(held) == BODY.encode()
    await held.release("h", body=BODY)
    assert await last_body(held) == BODY.encode()
    await held.reserve("g", [(A, 1)], body=BODY)
    assert await last_body(held) == BODY.encode()
    await held.commit("g", 1, body=BODY)
    assert await last_body(held) == BODY.encode()


async def test_no_body_is_written_where_there_is_none(held: Desk) -> None:
    await held.extend("h", 90_000, 1, 1)
    await held.release("h")
    rows = await held.link.call("XRANGE", held.keys.journal, "-", "+")
    assert [fields[::2] for _, fields in rows] == [["head"]] * 3
    await held.allocate(A, 5, key="k")
    ((_, fields),) = await held.link.call("XREVRANGE", held.keys.journal, "+", "-", "COUNT", 1)
    assert fields[::2] == ["head", "key"]
    await held.reserve("g", [(A, 1)])
    assert await held.link.call("HGET", held.hold_key("g"), "body") is None


@pytest.mark.parametrize(("actual", "amount"), [(0, 0), (1, -1), (2, -2)])
async def test_a_charge_is_negative_and_nothing_is_nothing(held: Desk, actual: int, amount: int) -> None:
    reply = await held.commit("h", actual, 0)
    assert reply[3].split(" ")[7] == str(amount)
    assert (await held.entries())[-1].legs[0].amount == amount


async def test_an_open_hold_shows_nothing_of_a_settlement(held: Desk) -> None:
    shown = await held.look("h")
    assert (shown[3], *shown[5:]) == ("active", "", "0", "", "")


async def test_audits_name_the_namespace_and_move_the_clock(held: Desk) -> None:
    later = held.now + 5000
    assert (await held.audit(A, at=later))[0] == "DONE"
    assert (await held.balance(A))[4] == str(later)
    assert [entry.namespace for entry in await held.entries()] == ["acme"] * 2
    args = (later + 5000, held.ns, A, "h")
    assert (await held.run("audit_holds", [held.keys.due], *args))[0] == "DONE"
    assert (await held.balance(A))[4] == str(later + 5000)
    rows = await held.link.call("XREVRANGE", held.keys.journal, "+", "-", "COUNT", 1)
    assert rows[0][1][1] == f"audit {later + 5000} acme - 0 0"


async def test_an_audit_of_holds_takes_names_in_pairs(held: Desk) -> None:
    # An id that is an account's name is no account.
    reply = await held.run("audit_holds", [held.keys.due], held.now, held.ns, A, B, B, A)
    assert reply[4] == f"{A} {B} 0 - {B} {A} 0 -"


async def test_a_settled_hold_fades_after_the_time_that_was_asked_for(held: Desk) -> None:
    await held.release("h")
    await held.posted(1, "h", keep_ms=77_000)
    assert 70_000 < await held.link.call("PTTL", held.hold_key("h")) <= 77_000


async def test_the_watermark_stays_where_it_is_told_again(held: Desk) -> None:
    await held.release("h")
    assert await held.posted(1) == ["POSTED", "1"]
    assert await held.posted(1) == ["POSTED", "1"]
    assert await held.posted(0) == ["POSTED", "1"]


async def test_what_is_posted_leaves_the_journal_and_no_more(held: Desk) -> None:
    for _ in range(400):  # a server trims whole nodes of a hundred
        await held.consume(A, 0)
    await held.posted(300)
    first = (await held.entries())[0].position.seq
    assert 200 <= first <= 301
    await held.posted(400)
    assert (await held.entries() or [None])[0] is None or (await held.entries())[0].position.seq > 300


async def test_an_unknown_hold_is_remembered_without_terms(desk: Desk) -> None:
    assert await desk.recall("none", "absent") == ["INSTALLED", "-1"]
    fields = await desk.link.call("HGETALL", desk.hold_key("none"))
    assert fields == ["status", "absent"]


async def test_a_settled_hold_is_remembered_with_all_its_fields(desk: Desk) -> None:
    terms = f"{desk.now} {desk.now} {A} 5"
    await desk.recall("old", "committed", terms, desk.now, 1, "4", BODY)
    shown = await desk.look("old")
    assert shown[3:] == ["committed", terms, str(desk.now), "1", "4", BODY]


class TestOpening:
    """The script open, with and without the ledger's name and the mark of a closing."""

    @staticmethod
    async def opened(desk: Desk, epoch: int, *more: str) -> list[str]:
        text = desk.scripts["open"].text
        keys = desk.keys
        return list(await desk.link.call("EVAL", text, 2, keys.meta, keys.journal, epoch, 3, SCHEMA, *more))

    async def meta(self, desk: Desk) -> dict[str, str]:
        words = await desk.link.call("HGETALL", desk.keys.meta)
        return dict(zip(words[::2], words[1::2], strict=True))

    async def close(self, desk: Desk, mark: str) -> None:
        await desk.link.call("EVAL", desk.scripts["close"].text, 1, desk.keys.meta, mark)

    async def test_a_shard_that_was_never_open(self, desk: Desk) -> None:
        await desk.link.call("DEL", desk.keys.meta)
        assert await self.opened(desk, 4) == ["OPEN"]
        assert await self.meta(desk) == {"epoch": "4", "posted": "3", "schema": SCHEMA, "last_ms": "0"}

    async def test_the_closing_of_its_mark_is_needed_and_forgotten(self, desk: Desk) -> None:
        await self.close(desk, "m")
        with pytest.raises(RefusedError, match="ELSEWHERE"):
            await self.opened(desk, 2, "ledger", "other")
        assert "epoch" not in await self.meta(desk)
        assert await self.opened(desk, 2, "ledger", "m") == ["OPEN"]
        meta = await self.meta(desk)
        assert (meta["ledger"], meta["epoch"], meta["posted"]) == ("ledger", "2", "3")
        assert not {"closed", "closing"} & set(meta)

    async def test_the_name_of_its_ledger_is_kept_without_a_mark(self, desk: Desk) -> None:
        assert await self.opened(desk, 2, "ledger") == ["OPEN"]
        assert (await self.meta(desk))["ledger"] == "ledger"
        assert await self.opened(desk, 2) == ["OPEN"]
        with pytest.raises(RefusedError, match="FOREIGN the shard belongs to ledger ledger"):
            await self.opened(desk, 2, "stranger")

    async def test_an_epoch_that_goes_on_keeps_its_watermark(self, desk: Desk) -> None:
        await self.close(desk, "m")
        assert await self.opened(desk, 1, "ledger", "m") == ["OPEN"]
        assert (await self.meta(desk))["posted"] == "-1"


async def test_the_time_of_a_hold_is_told_when_something_is_denied(held: Desk) -> None:
    reply = await held.reserve("more", [(A, LARGEST)])
    assert reply == ["DENIED", "-1", "1", A, "100", "10", "", str(LARGEST), "", "balance", ""]
    reply = await held.reserve("more", [(A, 100)])
    assert reply[8:] == ["60000", "balance", ""]
