"""What each statement of persistence/sql does to the simulated tables. That both mean the same is not shown.

The tests on real servers show that the SQL is right; this is its meaning in Python, for the steps around it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from gateway.domain.entries import Position
from persistence.statements import statement

from .tables import (
    ACCOUNTS,
    ANSWERS,
    DUPLICATES,
    FIRST,
    GATEWAYS,
    HOLDS,
    LEFT,
    LOSSES,
    QUARANTINE,
    SALVAGED,
    SHARDS,
    Case,
    Salvaged,
    Transaction,
)

LEDGER_ID = "00000000-0000-0000-0000-000000000001"

Values = Mapping[str, Any]
Rows = Sequence[tuple[Any, ...]]
Meaning = Callable[[Transaction, Values, float], Awaitable[Rows | int | None]]

_MEANINGS: dict[bytes, Meaning] = {}


def meaning_of(query: bytes | str) -> Meaning:
    """Give what a statement does. Raises KeyError for one that no simulation has met yet."""
    text = query.encode() if isinstance(query, str) else query
    if text in _MEANINGS:
        return _MEANINGS[text]
    if text.startswith(b"SELECT pg_notify"):
        return _notify
    if text.startswith(b"SELECT ledger_id"):
        return _identity
    if text.startswith(b"SELECT NOT row_security_active"):
        return _may_copy
    if text.startswith((b"SET LOCAL", b"TRUNCATE")):
        return _nothing
    raise KeyError(f"no meaning is known of {text!r}")


def _means(name: str) -> Callable[[Meaning], Meaning]:
    def remember(meaning: Meaning) -> Meaning:
        _MEANINGS[statement(name)] = meaning
        return meaning

    return remember


@_means("create_staging")
@_means("clear_staging")
async def _nothing(_at: Transaction, _values: Values, _now_s: float) -> None:
    return None


async def _identity(_at: Transaction, _values: Values, _now_s: float) -> Rows:
    return [(LEDGER_ID,)]


async def _may_copy(_at: Transaction, _values: Values, _now_s: float) -> Rows:
    return [(True,)]


async def _notify(at: Transaction, _values: Values, _now_s: float) -> None:
    at.notify()


# Shards.


@_means("shard_rows")
async def _shard_rows(at: Transaction, _values: Values, _now_s: float) -> Rows:
    late = {
        place[0]
        for place, row in at.rows(SALVAGED)
        if row.booked is None and place[1] < at.get(SHARDS, place[0]).mark.epoch
    }
    return [
        (
            shard,
            *row.mark,
            row.state,
            row.fence,
            row.run_id,
            row.closed_ms,
            row.reason,
            shard in late,
        )
        for shard, row in at.rows(SHARDS)
    ]


@_means("close_shards")
async def _close(at: Transaction, values: Values, now_s: float) -> Rows:
    await at.lock(values["shards"])
    closed = []
    for shard in values["shards"]:
        row = at.get(SHARDS, shard)
        since = int(now_s * 1000) if row.closed_ms is None else row.closed_ms
        at.put(SHARDS, shard, row._replace(state="closing", closed_ms=since, fence=row.fence + 1))
        closed.append((shard, row.fence + 1))
    return closed


@_means("open_shards")
async def _open(at: Transaction, values: Values, _now_s: float) -> int:
    ours = await _ours(at, values)
    for shard in ours:
        row = at.get(SHARDS, shard)
        at.put(
            SHARDS, shard, row._replace(state="open", closed_ms=None, reason=None, run_id=values["run_id"])
        )
    return len(ours)


@_means("block_shards")
async def _block(at: Transaction, values: Values, _now_s: float) -> None:
    for shard in await _ours(at, {"shards": [values["shard"]], "fences": [values["fence"]]}):
        at.put(SHARDS, shard, at.get(SHARDS, shard)._replace(reason=values["reason"]))


@_means("lock_shards")
async def _lock(at: Transaction, values: Values, _now_s: float) -> Rows:
    free = at.lock_free(values["shards"])
    return [(shard, *at.get(SHARDS, shard).mark, at.get(SHARDS, shard).fence) for shard in free]


@_means("lock_closing")
async def _lock_closing(at: Transaction, values: Values, _now_s: float) -> Rows:
    return [(shard, *at.get(SHARDS, shard).mark) for shard in await _ours(at, values)]


@_means("share_shards")
async def _share(at: Transaction, values: Values, _now_s: float) -> Rows:
    await at.lock(values["shards"])
    rows = [(shard, at.get(SHARDS, shard)) for shard in values["shards"]]
    return [(shard, row.mark.epoch, row.state, row.fence) for shard, row in rows]


@_means("advance_shards")
async def _advance(at: Transaction, values: Values, _now_s: float) -> None:
    for shard, seq in zip(values["shards"], values["seqs"], strict=True):
        row = at.get(SHARDS, shard)
        at.put(SHARDS, shard, row._replace(mark=Position(row.mark.epoch, seq), stop_reason=None))


@_means("leave_epochs")
async def _leave(at: Transaction, values: Values, now_s: float) -> None:
    columns = (values[name] for name in ("shards", "epochs", "seqs", "next_epochs"))
    for shard, epoch, seq, following in zip(*columns, strict=True):
        at.put(LEFT, (shard, epoch), seq)
        row = at.get(SHARDS, shard)
        at.put(SHARDS, shard, row._replace(mark=Position(following, -1), opened_s=now_s))


@_means("stop_shard")
async def _stop(at: Transaction, values: Values, _now_s: float) -> None:
    for shard in at.lock_free([values["shard"]]):
        at.put(SHARDS, shard, at.get(SHARDS, shard)._replace(stop_reason=values["reason"]))


@_means("resume_shard")
async def _resume(at: Transaction, values: Values, _now_s: float) -> None:
    await at.lock([values["shard"]])
    at.put(SHARDS, values["shard"], at.get(SHARDS, values["shard"])._replace(stop_reason=None))


@_means("ledger_faults")
async def _faults(at: Transaction, _values: Values, now_s: float) -> Rows:
    stopped = [(shard, now_s, row.stop_reason, 0) for shard, row in at.rows(SHARDS) if row.stop_reason]
    return stopped or [(None, None, None, 0)]


async def _ours(at: Transaction, values: Values) -> list[int]:
    """Lock the shards, and give those whose closing is still the caller's."""
    await at.lock(values["shards"])
    pairs = zip(values["shards"], values["fences"], strict=True)
    return [shard for shard, fence in pairs if at.get(SHARDS, shard).fence == fence]


