"""A Chromium without a window, told what to do over two pipes. Where there is none, tests skip."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-extensions"),
    *("--disable-background-networking", "--disable-dev-shm-usage", "--remote-debugging-pipe"),
)
_ANSWER_S = 60.0
# Waits in the page, so that nothing that shows only for a moment is missed.
_UNTIL = """new Promise((found, missed) => {
  const end = Date.now() + %d;
  (function look() {
    const value = document.body && (() => { %s })();
    if (value) found(value);
    else if (Date.now() > end) missed(new Error("not seen: " + document.body.innerText.slice(0, 2000)));
    else setTimeout(look, 10);
  })();
})"""


class Browser:
    """One browser with one page."""

    def __init__(self, directory: Path) -> None:
        assert PROGRAM is not None
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        command = [PROGRAM, *_FLAGS, f"--user-data-dir={directory}", "about:blank"]
        self._process = subprocess.Popen(
            ["sh", "-c", f'exec "$@" 3</dev/fd/{theirs_in} 4>/dev/fd/{theirs_out}', "sh", *command],
            pass_fds=(theirs_in, theirs_out),
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._left = b""
        self._number = 0
        self._session: dict[str, str] = {}
        self.complaints: list[str] = []
        targets = self._call("Target.getTargets")["targetInfos"]
        page = next(one["targetId"] for one in targets if one["type"] == "page")
        attached = self._call("Target.attachToTarget", targetId=page, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable")

    def open(self, url: str) -> None:
        """Go to a page."""
        self._call("Page.navigate", url=url)

    def run(self, expression: str) -> Any:
        """Evaluate in the page; give what comes of it."""
        told = self._call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]["exception"].get("description", told)
        return told["result"].get("value")

    def until(self, body: str, bound_ms: int = 20_000) -> Any:
        """Wait until the body of a function gives something true; give that."""
        return self.run(_UNTIL % (bound_ms, body))

    def see(self, text: str) -> None:
        """Wait until the page shows a text."""
        self.until(f"return document.body.innerText.includes({json.dumps(text)})")

    def press(self, text: str, *, within: str = "body") -> None:
        """Wait for the button or link of this text, and press it."""
        self.until(
            f"const one = [...document.querySelectorAll({json.dumps(within + ' :is(button, a)')})]"
            f".find(one => one.innerText.trim() === {json.dumps(text)} && !one.disabled);"
            "if (one) one.click(); return Boolean(one);"
        )

    def fill(self, name: str, text: str) -> None:
        """Fill in a field of the dialog."""
        self.until(
            f"const one = document.querySelector('dialog [name=' + CSS.escape({json.dumps(name)}) + ']');"
            f"if (one) one.value = {json.dumps(text)}; return Boolean(one);"
        )

    def close(self) -> None:
        """End it."""
        with suppress(BrokenPipeError):
            self._send("Browser.close", {})
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def _send(self, method: str, params: dict[str, Any]) -> int:
        self._number += 1
        told = {"id": self._number, "method": method, "params": params, **self._session}
        os.write(self._out, json.dumps(told).encode() + b"\0")
        return self._number

    def _call(self, method: str, **params: Any) -> Any:
        number, end = self._send(method, params), time.monotonic() + _ANSWER_S
        while True:
            told = self._next(end)
            if told.get("id") == number:
                assert "error" not in told, told
                return told["result"]
            self._note(told)

    def _next(self, end: float) -> Any:
        while b"\0" not in self._left:
            ready, _, _ = select.select([self._in], [], [], max(0.0, end - time.monotonic()))
            assert ready, "the browser does not answer"
            piece = os.read(self._in, 1 << 16)
            assert piece, "the browser is gone"
            self._left += piece
        told, _, self._left = self._left.partition(b"\0")
        return json.loads(told)

    def _note(self, told: Any) -> None:
        """Keep what the page does wrong: errors of its script, and what its policy forbids."""
        if told.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(str(told["params"]["exceptionDetails"]))
        elif told.get("method") == "Log.entryAdded" and told["params"]["entry"]["source"] != "network":
            self.complaints.append(told["params"]["entry"]["text"])
