"""Notes which lines of which scripts a test runs, and how long it takes. Runs no test by itself.

A test that never runs a line cannot notice a change of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from simulation import scripting

from gateway.store.scripts import Script, scripts

# A chunk is its own source: the script's text is behind its first words, on the same line.
_SPY = """
local seen = {}
debug.sethook(function(_, line)
  local source = debug.getinfo(2, 'S').source
  seen[source] = seen[source] or {}
  seen[source][line] = true
end, 'l')
return function()
  local told = seen
  seen = {}
  return told
end
"""


class Trace(NamedTuple):
    """What a test did without any change: the lines of each verb's text that it ran, and its CPU seconds."""

    failed: bool
    lines: dict[str, list[int]]
    cpu_s: float

    def runs_line(self, places: Mapping[str, int]) -> bool:
        """Say whether it ran one of the lines, of which each verb has one."""
        return any(line in self.lines.get(verb, ()) for verb, line in places.items())

    def runs(self, places: Mapping[str, int]) -> bool:
        """Say whether it ran one of the verbs at all."""
        return any(verb in self.lines for verb in places)


class Spy:
    """Looks on while scripts run, from now on, in this process."""

    def __init__(self) -> None:
        self._drain = scripting.engine().execute(_SPY)
        self._verbs = {script.text: verb for verb, script in scripts(shebang=False).items()}

    def trace(self, fails: Callable[[], bool]) -> Trace:
        """Run a test; tell what it did."""
        self._drain()
        began_s = time.process_time()
        failed = fails()
        spent_s = time.process_time() - began_s
        return Trace(failed, self._lines(self._drain()), spent_s)

    def _lines(self, told: Any) -> dict[str, list[int]]:
        texts = {scripting.text_of(source): sorted(lines) for source, lines in told.items()}
        return {self._verbs[text]: lines for text, lines in texts.items() if text in self._verbs}


def places(changed: Mapping[str, Script]) -> dict[str, int]:
    """Give each verb whose text is changed, with the number of the line that is."""
    known = scripts(shebang=False)
    return {
        verb: _first_other(known[verb].text, script.text)
        for verb, script in changed.items()
        if script.text != known[verb].text
    }


def _first_other(before: str, after: str) -> int:
    lines = zip(before.split("\n"), after.split("\n"), strict=False)
    return next(number for number, (old, new) in enumerate(lines, 1) if old != new)