# Gateways and what they kept.


@_means("renew_lease")
async def _renew(at: Transaction, values: Values, now_s: float) -> None:
    at.put(GATEWAYS, values["gateway_id"], now_s + values["lease_s"])


@_means("end_lease")
async def _end_lease(at: Transaction, values: Values, _now_s: float) -> None:
    at.drop(GATEWAYS, values["gateway_id"])
    for place, _ in list(at.rows(ANSWERS)):
        if place[1] == values["gateway_id"]:
            at.drop(ANSWERS, place)


@_means("silent_gateways")
async def _silent(at: Transaction, values: Values, now_s: float) -> Rows:
    asked = list(zip(values["shards"], values["fences"], strict=True))
    silent = [
        gateway
        for gateway, until_s in at.rows(GATEWAYS)
        if until_s > now_s
        and any((at.get(ANSWERS, (shard, gateway)) or (-1,))[0] < fence for shard, fence in asked)
    ]
    return [(len(silent),)]


@_means("unheard_shards")
async def _unheard(at: Transaction, values: Values, _now_s: float) -> Rows:
    asked = zip(values["shards"], values["fences"], strict=True)
    return [
        (shard,)
        for shard, fence in asked
        if any(
            until_s > at.get(SHARDS, shard).opened_s
            and (at.get(ANSWERS, (shard, gateway)) or (-1,))[0] < fence
            for gateway, until_s in at.rows(GATEWAYS)
        )
    ]


@_means("answer_closings")
async def _answer(at: Transaction, values: Values, _now_s: float) -> None:
    columns = (values[name] for name in ("shards", "fences", "epochs", "seqs"))
    for shard, *answer in zip(*columns, strict=True):
        at.put(ANSWERS, (shard, values["gateway_id"]), tuple(answer))


@_means("acknowledged")
async def _acknowledged(at: Transaction, values: Values, _now_s: float) -> Rows:
    known = [(shard, epoch, seq) for (shard, _), (_, epoch, seq) in at.rows(ANSWERS)]
    known += [place for place, row in at.rows(SALVAGED) if row.booked is None]
    told: dict[int, int] = {}
    for shard, epoch, seq in known:
        if shard in values["shards"] and epoch == at.get(SHARDS, shard).mark.epoch:
            told[shard] = max(seq, told.get(shard, seq))
    return list(told.items())


@_means("offer_salvage")
async def _offer(at: Transaction, values: Values, _now_s: float) -> int:
    columns = (values[name] for name in ("shards", "epochs", "seqs", "heads", "bodies", "keys"))
    taken = 0
    for shard, epoch, seq, head, body, key in zip(*columns, strict=True):
        last = at.get(LEFT, (shard, epoch))
        wanted = last is None or seq > last or _is_lost(at, (shard, epoch, seq))
        if wanted and at.get(SALVAGED, (shard, epoch, seq)) is None:
            at.put(SALVAGED, (shard, epoch, seq), Salvaged(head, body, key, None))
            taken += 1
    return taken


def _is_lost(at: Transaction, place: tuple[int, int, int]) -> bool:
    return _loss_of(at, place) is not None


