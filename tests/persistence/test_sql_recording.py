"""Operations are recorded in the transaction of their caller; what may not be asked for is refused there."""

from __future__ import annotations

import msgspec
import psycopg
import pytest
from sql_callers import READS, VERBS, connected, make_plain_role, recorded, refusal, rows

from persistence.database import Database
from persistence.inbox import LedgerInbox

# Of objects and lists in turn, one deeper than may be.
DEEP = '{"a":[' * 16 + "{}" + "]}" * 16
REFUSED = [
    ("allocate('a', NULL, 1, 'tokens')", "VAL_EVENT_TYPE_NULL"),
    ("allocate('a', '  ', 1, 'tokens')", "VAL_EVENT_TYPE_EMPTY"),
    ("allocate('a', E'\\t', 1, 'tokens')", "VAL_EVENT_TYPE_INVALID_CHARS"),
    ("allocate('a', repeat('é', 257), 1, 'tokens')", "VAL_EVENT_TYPE_TOO_LONG"),
    ("allocate('a', U&'x\\0085', 1, 'tokens')", "VAL_EVENT_TYPE_INVALID_CHARS"),
    ("allocate('a', U&'x\\2029', 1, 'tokens')", "VAL_EVENT_TYPE_INVALID_CHARS"),
    ("allocate('a', 'x ', 1, 'tokens')", "VAL_EVENT_TYPE_WHITESPACE"),
    ("allocate('a', 'e', 1, NULL)", "VAL_UNIT_NULL"),
    ("allocate('a', 'e', 1, repeat('u', 65))", "VAL_UNIT_TOO_LONG"),
    ("allocate('a', 'e', 1, 'tokens', p_namespace => '')", "VAL_NAMESPACE_EMPTY"),
    ("allocate('a', 'e', 1, 'tokens', p_namespace => repeat('n', 1025))", "VAL_NAMESPACE_TOO_LONG"),
    ("allocate(NULL, NULL, NULL, 'tokens', p_namespace => ' n')", "VAL_NAMESPACE_WHITESPACE"),
    ("allocate('', 'e', 1, 'tokens')", "VAL_USER_ID_EMPTY"),
    ("allocate(repeat('é', 2049), 'e', 1, 'tokens')", "VAL_USER_ID_TOO_LONG"),
    ("allocate('a', 'e', 1, 'tokens', ' r')", "VAL_RESOURCE_WHITESPACE"),
    ("allocate('a', 'e', NULL, 'tokens')", "VAL_AMOUNT_NULL"),
    ("allocate('a', 'e', 0, 'tokens')", "VAL_NOT_POSITIVE"),
    ("consume('a', 'e', -1, 'tokens')", "VAL_NOT_POSITIVE"),
    ("reserve('a', 'e', 'NaN', 'tokens')", "VAL_NOT_FINITE"),
    ("reserve('a', 'e', '-Infinity', 'tokens')", "VAL_NOT_FINITE"),
    ("reserve('a', 'e', 1.5, 'tokens')", "VAL_TOO_PRECISE"),
    ("reserve('a', 'e', 0.0000001, 'usd')", "VAL_TOO_PRECISE"),
    ("allocate('a', 'e', 9007199254740992, 'tokens')", "VAL_OUT_OF_RANGE"),
    ("allocate('a', 'e', 9007199254.740992, 'usd')", "VAL_OUT_OF_RANGE"),
    ("adjust('a', 'e', -1e30, 'tokens')", "VAL_OUT_OF_RANGE"),
    ("adjust('a', 'e', 0.0, 'tokens')", "VAL_ADJUSTMENT_ZERO"),
    ("adjust('a', 'e', 1, 'tokens', p_reference_id => 0)", "VAL_REFERENCE_ID_INVALID"),
    ("reserve('a', 'e', 1, 'tokens', p_ttl_seconds => 0)", "VAL_TTL_OUT_OF_RANGE"),
    ("reserve('a', 'e', 1, 'tokens', p_ttl_seconds => 86401)", "VAL_TTL_OUT_OF_RANGE"),
    ("reserve('a', 'e', 1, 'tokens', p_ttl_seconds => NULL)", "VAL_TTL_OUT_OF_RANGE"),
    ("commit(NULL, 1)", "VAL_RESERVATION_ID_NULL"),
    ("commit('rsv_0_6b01865c4fa8066f590fd7a6', -1)", "VAL_AMOUNT_NEGATIVE"),
    ("commit('rsv_0_6b01865c4fa8066f590fd7a6', 0.5)", "VAL_TOO_PRECISE"),
    ("commit('rsv_0c_6b01865c4fa8066f590fd7a6', 0.5)", "VAL_TOO_PRECISE"),
    ("commit('rsv_6_6b01865c4fa8066f590fd7a6', NULL)", "VAL_ACTUAL_AMOUNT_NULL"),
    ("release(NULL)", "VAL_RESERVATION_ID_NULL"),
    ("allocate('a', 'e', 1, 'tokens', p_idempotency_key => '')", "VAL_IDEMPOTENCY_KEY_EMPTY"),
    (
        "allocate('a', 'e', 1, 'tokens', p_idempotency_key => repeat('k', 513))",
        "VAL_IDEMPOTENCY_KEY_TOO_LONG",
    ),
    ("allocate('a', 'e', 1, 'tokens', p_metadata => '[1]')", "VAL_METADATA_INVALID_TYPE"),
    (
        "allocate('a', 'e', 1, 'tokens', p_metadata => jsonb_build_object('a', repeat('x', 16384)))",
        "VAL_METADATA_TOO_LONG",
    ),
    ("allocate('a', 'e', 1, 'tokens', p_event_time => NULL)", "VAL_EVENT_TIME_NULL"),
    ("consume('a', 'e', 1, 'tokens', p_event_time => 'infinity')", "VAL_EVENT_TIME_OUT_OF_RANGE"),
    ("consume('a', 'e', 1, 'tokens', p_event_time => '1969-12-31')", "VAL_EVENT_TIME_OUT_OF_RANGE"),
    (
        "set_period_config('a', 'e', 'tokens', NULL, '2026-01-01', -1)",
        "VAL_AMOUNT_NEGATIVE",
    ),
    (
        "set_period_config('a', 'e', 'tokens', NULL, '2026-01-01', 1, -1)",
        "VAL_CARRY_OVER_NEGATIVE",
    ),
    (
        "set_period_config('a', 'e', 'tokens', NULL, NULL, 1, 1)",
        "VAL_PERIOD_START_NULL",
    ),
    ("open_period('a', 'e', 'tokens', NULL, 'infinity')", "VAL_PERIOD_START_OUT_OF_RANGE"),
    ("open_period('a', 'e', 'tokens', NULL, '2026-01-01', 0.5)", "VAL_TOO_PRECISE"),
    ("open_period('a', 'e', 'tokens', NULL, '2026-01-01', 0)", "VAL_ALLOCATION_REQUIRED"),
    ("open_period('a', 'e', 'tokens', NULL, '2026-01-01', -1)", "VAL_ALLOCATION_REQUIRED"),
    ("open_period('a', 'e', 'tokens', NULL, '1970-01-01', 1)", "VAL_PERIOD_START_OUT_OF_RANGE"),
    ("set_period_config('a', 'e', 'tokens', NULL, '2026-01-01', 1, -0.5)", "VAL_TOO_PRECISE"),
    ("close_period('a', 'e', 'tokens', NULL, '9999-01-01')", "VAL_PERIOD_END_OUT_OF_RANGE"),
    (
        f"allocate('a', 'e', 1, 'tokens', p_metadata => '{DEEP}')",
        "VAL_METADATA_TOO_DEEP",
    ),
    ("set_actor('  ')", "VAL_ACTOR_ID_EMPTY"),
    ("set_actor(NULL, 'r')", "VAL_ACTOR_ID_NULL"),
    ("set_actor('a', p_reason => E'\\n')", "VAL_REASON_INVALID_CHARS"),
    ("close_period('a', '', 'tokens', NULL, '2026-01-01')", "VAL_EVENT_TYPE_EMPTY"),
    ("close_period('a', 'e', 'tokens', NULL, NULL)", "VAL_PERIOD_END_NULL"),
    ("release_expired_reservations('')", "VAL_NAMESPACE_EMPTY"),
    ("get_balance('a', '', 'tokens')", "VAL_EVENT_TYPE_EMPTY"),
    ("get_ledger('a', 'e', 'tokens', p_limit => 0)", "VAL_NOT_POSITIVE"),
    ("get_ledger('a', 'e', 'tokens', p_limit => 10001)", "VAL_LIMIT_TOO_LARGE"),
    ("get_usage('a', NULL, now())", "VAL_START_TIME_NULL"),
    ("get_namespace_usage(now(), 'infinity')", "VAL_END_TIME_OUT_OF_RANGE"),
]
# Codes that do not name their field.
COMMON = {
    *("VAL_NOT_POSITIVE", "VAL_NOT_FINITE", "VAL_TOO_PRECISE", "VAL_OUT_OF_RANGE", "VAL_AMOUNT_NEGATIVE"),
    *("VAL_CARRY_OVER_NEGATIVE", "VAL_ADJUSTMENT_ZERO", "VAL_TTL_OUT_OF_RANGE", "VAL_LIMIT_TOO_LARGE"),
    "VAL_ALLOCATION_REQUIRED",
}


