"""Keys as one process knows them: verified once, forgotten when revoked, never a wrong 401."""

from __future__ import annotations

import asyncio

import pytest
from deciding import until
from keyrings import BOUND_S, Clock, KeptKeys, made_key, ring_of

from gateway.api import SingleKey
from gateway.api.headers import Headers
from gateway.errors import MeterAuthError, MeterUnavailableError, MeterValidationError

KEY = made_key("one")
SETTING = "the-key-of-the-settings"


def shown(key: str, namespace: str | None = None) -> Headers:
    named = {} if namespace is None else {b"x-namespace": namespace.encode()}
    return {b"authorization": f"Bearer {key}".encode(), **named}


async def refusal(ring: object, headers: Headers) -> MeterAuthError:
    with pytest.raises(MeterAuthError) as caught:
        await ring.identify(headers)  # type: ignore[attr-defined]
    return caught.value


async def test_a_key_is_asked_for_once_and_then_known() -> None:
    kept = KeptKeys()
    kept.keep(KEY, "acme", ["read"])
    ring = ring_of(kept)
    for _ in range(3):
        caller = await ring.identify(shown(KEY))
        assert (caller.namespace, caller.scopes, caller.key_id) == ("acme", {"read"}, KEY[3:19])
    assert kept.asked == [[KEY[3:19]]]


@pytest.mark.parametrize(
    "wrong",
    [
        made_key("one", "t"),
        KEY[:-1] + ("0" if KEY[-1] != "0" else "1"),
        KEY + "0",
        KEY[:-9],
        "qg_",
        "x" * 69,
        made_key("two"),
    ],
)
@pytest.mark.parametrize("known_before", [False, True])
async def test_anything_else_is_not_known(wrong: str, known_before: bool) -> None:
    kept = KeptKeys()
    kept.keep(KEY)
    ring = ring_of(kept)
    if known_before:
        await ring.identify(shown(KEY))
    error = await refusal(ring, shown(wrong))
    assert (error.status, error.code, error.message) == (401, "unauthorized", "this key is not known")
    await ring.identify(shown(KEY))


async def test_a_bound_key_opens_its_namespace_alone_and_an_unbound_one_each() -> None:
    kept = KeptKeys()
    kept.keep(KEY, "acme")
    operators = kept.keep(made_key("op"), None)
    ring = ring_of(kept)
    assert (await ring.identify(shown(KEY, "acme"))).namespace == "acme"
    assert (await refusal(ring, shown(KEY, "globex"))).status == 403
    assert (await ring.identify(shown(operators, "globex"))).namespace == "globex"
    assert (await ring.identify(shown(operators))).namespace == "default"
    with pytest.raises(MeterValidationError):
        await ring.identify(shown(operators, "%FF"))


async def test_what_was_revoked_is_forgotten_at_the_next_look() -> None:
    kept = KeptKeys()
    kept.keep(KEY)
    ring = ring_of(kept)
    await ring.identify(shown(KEY))
    kept.kept.clear()
    await ring.refresh()
    assert (await refusal(ring, shown(KEY))).status == 401


async def test_scopes_that_were_changed_are_seen_and_the_key_need_not_be_verified_again() -> None:
    kept = KeptKeys()
    kept.keep(KEY, scopes=["read", "spend"])
    ring = ring_of(kept)
    await ring.identify(shown(KEY))
    kept.keep(KEY, scopes=["read"])
    await ring.refresh()
    assert (await ring.identify(shown(KEY))).scopes == {"read"}
    assert len(kept.asked) == 2


async def test_a_key_expires_between_looks() -> None:
    kept, clock = KeptKeys(), Clock()
    kept.keep(KEY, left_s=5.0)
    ring = ring_of(kept, clock)
    await ring.identify(shown(KEY))
    clock.now_s += 5.0
    kept.kept.clear()  # as the database answers from now on
    assert (await refusal(ring, shown(KEY))).status == 401


async def test_while_the_database_is_away_known_keys_go_on_for_a_bound_and_others_are_503() -> None:
    kept, clock = KeptKeys(), Clock()
    kept.keep(KEY)
    other = kept.keep(made_key("other"))
    ring = ring_of(kept, clock)
    await ring.identify(shown(KEY))
    kept.away = True
    with pytest.raises(MeterUnavailableError):
        await ring.refresh()
    clock.now_s += BOUND_S - 1
    assert (await ring.identify(shown(KEY))).namespace == "acme"
    for headers in (shown(other), shown(made_key("nobody"))):
        with pytest.raises(MeterUnavailableError) as caught:
            await ring.identify(headers)
        assert (caught.value.status, caught.value.code) == (503, "store_unavailable")
    clock.now_s += 1
    with pytest.raises(MeterUnavailableError):
        await ring.identify(shown(KEY))
    kept.away = False
    assert (await ring.identify(shown(KEY))).namespace == "acme"


async def test_an_unknown_key_is_not_asked_for_twice_in_a_row_and_found_once_it_is_made() -> None:
    kept, clock = KeptKeys(), Clock()
    ring = ring_of(kept, clock)
    for _ in range(5):
        await refusal(ring, shown(KEY))
    assert len(kept.asked) == 1
    kept.keep(KEY)
    await ring.refresh()
    assert (await ring.identify(shown(KEY))).namespace == "acme"


async def test_an_absent_key_is_asked_for_again_after_a_second() -> None:
    kept, clock = KeptKeys(), Clock()
    ring = ring_of(kept, clock)
    await refusal(ring, shown(KEY))
    kept.keep(KEY)
    clock.now_s += 1.0
    assert (await ring.identify(shown(KEY))).namespace == "acme"


async def test_a_flood_of_unknown_keys_is_one_question_at_a_time_and_what_is_too_much_is_503() -> None:
    kept = KeptKeys()
    kept.gate = asyncio.Event()
    ring = ring_of(kept)
    flood = [asyncio.create_task(ring.identify(shown(made_key(f"n{number:015x}")))) for number in range(5000)]
    await until(lambda: kept.asked)
    assert len(kept.asked) == 1
    kept.gate.set()
    errors = await asyncio.gather(*flood, return_exceptions=True)
    kinds = [type(error) for error in errors]
    assert set(kinds) == {MeterAuthError, MeterUnavailableError}
    assert kinds.count(MeterAuthError) == sum(map(len, kept.asked))
    assert len(kept.asked) <= 3


async def test_those_who_wait_share_an_answer_and_one_who_leaves_takes_it_from_nobody() -> None:
    kept = KeptKeys()
    kept.keep(KEY)
    kept.gate = asyncio.Event()
    ring = ring_of(kept)
    first, second = (asyncio.create_task(ring.identify(shown(KEY))) for _ in range(2))
    await until(lambda: kept.asked)
    first.cancel()
    kept.gate.set()
    assert (await second).namespace == "acme"


async def test_the_key_of_the_settings_works_beside_the_kept_ones() -> None:
    kept = KeptKeys()
    kept.keep(KEY)
    ring = ring_of(kept, single=SingleKey(SETTING))
    assert (await ring.identify(shown(SETTING))).namespace == "default"
    assert (await ring.identify(shown(KEY))).namespace == "acme"
    assert (await refusal(ring, shown(SETTING, "acme"))).status == 403
    assert (await refusal(ring, shown(SETTING + "x"))).status == 401