def _loss_of(at: Transaction, place: tuple[int, int, int]) -> tuple[int, int, int] | None:
    shard, epoch, seq = place
    for key, (last, _) in at.rows(LOSSES):
        if key[:2] == (shard, epoch) and key[2] <= seq <= last:
            found: tuple[int, int, int] = key
            return found
    return None


@_means("waiting_salvage")
async def _waiting(at: Transaction, values: Values, _now_s: float) -> Rows:
    return sorted(
        (*place, row.head, row.body, row.key)
        for place, row in at.rows(SALVAGED)
        if place[0] in values["shards"] and row.booked is None
    )


@_means("book_salvage")
async def _book(at: Transaction, values: Values, _now_s: float) -> None:
    columns = (values[name] for name in ("shards", "epochs", "seqs", "booked_epochs", "booked_seqs"))
    for shard, epoch, seq, booked_epoch, booked_seq in zip(*columns, strict=True):
        row = at.get(SALVAGED, (shard, epoch, seq))
        if row is not None:
            at.put(SALVAGED, (shard, epoch, seq), row._replace(booked=Position(booked_epoch, booked_seq)))


@_means("drop_salvage")
async def _drop(at: Transaction, values: Values, _now_s: float) -> None:
    for shard in await _ours(at, values):
        epoch = at.get(SHARDS, shard).mark.epoch
        for place, row in list(at.rows(SALVAGED)):
            if place[:2] == (shard, epoch) and row.booked is None:
                at.drop(SALVAGED, place)


@_means("record_losses")
async def _lose(at: Transaction, values: Values, _now_s: float) -> None:
    columns = (values[name] for name in ("shards", "epochs", "firsts", "lasts"))
    for shard, epoch, first, last in zip(*columns, strict=True):
        if at.get(LOSSES, (shard, epoch, first)) is None:
            at.put(LOSSES, (shard, epoch, first), (last, 0))


@_means("recover_losses")
async def _recover(at: Transaction, values: Values, _now_s: float) -> None:
    for place in zip(values["shards"], values["epochs"], values["seqs"], strict=True):
        if (key := _loss_of(at, place)) is not None:
            last, recovered = at.get(LOSSES, key)
            at.put(LOSSES, key, (last, recovered + 1))


@_means("known_balances")
async def _balances(at: Transaction, values: Values, _now_s: float) -> Rows:
    wanted = zip(values["namespaces"], values["names"], strict=True)
    return [(*named, *at.get(ACCOUNTS, named)) for named in wanted if at.get(ACCOUNTS, named)]


@_means("known_holds")
async def _known_holds(at: Transaction, values: Values, _now_s: float) -> Rows:
    wanted = zip(values["namespaces"], values["names"], strict=True)
    holds = [hold for named in wanted if (hold := at.get(HOLDS, named)) is not None]
    return [
        (hold.namespace, hold.hold_id, hold.status, hold.expires_ms, leg.amount)
        for hold in holds
        for leg in hold.legs
    ]


@_means("find_lost_hold")
async def _lost_hold(_at: Transaction, _values: Values, _now_s: float) -> Rows:
    return []


@_means("quarantine_entry")
async def _quarantine(at: Transaction, values: Values, _now_s: float) -> Rows:
    place = values["shard"], values["epoch"], values["seq"]
    case, known = Case(values["head"], values["body"], values["booked"]), at.get(QUARANTINE, place)
    if known is not None and known[:2] != case[:2]:
        return []
    at.put(QUARANTINE, place, known or case)
    return [(values["shard"],)]


# Keys.


@_means("epoch_ages")
async def _ages(at: Transaction, _values: Values, now_s: float) -> Rows:
    return [(shard, row.mark.epoch, now_s - row.opened_s) for shard, row in at.rows(SHARDS)]


@_means("first_answers")
async def _first(at: Transaction, values: Values, _now_s: float) -> Rows:
    wanted = zip(values["namespaces"], values["names"], strict=True)
    found = [(named, first) for named in wanted if (first := at.get(FIRST, named)) is not None]
    return [(*named, first.fingerprint, *first.position, first.answer) for named, first in found]


@_means("pending_duplicates")
async def _pending(at: Transaction, values: Values, _now_s: float) -> Rows:
    last = values["after_namespace"], values["after_epoch"], values["after_seq"]
    rows = at.rows(DUPLICATES)
    found = sorted((place, row) for place, row in rows if row.state == "pending" and place > last)
    return [(*place[1:], *row.first, row.answer, 0, place[0]) for place, row in found[: values["limit"]]]


@_means("is_pending")
async def _is_pending(at: Transaction, values: Values, _now_s: float) -> Rows:
    row = at.get(DUPLICATES, (values["namespace"], values["epoch"], values["seq"]))
    return [()] if row is not None and row.state == "pending" else []


@_means("forget_answers")
async def _forget(_at: Transaction, _values: Values, _now_s: float) -> int:
    return 0