@pytest.fixture
def inbox(database: Database) -> LedgerInbox:
    return LedgerInbox(database)


async def test_every_verb_is_recorded_with_its_arguments(database_url: str, inbox: LedgerInbox) -> None:
    async with connected(database_url) as connection:
        for verb, arguments in VERBS.items():
            await connection.execute(f"SELECT meter.{verb}({arguments})".encode())
    assert await recorded(inbox) == [("default", verb) for verb in VERBS]
    async with inbox.turn([]) as turn:
        told = msgspec.json.decode(turn.operations[0].arguments)
        assert told.pop("event_time").startswith("20")
        assert told == {
            "user_id": "alice",
            "event_type": "llm_call",
            "amount": 5,
            "unit": "tokens",
            "resource": None,
            "metadata": None,
        }
        assert turn.operations[0].key == f"sql:{turn.operations[0].operation_id}"
        assert turn.operations[0].actor == (None, None, None, None)


@pytest.mark.parametrize(
    ("surroundings", "committed"), [("off", "on"), ("local", "local"), ("remote_apply", "remote_apply")]
)
async def test_what_is_recorded_is_on_disk_before_a_worker_may_see_it(
    database_url: str, surroundings: str, committed: str
) -> None:
    options = f"-c synchronous_commit={surroundings}"
    async with connected(database_url, options=options) as connection:
        for verb, arguments in VERBS.items():
            async with connection.transaction():
                await connection.execute(f"SELECT meter.{verb}({arguments})".encode())
                assert await rows(connection, "SHOW synchronous_commit") == [
                    {"synchronous_commit": committed}
                ], verb
        assert await rows(connection, "SHOW synchronous_commit") == [{"synchronous_commit": surroundings}]


