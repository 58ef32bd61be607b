"""Keys in Postgres: found while they are good, changed with their audit, and heard of by everyone."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import psycopg
import pytest

from gateway.seams.keys import Action, NewKey
from persistence.api_keys import ApiKeys
from persistence.audit_events import AuditEvents
from persistence.database import Database


def new_key(key_id: str, **changes: Any) -> NewKey:
    whole = {
        "key_id": key_id,
        "digest": bytes(range(32)),
        "namespace": "acme",
        "scopes": frozenset({"read", "spend"}),
        "name": "checkout",
        "created_by": "someone",
        "expires_ms": None,
    }
    return NewKey(**{**whole, **changes})


def action(verb: str, target: str, namespace: str | None = "acme") -> Action:
    return Action(namespace, "someone", verb, target, "because", {"n": 1})


async def test_a_key_is_found_by_its_id_until_it_is_revoked(database: Database) -> None:
    kept = ApiKeys(database)
    row = await kept.add(new_key("k1"), action("create_key", "k1"))
    found = await kept.find(["k1", "k2"])
    assert list(found) == ["k1"]
    assert found["k1"] == ("acme", {"read", "spend"}, bytes(range(32)), None)
    assert await kept.get("k1") == row
    revoked = await kept.revoke("k1", action("revoke_key", "k1"))
    assert revoked is not None
    assert revoked.revoked_ms is not None
    assert await kept.find(["k1"]) == {}
    assert await kept.revoke("k1", action("revoke_key", "k1")) is None
    assert [event.action.action for event in await AuditEvents(database).events("acme", 10, None)] == [
        "revoke_key",
        "create_key",
    ]


async def test_a_key_that_has_expired_is_not_found(database: Database) -> None:
    kept = ApiKeys(database)
    now_ms = time.time_ns() // 1_000_000
    await kept.add(new_key("past", expires_ms=now_ms - 1000), action("create_key", "past"))
    await kept.add(new_key("soon", expires_ms=now_ms + 60_000), action("create_key", "soon"))
    found = await kept.find(["past", "soon"])
    assert list(found) == ["soon"]
    assert found["soon"].left_s is not None
    assert 0 < found["soon"].left_s <= 61


async def test_both_keys_of_a_rotation_are_good_and_the_old_one_for_a_while(database: Database) -> None:
    kept = ApiKeys(database)
    await kept.add(new_key("old"), action("create_key", "old"))
    assert await kept.rotate("old", new_key("new"), 60, action("rotate_key", "old")) is not None
    found = await kept.find(["old", "new"])
    assert found["new"].left_s is None
    assert found["old"].left_s is not None
    assert found["old"].left_s <= 60
    again = await kept.rotate("old", new_key("newer"), 60, action("rotate_key", "old"))
    assert again is None
    assert await kept.get("newer") is None
    assert len(await AuditEvents(database).events("acme", 10, None)) == 2


async def test_a_rotation_never_lengthens_a_key(database: Database) -> None:
    kept = ApiKeys(database)
    soon_ms = time.time_ns() // 1_000_000 + 5000
    old = await kept.add(new_key("old", expires_ms=soon_ms), action("create_key", "old"))
    await kept.rotate("old", new_key("new"), 3600, action("rotate_key", "old"))
    after = await kept.get("old")
    assert after is not None
    assert (after.expires_ms, after.replaced_by) == (old.expires_ms, "new")


async def test_pages_are_newest_first_and_of_one_namespace_when_it_is_named(database: Database) -> None:
    kept = ApiKeys(database)
    long = "n" * 1000 + "é" * 24
    for number, namespace in enumerate(["acme", "globex", "acme", long]):
        await kept.add(new_key(f"k{number}", namespace=namespace), action("create_key", "k", namespace))
    operators = new_key("op", namespace=None, scopes=frozenset({"admin"}))
    await kept.add(operators, action("create_key", "op", None))
    everything = await kept.page(None, 10, None)
    assert [row.key_id for row in everything] == ["op", "k3", "k2", "k1", "k0"]
    first, second = await kept.page("acme", 10, None)
    assert (first.key_id, second.key_id) == ("k2", "k0")
    assert await kept.page("acme", 10, first.number) == [second]
    (of_long,) = await AuditEvents(database).events(long, 10, None)
    assert (of_long.action.namespace, of_long.action.details) == (long, {"n": 1})
    assert [event.action.namespace for event in await AuditEvents(database).events(None, 2, None)] == [
        None,
        long,
    ]


async def test_what_no_key_may_be_is_refused_by_the_table(database: Database) -> None:
    kept = ApiKeys(database)
    for wrong in (
        new_key("k", scopes=frozenset()),
        new_key("k", scopes=frozenset({"root"})),
        new_key("k", digest=b"short"),
        new_key("k", namespace=None),
    ):
        with pytest.raises(psycopg.errors.CheckViolation):
            await kept.add(wrong, action("create_key", "k"))
    assert await AuditEvents(database).events(None, 10, None) == []


async def test_the_audit_is_never_changed(database: Database) -> None:
    await AuditEvents(database).note(action("release_hold", "rsv"))
    changes = (b"UPDATE meter.audit_events SET reason = ''", b"DELETE FROM meter.audit_events")
    for change in (*changes, b"TRUNCATE meter.audit_events"):
        with pytest.raises(psycopg.errors.RestrictViolation):
            async with database.connection() as connection:
                await connection.execute(change)


async def test_a_change_is_heard_of_by_those_who_watch(database: Database, database_url: str) -> None:
    elsewhere = Database(database_url, max_size=1)
    await elsewhere.open()
    kept, heard = ApiKeys(database), asyncio.Queue[dict[str, Any]]()
    await kept.add(new_key("k1"), action("create_key", "k1"))

    async def look() -> None:
        heard.put_nowait(dict(await ApiKeys(elsewhere).find(["k1"])))

    watching = asyncio.create_task(ApiKeys(elsewhere).watch(look))
    try:
        async with asyncio.timeout(10):
            assert "k1" in await heard.get()
            await kept.revoke("k1", action("revoke_key", "k1"))
            while await heard.get():
                pass
    finally:
        watching.cancel()
        await asyncio.wait([watching])
        await elsewhere.close()
