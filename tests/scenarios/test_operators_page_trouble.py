"""The operators' page in trouble: slow answers, clicks in between, hostile names, databases away."""

from __future__ import annotations

import json
from decimal import Decimal
from urllib.parse import quote

import pytest
from browser import PROGRAM, Browser
from page_house import SINGLE, House, sign_in

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no Chromium on this machine")

SHOWN = "both databases answer"
WORDS = {"user_id": "alice", "event_type": "llm_call", "unit": "usd"}
# From here on requests are counted and wait, until they are let go.
HOLD = """
  window.realFetch ||= window.fetch; window.waiting = []; window.posts = 0;
  window.fetch = (path, how) => new Promise((said, failed) => {
    posts += how.method === "POST";
    waiting.push(() => realFetch(path, how).then(said, failed));
  });
"""
LET_GO = "window.fetch = realFetch; waiting.forEach(one => one());"
# From here on a path is answered so.
ANSWER = """
  window.realFetch ||= window.fetch;
  window.fetch = (path, how) => path.startsWith(%s)
    ? Promise.resolve(new Response(%s, { status: %d })) : realFetch(path, how);
"""


def answer(browser: Browser, path: str, told: object, status: int = 200) -> None:
    browser.run(ANSWER % (json.dumps(path), json.dumps(json.dumps(told)), status))


def account_hash(**words: str | None) -> str:
    return "#account/" + quote(json.dumps({"resource": None, **words}), safe="")


def opened(browser: Browser, house: House, key: str, place: str = "") -> None:
    browser.open(house.url + "/admin" + place)
    sign_in(browser, key)


def choose(browser: Browser, namespace: str) -> None:
    browser.until("return document.querySelector('nav input')")
    browser.run(
        f"document.querySelector('nav input').value = {json.dumps(namespace)};"
        "document.querySelector('nav input').dispatchEvent(new Event('change'));"
    )


def balance(house: House, namespace: str, user_id: str = "alice") -> Decimal:
    found = house.get("/v1/balance", namespace, event_type="llm_call", unit="usd", user_id=user_id)
    return Decimal(str(found["balance"]))


def test_the_key_of_the_environment_is_shown_as_it_stands(house: House, browser: Browser) -> None:
    opened(browser, house, SINGLE)
    browser.see(SHOWN)
    assert browser.complaints == []


def test_an_act_is_done_where_it_was_asked_for(house: House, browser: Browser) -> None:
    for namespace in ("shop 1/ü", "shop2"):
        house.post("/v1/allocations", namespace, amount=1, **WORDS)
    opened(browser, house, house.everywhere, account_hash(**WORDS))
    choose(browser, "shop 1/ü")
    browser.press("look")
    browser.press("Allocate")
    browser.fill("amount", "2\u202f000.5")
    browser.fill("reason", "   ")
    browser.press("Allocate", within="dialog")  # a reason of spaces is none
    browser.fill("reason", "more")
    browser.run("namespace = 'shop2'")
    browser.press("Allocate", within="dialog")
    browser.until("return !document.querySelector('dialog') && document.activeElement.tagName === 'MAIN'")
    assert balance(house, "shop 1/ü") == Decimal("2001.5")
    assert balance(house, "shop2") == 1

    # What stands there while another namespace is asked for can not be acted on.
    choose(browser, "shop 1/ü")
    browser.press("look")
    browser.until("return [...document.querySelectorAll('button')].some(one => one.innerText === 'Adjust')")
    browser.run(HOLD)
    choose(browser, "shop2")
    assert browser.run("document.querySelectorAll('main button').length") == 0
    browser.run(LET_GO)
    browser.see("alice")
    assert browser.complaints == []


def test_nothing_happens_twice_and_no_outcome_goes_unsaid(house: House, browser: Browser) -> None:
    house.post("/v1/allocations", amount=10, **WORDS)
    before = balance(house, house.namespace)
    opened(browser, house, house.key, account_hash(**WORDS))
    browser.press("Adjust")
    browser.fill("amount", "-1.5")
    browser.fill("reason", "twice")
    browser.run(HOLD)
    send = "document.querySelector('dialog form').dispatchEvent(new Event('submit', {cancelable: true}))"
    browser.run(f"{send}; {send}")
    assert browser.run("posts") == 1
    browser.press("Cancel", within="dialog")
    browser.press("Allocate")  # meanwhile something else is asked for
    browser.run(LET_GO)
    browser.see("It was done all the same")
    browser.press("Close", within="dialog")
    assert browser.run("document.querySelector('dialog[open] h3').innerText").startswith("Allocate")
    browser.press("Cancel", within="dialog")
    assert balance(house, house.namespace) == before - Decimal("1.5")

    browser.press("Keys")
    browser.press("Make a key")
    browser.fill("reason", "a key for nobody")
    browser.run(HOLD)
    browser.press("Make it", within="dialog")
    browser.press("Cancel", within="dialog")
    browser.run(LET_GO)
    browser.until("return document.querySelector('dialog[open] .secret')")
    browser.press("I have it", within="dialog")
    browser.until("return !document.querySelector('.secret')")
    assert browser.complaints == []