async def test_a_transaction_that_is_rolled_back_leaves_nothing(
    database_url: str, inbox: LedgerInbox
) -> None:
    async with connected(database_url) as connection:
        async with connection.transaction() as whole:
            await connection.execute(f"SELECT meter.allocate({VERBS['allocate']})".encode())
            raise psycopg.Rollback(whole)
        async with connection.transaction():
            await connection.execute(f"SELECT meter.consume({VERBS['consume']})".encode())
            assert await recorded(inbox) == []  # others see it from the commit on
            async with connection.transaction() as part:
                await connection.execute(f"SELECT meter.reserve({VERBS['reserve']})".encode())
                raise psycopg.Rollback(part)
        assert await recorded(inbox) == [("default", "consume")]


async def test_an_operation_tells_what_became_of_it(database_url: str) -> None:
    async with connected(database_url) as connection:
        (made,) = await rows(
            connection, f"SELECT meter.allocate({VERBS['allocate']}, p_namespace => 'acme') AS id"
        )
        (found,) = await rows(connection, "SELECT * FROM meter.operation(%s)", made["id"])
        assert found.pop("recorded_at") is not None
        assert found == {
            "id": made["id"],
            "namespace": "acme",
            "verb": "allocate",
            "status": "pending",
            "answer": None,
            "error_code": None,
            "answered_at": None,
        }
        assert await rows(connection, "SELECT * FROM meter.operation(gen_random_uuid())") == []


