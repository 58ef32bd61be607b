"""What keeps us from each failure that others had, how it is taken out, and the test that must miss it.

The table is that of docs/guarantees.md, in its order. Nothing is run here.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Edit(NamedTuple):
    """A piece of text that is replaced wherever it stands in the files of this pattern."""

    files: str
    before: str
    after: str


class Protection(NamedTuple):
    """What is taken out.

    Attributes:
        failure: how the row of the table begins.
        sentence: what the product does then.
        edits: what is changed for that.
        test: what must fail, as pytest names it; without parameters it is run with each.
    """

    failure: str
    sentence: str
    edits: tuple[Edit, ...]
    test: str


_POSTING = "            watermarks = await self._insist(self._poster.post, batches, dict(self._fences))\n"
_CONSUMING = (
    '        reply = await self._change("consume", call, "", account, amount, int(check), call.body)\n'
)
_INSTALLS_ALWAYS = Edit("lua/install.lua", "local fresh = call('EXISTS', key) == 0", "local fresh = true")
_ANY_JOURNAL = Edit(
    "persistence/fence.py", "return needed.seq < 0 or state.head >= needed", "return needed is not None"
)

PROTECTIONS = (
    Protection(
        "Several processes fill an empty counter",
        "a load overwrites what is there",
        (_INSTALLS_ALWAYS,),
        "tests/store/test_script_loading.py::test_racing_loaders_install_once[fakeredis]",
    ),
    Protection(
        "A hold leaks",
        "holds do not expire",
        (
            Edit(
                "lua/fragments/expiry.lua", "if owner.next_ms and owner.next_ms <= now then", "if false then"
            ),
            Edit("tests/scenarios/test_failures_of_others.py", "BOUND_S = 20.0", "BOUND_S = 5.0"),
        ),
        "tests/scenarios/test_failures_of_others.py::test_a_caller_that_hangs_up_leaves_no_hold_behind",
    ),
    Protection(
        "A queue is popped",
        "the journal is told that entries are posted before they are",
        (Edit("persistence/flusher.py", _POSTING, f"            await self._note(batches)\n{_POSTING}"),),
        "tests/persistence/test_flusher.py::test_a_crash_between_posting_and_noting_is_made_good",
    ),
    Protection(
        "A deadlock drops",
        "a posting that the database ends is taken for posted",
        (
            Edit(
                "persistence/flusher.py",
                _POSTING,
                "            try:\n"
                "                watermarks = await self._poster.post(batches, dict(self._fences))\n"
                "            except MeterUnavailableError:\n"
                "                watermarks = {shard: e[-1].position for shard, e in batches.items()}\n",
            ),
        ),
        "tests/persistence/test_deadlock.py::test_a_deadlock_drops_nothing",
    ),
    Protection(
        "Only the first rows",
        "the watermark passes a batch of which the ledger has the first lines",
        (
            Edit(
                "persistence/postings.py",
                "(entry, leg, extras, event_ms) in self.booked.items():",
                "(entry, leg, extras, event_ms) in list(self.booked.items())[:20]:",
            ),
        ),
        "tests/persistence/test_flusher.py::test_all_shards_share_transactions_of_bounded_size",
    ),
    Protection(
        "Checked first and charged later",
        "a consumption asks first whether there is enough, and is then carried out whatever there is",
        (
            Edit(
                "gateway/store/decider.py",
                _CONSUMING,
                "        checked = await self.check(call.namespace, [(account, amount)])\n"
                "        if check and checked.denied is not None:\n"
                "            return checked.denied\n" + _CONSUMING.replace("int(check)", "0"),
            ),
        ),
        "tests/contracts/test_contract_concurrency.py::test_checked_consumption_never_overdraws[in_process]",
    ),
    Protection(
        "A reset overwrites",
        "what a slow load read takes the place of what was spent since",
        (_INSTALLS_ALWAYS,),
        "tests/store/test_store_loading.py::test_a_slow_load_does_not_undo_what_a_quick_one_began[fakeredis]",
    ),
    Protection(
        "32 bits overflow",
        "numbers leave the scripts through 32 bits, but for those that are times",
        (
            Edit(
                "lua/fragments/guard.lua",
                "local function text(number) return",
                "local function text(number)\n"
                "  if number < 1e12 then number = (number + 2147483648) % 4294967296 - 2147483648 end\n"
                "  return",
            ),
        ),
        "tests/scenarios/test_failures_of_others.py::test_numbers_pass_the_edges_of_shorter_integers[2147483648]",
    ),
    Protection(
        "A stale snapshot is trusted",
        "the fence does not ask how far a journal goes",
        (_ANY_JOURNAL,),
        "tests/persistence/test_fence.py::test_what_may_have_lost_something_gets_a_new_epoch",
    ),
    Protection(
        "A call is repeated after the deduplication window",
        "nobody undoes a duplicate",
        (
            Edit(
                "gateway/store/undoer.py",
                'return None if pending else ("REPLAYED",)',
                'return ("REPLAYED",) if pending else None',
            ),
        ),
        "tests/store/test_store_late_repeats.py::test_each_call_counts_once_in_the_end[fakeredis]",
    ),
    Protection(
        "Ids below the reader's cursor",
        "an epoch goes on, whatever its journal has forgotten",
        (_ANY_JOURNAL,),
        "tests/scenarios/test_failures_of_others.py"
        "::test_an_older_redis_is_not_believed_and_its_ids_are_not_given_again",
    ),
)
# These need no server: they are tried with every run of the tests.
QUICK = tuple(
    protection
    for protection in PROTECTIONS
    if protection.test.endswith("[fakeredis]") or protection.failure == "A stale snapshot is trusted"
)


def apply(edits: tuple[Edit, ...], root: Path) -> None:
    """Make the edits below a directory. Raises ValueError for one whose text is not there."""
    for files, before, after in edits:
        met = [path for path in sorted(root.glob(files)) if before in path.read_text(encoding="utf-8")]
        if not met:
            raise ValueError(f"{files} has no {before!r}")
        for path in met:
            path.write_text(path.read_text(encoding="utf-8").replace(before, after), encoding="utf-8")
