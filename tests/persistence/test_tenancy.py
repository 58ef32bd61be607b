"""Row-level security on real roles: applications see their tenant, services all, nobody by accident."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import psycopg
import pytest
from scribe import ALICE, BOB, Ask, renew
from structlog.testing import capture_logs
from tenants import TENANTS, Person, as_role, furnish, make_roles

import persistence
from persistence import inserting
from persistence.database import Database
from persistence.errors import MigrationError, RoleError
from persistence.ledger import Ledger
from persistence.migrations import migrate
from persistence.names import namespace_key
from persistence.queries import Queries
from persistence.reckoner import LedgerReckoner
from persistence.roles import check_role

# What an application may read that is of no namespace: how far the ledger is, and what it no longer has.
OF_NOBODY = {"shards", "dropped_months"}

Enter = Callable[[str], Awaitable[Person]]

RELATIONS = """
SELECT relation.oid::regclass::text, relation.relname,
       EXISTS (SELECT FROM pg_attribute WHERE attrelid = relation.oid AND attname = 'namespace')
FROM pg_class AS relation
WHERE relation.relnamespace = 'meter'::regnamespace AND relation.relkind IN ('r', 'p', 'v', 'm')
ORDER BY 1
"""


@pytest.fixture
async def enter(database_url: str) -> AsyncIterator[Enter]:
    """Give a function that connects as a role."""
    await make_roles(database_url)
    async with AsyncExitStack() as open_connections:

        async def entered(role: str) -> Person:
            connecting = psycopg.AsyncConnection.connect(as_role(database_url, role), autocommit=True)
            return Person(await open_connections.enter_async_context(await connecting))

        yield entered


@pytest.fixture
async def town(ledger: Ledger, ask: Ask) -> None:
    """Two tenants with rows in every table of tenants."""
    await furnish(ledger, *TENANTS)
    for namespace in TENANTS:
        await LedgerReckoner(ledger._database).check(namespace, [ALICE, BOB])
    for table in (
        "reconciliations (namespace, trigger)",
        "audit_events (namespace, actor_id, action, target)",
    ):
        columns = table.count(",")
        for namespace in TENANTS:
            await ask(f"INSERT INTO meter.{table} VALUES (%s{columns * ', %s'})", namespace, *columns * ["x"])
    for namespace in TENANTS:
        await ask(
            "INSERT INTO meter.checkpoints (namespace, account, entry_id, total, balance_after, checked_at) "
            "VALUES (%s, %s, -1, 0, 0, now())",
            namespace,
            ALICE,
        )


@pytest.mark.usefixtures("town")
async def test_every_table_of_tenants_and_every_partition_is_protected(ask: Ask) -> None:
    found = await ask(
        "SELECT relation.relname, relation.relrowsecurity, relation.relforcerowsecurity, "
        "array_agg(policy.polname::text ORDER BY policy.polname) "
        "FROM pg_class AS relation LEFT JOIN pg_policy AS policy ON policy.polrelid = relation.oid "
        "WHERE relation.relnamespace = 'meter'::regnamespace AND relation.relkind IN ('r', 'p') "
        "AND (relation.relispartition OR EXISTS (SELECT FROM pg_attribute WHERE attrelid = relation.oid "
        "     AND attname IN ('namespace', 'body') AND NOT attisdropped)) "
        "GROUP BY relation.oid"
    )
    assert len([name for name, *_ in found if name.startswith("ledger_2")]) >= 3
    for name, enabled, forced, policies in found:
        closed = name in {"api_keys", "salvaged"}
        assert (enabled, forced) == (True, True), name
        assert policies == (["service"] if closed else ["service", "tenant"]), name


@pytest.mark.usefixtures("town")
async def test_an_application_sees_its_tenant_and_nobody_else(enter: Enter, ask: Ask) -> None:
    shop = await enter("shop")
    seen = set()
    for relation, name, of_tenants in await ask(RELATIONS):
        columns = await shop.ask(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 "
            "AND NOT attisdropped AND has_column_privilege(attrelid, attnum, 'SELECT')",
            relation,
        )
        if not columns:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await shop.look("acme", f"SELECT * FROM {relation}")
            continue
        if not of_tenants:
            assert name in OF_NOBODY
            continue
        everything = f"SELECT DISTINCT namespace FROM {relation}"
        assert await shop.ask(everything) == [], f"{relation} without a tenant"
        assert await shop.look("acme", everything) == ([("acme",)] if await ask(everything) else []), relation
        assert await shop.look("elsewhere", everything) == [], relation
        seen |= {name} if await ask(everything) else set()
    assert {
        "accounts",
        "ledger",
        "open_holds",
        "settled_holds",
        "holds",
        "usage_hourly",
        "checkpoints",
    } <= seen
    assert {"long_names", "hold_extensions", "repairs"} <= seen


@pytest.mark.usefixtures("town")
async def test_a_partition_by_its_own_name_is_protected_as_well(enter: Enter, ask: Ask) -> None:
    shop = await enter("shop")
    partitions = await ask(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'meter.ledger'::regclass"
    )
    for (partition,) in partitions:
        await ask(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {partition} TO quotagate_app")
        assert await shop.ask(f"SELECT * FROM {partition}") == []
        others = f"SELECT * FROM {partition} WHERE namespace <> 'acme'"
        assert await shop.look("acme", others) == []
        with pytest.raises(psycopg.Error, match=r"row-level security|append-only"):
            await shop.look(
                "acme", f"INSERT INTO {partition} SELECT 'globex', 1, now(), now(), '', '', '', '', ''"
            )


@pytest.mark.usefixtures("town")
async def test_an_application_writes_nothing(enter: Enter, ask: Ask) -> None:
    shop = await enter("shop")
    for relation, name, _ in await ask(RELATIONS):
        rights = await shop.ask(
            "SELECT r FROM unnest('{INSERT,UPDATE,DELETE,TRUNCATE,TRIGGER,REFERENCES}'::text[]) AS of (r) "
            "WHERE has_table_privilege(%s, r)",
            relation,
        )
        assert rights == [], name
    for command in (
        "SELECT meter.create_partition(2031, 1)",
        "SELECT meter.drop_old_partitions(1)",
        "SELECT meter.protect('meter.ledger')",
        "SELECT meter.create_roles()",
        "ALTER TABLE meter.ledger DISABLE ROW LEVEL SECURITY",
        "CREATE POLICY mine ON meter.ledger USING (true)",
        "UPDATE meter.ledger SET amount = 0",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await shop.look("acme", command)


@pytest.mark.usefixtures("town")
async def test_no_function_shows_an_application_what_its_role_does_not_see(enter: Enter) -> None:
    shop = await enter("shop")
    trusted = await shop.ask(
        "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'meter'::regnamespace "
        "AND prosecdef AND has_function_privilege(oid, 'EXECUTE')"
    )
    # A function with its owner's rights goes round row-level security: this one gives nothing but a time.
    assert {name for (name,) in trusted} <= {"meter.as_of(text)"}
    balance = "SELECT meter.balance_at(%s, %s, now())"
    between = "SELECT count(*) FROM meter.recorded_between(%s, '-infinity', 'infinity')"
    assert await shop.look("acme", balance, "acme", ALICE) != [(None,)]
    assert await shop.look("acme", balance, "globex", ALICE) == [(None,)]
    assert await shop.look("acme", between, "acme") == [(1,)]
    assert await shop.look("acme", between, "globex") == [(0,)]


def test_nothing_is_copied_into_a_table_but_where_there_is_another_way() -> None:
    """A COPY into a protected table works for superusers, so in most tests, and fails for other owners."""
    room = Path(persistence.__file__).parent
    texts = [path.read_text() for path in (*room.glob("*.py"), *room.glob("sql/queries/*.sql"))]
    copied = {table for text in texts for table in re.findall(r"COPY meter\.(\w+)", text)}
    assert {table.encode() for table in copied} == set(inserting.INSERTS)


@pytest.mark.usefixtures("town")
async def test_a_tenant_is_set_for_a_transaction_or_a_session(enter: Enter) -> None:
    shop = await enter("shop")
    count = "SELECT count(DISTINCT namespace) FROM meter.ledger"
    await shop.ask("SELECT meter.set_tenant('acme')")
    assert await shop.ask(count) == [(0,)], "the transaction is over"
    await shop.ask("SELECT meter.set_tenant('acme', true)")
    assert await shop.ask(count) == [(1,)]
    await shop.ask("SELECT meter.clear_tenant()")
    assert await shop.ask(count) == [(0,)]
    await shop.ask("SELECT meter.set_tenant('acme', true)")
    await shop.ask("SET meter.tenant = 'globex'")
    assert await shop.ask("SELECT DISTINCT namespace FROM meter.ledger") == [("globex",)]
    wrong = {"": "EMPTY", "  ": "EMPTY", None: "NULL", "acme ": "WHITESPACE", "a\tb": "INVALID_CHARS"}
    for name, why in {**wrong, "n" * 1025: "TOO_LONG"}.items():
        with pytest.raises(psycopg.errors.InvalidParameterValue) as caught:
            await shop.ask("SELECT meter.set_tenant(%s)", name)
        assert caught.value.diag.message_detail == f"VAL_NAMESPACE_{why}"


@pytest.mark.parametrize("letter", ["x", "ü", "€", "𝄞"])
async def test_a_tenant_with_a_long_name_sees_its_rows(ledger: Ledger, enter: Enter, letter: str) -> None:
    namespace = f"of {letter * 1000}"
    await furnish(ledger, namespace, "acme")
    shop = await enter("shop")
    assert await shop.look(namespace, "SELECT DISTINCT namespace FROM meter.accounts") == [
        (namespace_key(namespace),)
    ]


async def test_row_level_security_is_asserted(enter: Enter, ask: Ask) -> None:
    assert await (await enter("shop")).ask("SELECT meter.assert_rls_active()") == [("",)]
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="superuser"):
        await ask("SELECT meter.assert_rls_active()")
    clerk = await enter("clerk")
    with pytest.raises(
        psycopg.errors.ObjectNotInPrerequisiteState, match=r"clerk: it is the service of .*ledger"
    ):
        await clerk.ask("SELECT meter.assert_rls_active()")
    await ask("ALTER ROLE shop BYPASSRLS")
    try:
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="BYPASSRLS"):
            await (await enter("shop")).ask("SELECT meter.assert_rls_active()")
    finally:
        await ask("ALTER ROLE shop NOBYPASSRLS")


async def test_an_open_door_is_asserted(enter: Enter, ask: Ask) -> None:
    shop = await enter("shop")
    for close, open_again in (
        (
            "ALTER TABLE meter.usage_hourly DISABLE ROW LEVEL SECURITY",
            "ALTER TABLE meter.usage_hourly ENABLE ROW LEVEL SECURITY",
        ),
        ("CREATE POLICY wide ON meter.usage_hourly USING (true)", "DROP POLICY wide ON meter.usage_hourly"),
    ):
        await ask(close)
        try:
            with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="usage_hourly"):
                await shop.ask("SELECT meter.assert_rls_active()")
        finally:
            await ask(open_again)


@pytest.fixture
async def owned_url(postgres_url: str, database_url: str) -> AsyncIterator[str]:
    """Give a database that belongs to a role which is no superuser, on a server that has the roles."""
    await make_roles(database_url)
    async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as connection:
        await connection.execute("DROP DATABASE IF EXISTS owned WITH (FORCE)")
        await connection.execute("CREATE DATABASE owned OWNER landlord")
        url = psycopg.conninfo.make_conninfo(postgres_url, dbname="owned", user="landlord")
        await migrate(url)
        yield url
        await connection.execute("DROP DATABASE owned WITH (FORCE)")


@pytest.mark.parametrize("role", ["landlord", "clerk"])
async def test_who_serves_need_not_be_a_superuser(owned_url: str, role: str) -> None:
    """Posts all there is to post, reads, reconciles and drops months: as owner, and as a granted role."""
    assert await migrate(as_role(owned_url, role)) == []
    database = Database(as_role(owned_url, role), max_size=2)
    await database.open()
    try:
        await check_role(database)
        ledger, queries, reckoner = Ledger(database), Queries(database), LedgerReckoner(database)
        await renew(ledger, range(128))
        scribes = await furnish(ledger, *TENANTS)
        for namespace, scribe in scribes.items():
            rows = await queries.balances(namespace, "alice")
            assert {row.account: row.balance for row in rows} == {ALICE: scribe.balances[ALICE]}
            checks = await reckoner.check(namespace, [ALICE, BOB])
            assert checks[ALICE].booked == checks[ALICE].balance == scribe.balances[ALICE]
        async with database.connection() as connection:
            cursor = await connection.execute("SELECT meter.drop_old_partitions(1)")
            assert len(await cursor.fetchall()) >= 3
        for namespace, scribe in scribes.items():
            assert (await reckoner.check(namespace, [ALICE]))[ALICE].booked == scribe.balances[ALICE]
    finally:
        await database.close()


async def test_a_role_that_does_not_see_everything_may_not_serve(owned_url: str) -> None:
    database = Database(as_role(owned_url, "shop"), max_size=1)
    await database.open()
    try:
        with pytest.raises(RoleError, match=r"shop does not see .*meter\.ledger.* GRANT quotagate_service"):
            await check_role(database)
    finally:
        await database.close()


async def test_a_new_owner_is_let_in_again(owned_url: str) -> None:
    """As after a restore for somebody else, on a server that lacked the roles."""
    async with await psycopg.AsyncConnection.connect(
        as_role(owned_url, "quotagate"), autocommit=True
    ) as root:
        await root.execute("DROP POLICY service ON meter.accounts")
        database = Database(owned_url, max_size=1)
        await database.open()
        try:
            with pytest.raises(RoleError, match=r"does not see .* in meter\.accounts;.*create_roles"):
                await check_role(database)
            await root.execute("SELECT meter.create_roles()")
            await check_role(database)
        finally:
            await database.close()


async def test_a_schema_that_is_behind_is_left_to_its_owner(owned_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(owned_url) as connection:
        await connection.execute("DELETE FROM meter.migrations WHERE number = 1")
    with pytest.raises(
        MigrationError, match=r"(?s)clerk may not bring the schema up to date.*quotagate migrate"
    ):
        await migrate(as_role(owned_url, "clerk"))


async def test_an_owner_who_may_not_make_roles_is_told_so(
    postgres_url: str, database_url: str, ask: Ask
) -> None:
    """And serves all the same; a superuser makes up for it later."""
    await make_roles(database_url)
    groups = ("quotagate_app", "quotagate_service")
    for group in groups:
        await ask(f"ALTER ROLE {group} RENAME TO {group}_away")
    async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as connection:
        try:
            await connection.execute("CREATE DATABASE lonely OWNER landlord")
            url = psycopg.conninfo.make_conninfo(postgres_url, dbname="lonely")
            with capture_logs() as log:
                await migrate(as_role(url, "landlord"))
            (told,) = [line["reason"] for line in log if line["event"] == "migration_says"]
            assert "landlord may not make roles" in str(told)
            database = Database(as_role(url, "landlord"), max_size=1)
            await database.open()
            await check_role(database)
            await Ledger(database).shard_rows()
            await database.close()
        finally:
            for group in groups:
                await ask(f"ALTER ROLE {group}_away RENAME TO {group}")
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as superuser:
            await superuser.execute("SELECT meter.create_roles()")
        database = Database(as_role(url, "clerk"), max_size=1)
        await database.open()
        await check_role(database)
        await database.close()
        await connection.execute("DROP DATABASE lonely WITH (FORCE)")