async def test_the_namespace_is_the_one_named_or_the_transactions_or_default(
    database_url: str, inbox: LedgerInbox
) -> None:
    call = f"SELECT meter.allocate({VERBS['allocate']}"
    long = "n" * 1024
    async with connected(database_url) as connection, connection.transaction():
        await connection.execute(f"{call})".encode())
        await connection.execute("SELECT set_config('meter.tenant', 'acme', true)")
        await connection.execute(f"{call})".encode())
        await connection.execute(f"{call}, p_namespace => 'other')".encode())
        await connection.execute(f"{call}, p_namespace => '{long}')".encode())
        await connection.execute("SELECT set_config('meter.tenant', '', true)")
        await connection.execute(f"{call})".encode())
    names = ["default", "acme", "other", long, "default"]
    assert await recorded(inbox) == [(name, "allocate") for name in names]


async def test_who_acts_goes_along_until_the_transaction_ends(database_url: str, inbox: LedgerInbox) -> None:
    call = f"SELECT meter.allocate({VERBS['allocate']})".encode()
    async with connected(database_url) as connection:
        async with connection.transaction():
            await connection.execute("SELECT meter.set_actor('user:bob', 'r-1', p_reason => ' refund ')")
            await connection.execute(call)
            await connection.execute("SELECT meter.clear_actor()")
            await connection.execute(call)
            await connection.execute("SELECT meter.set_actor('user:bob')")
        await connection.execute(call)
        for wrong in ("NULL", "' '", "E'a\\tb'", "'a', repeat('x', 513)"):
            assert (await refusal(connection, f"set_actor({wrong})"))[1]
    async with inbox.turn([]) as turn:
        actors = [operation.actor for operation in turn.operations]
    assert actors == [("user:bob", "r-1", None, " refund "), (None,) * 4, (None,) * 4]


async def test_what_may_not_be_asked_for_is_refused_by_its_code(
    database_url: str, inbox: LedgerInbox
) -> None:
    async with connected(database_url) as connection:
        for call, code in REFUSED:
            message, detail = await refusal(connection, call)
            assert detail == code, call
            field = (message or "").partition(":")[0]
            assert code in COMMON or f"VAL_{field.upper()}_" in code, message
    assert await recorded(inbox) == []


async def test_names_may_hold_whatever_the_rules_do_not_forbid(database_url: str, inbox: LedgerInbox) -> None:
    async with connected(database_url) as connection:
        await rows(
            connection,
            "SELECT meter.allocate(%s, %s, 0.000001, %s, '', p_event_time => '9999-12-31 23:59:59+00')",
            "a:b/%\u00a0\u200b'😀",
            "e" * 256,
            "µ" * 64,
        )
    assert len(await recorded(inbox)) == 1


async def test_a_role_that_owns_nothing_may_record_and_read(database_url: str, inbox: LedgerInbox) -> None:
    async with connected(database_url) as owner:
        await make_plain_role(owner, "plain_caller")
        await owner.execute("SET ROLE plain_caller")
        await owner.execute("SELECT meter.set_tenant('default', true)")
        for verb, arguments in VERBS.items():
            await owner.execute(f"SELECT meter.{verb}({arguments})".encode())
        assert len(await rows(owner, "SELECT meter.operation(id) FROM meter.operations")) == len(VERBS)
        for name, arguments in READS.items():
            if name != "get_account":  # which there is none of
                await owner.execute(f"SELECT * FROM meter.{name}({arguments})".encode())
        for change in ("UPDATE meter.operations SET status = 'done'", "DELETE FROM meter.operations"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await owner.execute(change.encode())
    assert len(await recorded(inbox)) == len(VERBS)