def test_a_hold_that_was_settled_meanwhile_is_not_called_released(house: House, browser: Browser) -> None:
    house.post("/v1/allocations", amount=10, **WORDS)
    house.post("/v1/allocations", amount=10, **WORDS | {"user_id": None})
    hold = house.post("/v1/reservations", amount=2, also=[{"user_id": None, "amount": 3}], **WORDS)
    opened(browser, house, house.key, "#holds")
    browser.see("and 1 more")
    browser.press("Release")
    browser.see("3 of the namespace's pool, llm_call, usd")
    house.post(f"/v1/reservations/{hold['reservation_id']}/commit", actual_amount=1)
    browser.fill("reason", "its caller is gone")
    browser.press("Release", within="dialog")
    browser.see(f"nothing was released: {hold['reservation_id']} is committed")
    assert browser.complaints == []


def test_who_may_not_look_can_sign_out_and_leaves_nothing(house: House, browser: Browser) -> None:
    reader = house.post("/admin/v1/keys", scopes=["read"], name="reader")
    opened(browser, house, str(reader["key"]))
    browser.see("this key may not do this: it lacks admin")
    browser.press("Sign out")
    sign_in(browser, house.key)
    browser.see(SHOWN)
    choose(browser, "another's")
    browser.press("Holds")
    browser.see("this key belongs to another namespace")
    browser.open(house.url + "/admin?again#holds")
    browser.see("this key belongs to another namespace")
    choose(browser, "")
    browser.see("Newest first.")
    assert browser.run("document.querySelector('nav input').placeholder") == house.namespace
    browser.run(HOLD)
    browser.press("Sign out")
    assert (
        browser.run("document.querySelector('main').innerText + document.querySelector('nav').innerText")
        == ""
    )
    browser.run(LET_GO)
    browser.see("With a key that has the scope admin.")
    assert browser.complaints == []


def test_the_overview_goes_on_by_itself(house: House, browser: Browser) -> None:
    browser.open(house.url + "/admin")
    browser.until("return document.querySelector('input[type=password]')")
    gone = {"detail": "Postgres is away"}
    answer(browser, "admin/v1/namespaces", gone, 503)
    sign_in(browser, house.key)
    browser.see(SHOWN)
    browser.press("Overview")  # the menu is there
    unknown = {"faults": {"ledger": "<b>gone</b>"}, "lag_entries": None, "quarantined": None, "retries": None}
    answer(browser, "admin/v1/flusher", {**unknown, "shards": []})
    browser.run("show()")
    browser.see("How far the ledger is behind is not known.")
    browser.see("<b>gone</b>")
    answer(browser, "admin/v1/flusher", gone, 503)
    browser.run("show()")
    browser.see("Postgres is away")
    browser.run("window.note = document.querySelector('.note'); window.looks = 0;")
    browser.run("const before = fetch; fetch = (...what) => { looks++; return before(...what); }")
    browser.until("return looks")
    assert browser.run("note.isConnected")  # what stays the same is not read out again and again
    browser.run("window.fetch = realFetch; show()")
    browser.see(SHOWN)
    assert browser.complaints == []


@pytest.mark.parametrize("place", ["#constructor", "#account/null", "#account/%", "#account", "#account/7"])
def test_an_address_of_nothing_shows_something(house: House, browser: Browser, place: str) -> None:
    browser.open(house.url + "/healthz")
    browser.run(f"sessionStorage.setItem('key', {house.key!r})")
    browser.open(house.url + "/admin" + place)
    browser.until("return document.querySelector('main h2, main .note')")
    assert browser.complaints == []


def test_names_that_are_meant_to_harm_are_only_shown(house: House, browser: Browser) -> None:
    names = [
        "<img src=x onerror=alert(1)>",
        "\u202egnorts",
        "{{style}}</script>",
        "the namespace's pool",
        "x" * 4000,
    ]
    for name in names:
        house.post("/v1/allocations", "odd", amount=Decimal("9007199254.740991"), **WORDS | {"user_id": name})
    house.post("/v1/adjustments", "odd", amount=Decimal("-0.000001"), **WORDS | {"user_id": names[1]})
    opened(browser, house, house.everywhere, "#accounts")
    choose(browser, "odd")
    for name in names:
        browser.until(
            f"return [...document.querySelectorAll('bdi')].some(one => one.innerText === {json.dumps(name)})"
        )
    assert browser.run("document.querySelectorAll('main i, main img').length") == 0
    browser.run(f"location.hash = {account_hash(**WORDS | {'user_id': names[1]})!r}")
    browser.see("lowest 9\u202f007\u202f199\u202f254.74099, highest 9\u202f007\u202f199\u202f254.740991")
    assert browser.complaints == []
