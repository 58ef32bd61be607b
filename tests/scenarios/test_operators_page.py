"""The operators' page in a real browser, on a gateway that asks for keys: from signing in to signing out."""

from __future__ import annotations

from decimal import Decimal

import httpx2
import pytest
from browser import PROGRAM, Browser
from page_house import House, sign_in

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no Chromium on this machine")

WORDS = {"user_id": "zoë <b>", "event_type": "llm_call", "unit": "usd"}


def test_an_operator_signs_in_looks_acts_and_signs_out(house: House, browser: Browser) -> None:
    house.post("/v1/allocations", amount=Decimal("9007199254.740991"), **WORDS)
    hold = house.post("/v1/reservations", amount=1.5, ttl_seconds=3600, **WORDS)["reservation_id"]
    browser.open(house.url + "/admin")
    sign_in(browser, "qg_0123456789abcdef_wrong")
    browser.see("this key is not known")
    sign_in(browser, house.key)
    browser.see("both databases answer")

    browser.press("Accounts")
    browser.see("9\u202f007\u202f199\u202f254.740991")  # exact: a double would end in .74099
    browser.see("9\u202f007\u202f199\u202f253.240991")
    browser.press("look")
    browser.press("Adjust")
    browser.fill("amount", "a lot")
    browser.fill("reason", "проверка")
    browser.press("Adjust", within="dialog")
    browser.see("must be a number")
    browser.fill("amount", "-4.740991")
    browser.press("Adjust", within="dialog")
    browser.see("9\u202f007\u202f199\u202f250")
    browser.see("проверка")

    browser.press("Holds")
    browser.see(str(hold))
    browser.press("Release")
    browser.press("Release", within="dialog")  # without a reason the browser itself asks for one
    assert house.get(f"/v1/reservations/{hold}")["status"] == "active"
    browser.fill("reason", "its caller is gone")
    browser.press("Release", within="dialog")
    browser.see("There is no such hold.")
    assert house.get(f"/v1/reservations/{hold}")["status"] == "released"
    browser.press("Audit")
    browser.see("its caller is gone")

    browser.press("Keys")
    browser.press("Make a key")
    browser.fill("name", "checkout")
    browser.fill("reason", "a new service")
    browser.press("Make it", within="dialog")
    shown = browser.until("return (document.querySelector('.secret') || {}).innerText")
    answer = httpx2.get(f"{house.url}/v1/stats", headers={"Authorization": f"Bearer {shown}"})
    assert answer.status_code == 200
    browser.press("I have it", within="dialog")
    browser.see("checkout")

    browser.press("Reconcile")
    browser.press("Compare now")
    browser.press("Compare now", within="dialog")
    browser.see("Redis and the ledger agree")
    browser.press("Close", within="dialog")
    browser.press("Sign out")
    browser.see("With a key that has the scope admin.")
    assert browser.run("sessionStorage.length") == 0
    assert browser.complaints == []


def test_a_key_without_the_scope_is_told_so(house: House, browser: Browser) -> None:
    made = house.post("/admin/v1/keys", scopes=["read"], name="reader")
    browser.open(house.url + "/admin")
    sign_in(browser, str(made["key"]))
    browser.see("this key may not do this: it lacks admin")
    assert browser.complaints == []
