"""Turns at the inbox: in order, one at a time, given back by an error; old answers are forgotten."""

from __future__ import annotations

import asyncio

import pytest
from scribe import Ask, namespace_in

from gateway.domain.names import shard_of
from gateway.seams.operations import DONE, FAILED, REFUSED, Outcome
from persistence.answers import Answers
from persistence.database import Database
from persistence.inbox import LedgerInbox

FIRST, SECOND = namespace_in(3), namespace_in(90)


@pytest.fixture
def inbox(database: Database) -> LedgerInbox:
    return LedgerInbox(database)


async def allocate(ask: Ask, namespace: str, amount: int, key: str | None = None) -> str:
    ((identifier,),) = await ask(
        "SELECT meter.allocate('alice', 'llm_call', %s, 'tokens', p_idempotency_key => %s, "
        "p_namespace => %s)::text",
        amount,
        key,
        namespace,
    )
    return str(identifier)


async def test_an_inbox_is_had_by_one_turn_at_a_time(inbox: LedgerInbox, ask: Ask) -> None:
    first = [await allocate(ask, FIRST, amount) for amount in (1, 2)]
    async with inbox.turn([]) as turn:
        assert [operation.operation_id for operation in turn.operations] == first
        second = await allocate(ask, SECOND, 3)
        await allocate(ask, FIRST, 4)
        async with inbox.turn([]) as other:
            assert [operation.operation_id for operation in other.operations] == [second]
            async with inbox.turn([]) as third:
                assert third.operations == ()
    async with inbox.turn([shard_of(FIRST)]) as turn:
        assert [operation.namespace for operation in turn.operations] == [SECOND]


async def test_what_was_answered_is_done_and_counted(inbox: LedgerInbox, ask: Ask) -> None:
    done, refused, failed, left = [await allocate(ask, FIRST, amount) for amount in (1, 2, 3, 4)]
    async with inbox.turn([]) as turn:
        await turn.answer(
            [
                Outcome(done, DONE, b'{"balance": 1.50}'),
                Outcome(refused, REFUSED, b'{"success": false}'),
                Outcome(failed, FAILED, b'{"code": "VAL_X"}', "VAL_X"),
            ]
        )
    found = await ask("SELECT status, answer::text, error_code FROM meter.operations ORDER BY number")
    assert found == [
        ("done", '{"balance": 1.50}', None),
        ("refused", '{"success": false}', None),
        ("failed", '{"code": "VAL_X"}', "VAL_X"),
        ("pending", None, None),
    ]
    state = await inbox.state()
    assert (state.pending, state.answered) == (1, {"done": 1, "refused": 1, "failed": 1})
    assert state.oldest_s > 0
    async with inbox.turn([]) as turn:
        assert [operation.operation_id for operation in turn.operations] == [left]


async def break_off(inbox: LedgerInbox, identifier: str) -> None:
    async with inbox.turn([]) as turn:
        await turn.answer([Outcome(identifier, DONE, b"{}")])
        raise RuntimeError


async def test_an_error_gives_a_turn_back(inbox: LedgerInbox, ask: Ask) -> None:
    identifier = await allocate(ask, FIRST, 1)
    with pytest.raises(RuntimeError):
        await break_off(inbox, identifier)
    async with inbox.turn([]) as turn:
        assert [operation.operation_id for operation in turn.operations] == [identifier]
    assert (await inbox.state()).answered == {"done": 0, "refused": 0, "failed": 0}


@pytest.mark.parametrize("actor", ['{"role": "root"}', '{"actor_id": 7}', "[]", '"bob"'])
async def test_a_row_that_somebody_wrote_by_hand_is_in_nobodys_way(
    inbox: LedgerInbox, ask: Ask, actor: str
) -> None:
    await ask(
        "INSERT INTO meter.operations (namespace, full_namespace, verb, arguments, actor, key) "
        "VALUES (%s, %s, 'allocate', '{}', %s, 'by hand')",
        FIRST,
        SECOND,
        actor,
    )
    behind = await allocate(ask, SECOND, 1)
    async with inbox.turn([]) as turn:
        by_hand, next_one = turn.operations
    # It is of the namespace by which its row is protected, whatever else it says.
    assert (by_hand.namespace, by_hand.actor) == (FIRST, None)
    assert next_one.operation_id == behind


async def test_a_transaction_that_commits_rings(inbox: LedgerInbox, ask: Ask) -> None:
    async with inbox.listening() as heard:
        waiting = asyncio.create_task(heard(30.0))
        await ask("BEGIN")
        await allocate(ask, FIRST, 1)
        assert not (await asyncio.wait([waiting], timeout=0.05))[0]
        await ask("COMMIT")
        async with asyncio.timeout(10):
            await waiting


async def test_old_answers_are_forgotten_and_nothing_that_waits(inbox: LedgerInbox, ask: Ask) -> None:
    old, _new, _waiting = [await allocate(ask, FIRST, amount) for amount in (1, 2, 3)]
    async with inbox.turn([]) as turn:
        await turn.answer([Outcome(one.operation_id, DONE, b"{}") for one in turn.operations[:2]])
    await ask("UPDATE meter.operations SET recorded_at = now() - interval '99 days'")
    await ask("UPDATE meter.operations SET answered_at = now() - interval '31 days' WHERE id = %s", old)
    assert await inbox.forget(30, 100) == 1
    assert await inbox.forget(30, 100) == 0
    assert await ask("SELECT status FROM meter.operations ORDER BY number") == [("done",), ("pending",)]


async def test_the_key_of_an_operation_that_waits_is_not_forgotten(
    inbox: LedgerInbox, database: Database, ask: Ask
) -> None:
    own = await allocate(ask, FIRST, 1)
    await allocate(ask, FIRST, 2, key="named")
    keys = [f"sql:{own}", "named", "another"]
    await ask("UPDATE meter.operations SET recorded_at = now() - interval '41 days'")
    for seq, key in enumerate(keys):
        await ask(
            "INSERT INTO meter.first_answers VALUES (%s, %s, 'f', 1, %s, now() - interval '40 days', 'a')",
            FIRST,
            key,
            seq,
        )
    answers = Answers(database)
    assert await answers.forget(30, 100) == 1
    assert await ask("SELECT key FROM meter.first_answers ORDER BY seq") == [(keys[0],), ("named",)]
    async with inbox.turn([]) as turn:
        await turn.answer([Outcome(one.operation_id, DONE, b"{}") for one in turn.operations])
    assert await answers.forget(30, 100) == 2
