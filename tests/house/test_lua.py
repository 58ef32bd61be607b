"""Scripts do what their headers say: keys, arguments, replies, errors, fragments; and nothing forbidden."""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from contextlib import suppress
from datetime import date
from typing import Any

import pytest
from fake_ledger import FakeFence, FakeLedger, duplicate_of
from lua_source import BUILT_IN, free_names, header, key_arguments, parts, steps, tokens
from msgspec.structs import replace
from servers_under_test import FakeServer

from gateway.domain.entries import Position
from gateway.domain.holds import Shared, hold_id_of
from gateway.domain.limits import Limit
from gateway.domain.names import shard_of
from gateway.errors import MeterValidationError
from gateway.protocols import Call
from gateway.seams.periods import PeriodTerms
from gateway.seams.reconcile import Repair
from gateway.seams.shards import SettledHolds
from gateway.store.auditor import RedisAuditor
from gateway.store.calls import Calls
from gateway.store.decider import RedisDecider
from gateway.store.first_answers import FirstAnswers
from gateway.store.inspecting import Inspector
from gateway.store.journal import RedisJournal
from gateway.store.keys import ShardKeys
from gateway.store.loading import Loader
from gateway.store.pipeline import Link, Word
from gateway.store.scripts import fragment, joined, scripts, shebang_of, source, verbs
from gateway.store.shards import RedisShards
from gateway.store.undoer import RedisUndoer
from gateway.store.witness import Witness, of_replicas

ROWS = ["KEYS", "ARGV", "RETURNS", "ERRORS", "USES", "COST"]
OPTIONAL = "FLAGS"
FLAGS = {"allow-oom", "no-writes"}
FRAGMENTS = sorted({name for verb in verbs() for name in steps(verb)})

# Names that stand for numbers in these scripts; a number leaves through text(), never through '..'.
NUMBER = re.compile(
    r"(?:\w+\.)?(?:balance|reserved|size|held|count|now|last_ms|expires_ms|first_ms|next_ms|short|i|j)|\d.*|#.*"
)


@pytest.mark.parametrize("verb", verbs())
def test_a_header_has_a_sentence_and_its_rows_in_order(verb: str) -> None:
    found = header(source(verb))
    assert re.match(r"[A-Z].*\.$", found.sentence), found.sentence
    assert [row for row in found.rows if row != OPTIONAL] == ROWS
    assert all(found.rows[row] for row in ROWS if row != "USES")
    flags = found.rows.get(OPTIONAL, "")
    assert set(filter(None, flags.split(","))) <= FLAGS
    assert shebang_of(verb) == (f"#!lua flags={flags}\n" if flags else "#!lua\n")


@pytest.mark.parametrize("name", FRAGMENTS)
def test_a_fragment_says_what_it_gives_and_uses(name: str) -> None:
    found = header(fragment(name))
    assert re.match(r"[A-Z].*\.$", found.sentence), found.sentence
    assert found.rows
    assert [row for row in ("GIVES", "ANSWERS", "USES") if row in found.rows] == list(found.rows)


@pytest.mark.parametrize("verb", verbs())
def test_uses_names_the_steps_in_order_and_each_has_what_it_needs(verb: str) -> None:
    assert header(source(verb)).rows["USES"].split() == steps(verb)
    for place, name in enumerate(steps(verb)):
        needed = header(fragment(name)).rows.get("USES", "").split()
        assert set(needed) <= set(steps(verb)[:place]), f"{verb}: {name} comes before what it uses"


def test_every_fragment_is_used() -> None:
    from importlib.resources import files

    names = {entry.name.removesuffix(".lua") for entry in files("lua").joinpath("fragments").iterdir()}
    assert names == set(FRAGMENTS)


@pytest.mark.parametrize("verb", verbs())
@pytest.mark.parametrize("row", ["KEYS", "ARGV"])
def test_the_body_uses_what_the_header_counts(verb: str, row: str) -> None:
    shape, text = header(source(verb)).shape(row), joined(verb)
    used = {int(number) for number in re.findall(rf"\b{row}\[(\d+)\]", text)}
    assert max(used, default=0) <= shape.fixed + shape.optional + shape.group
    if f"#{row}]" in text:
        assert (shape.optional, header(source(verb)).rows[row].split()[-1]) == (1, "[seen]")
    for start, step in re.findall(rf"for \w+ = (\d+), #{row}(?:, (\d+))?", text):
        assert (int(start), int(step or 1)) == (shape.fixed + 1, shape.group)
    for subtracted in re.findall(rf"#{row} - (\d+)", text):
        assert int(subtracted) == shape.fixed


@pytest.mark.parametrize("verb", verbs())
def test_the_body_says_the_words_the_header_lists(verb: str) -> None:
    said = set()
    for text in parts(verb):
        said |= set(re.findall(r"(?:return|(?:answer|done) =|or) \{'([A-Z]+)'", text))
    if re.search(r"^answer = \{", source(verb), re.MULTILINE):
        said.discard("AGAIN")  # what it says, it says whatever was decided before
    assert said == set(header(source(verb)).replies())


@pytest.mark.parametrize("verb", verbs())
def test_error_replies_are_in_the_header(verb: str) -> None:
    errors = set(re.findall(r"error_reply\('([A-Z]+) ", joined(verb)))
    told = header(source(verb)).rows["ERRORS"]
    assert errors == set(re.findall(r"\b[A-Z]{4,}\b", told)) - {"XADD"}
    writes_entries = "'XADD'" in joined(verb)
    assert ("XADD" in told) <= writes_entries
    assert errors or writes_entries or told == "none"


@pytest.mark.parametrize("verb", verbs())
def test_nothing_global_is_made_or_missed(verb: str) -> None:
    assert free_names(joined(verb)) <= BUILT_IN


def test_the_check_for_globals_sees_them() -> None:
    assert free_names("local a = 1 b = a") == {"b"}
    assert free_names("for k, v in ipairs(t) do x.y = k end") == {"ipairs", "t", "x"}
    assert free_names("function f(a) return a end") == {"f"}
    assert free_names("local t = {id = id, ['k'] = 2, f(3)}") == {"id", "f"}
    assert free_names("local function f(a, b) return a end local c, d, e = f(1)") == set()


@pytest.mark.parametrize("verb", verbs())
def test_numbers_leave_through_text_alone(verb: str) -> None:
    words = tokens(joined(verb))
    assert "tostring" not in words
    assert not re.search(r"tonumber\([^()]*(?:\([^()]*\))?[^()]*\) *\.\.|\.\. *tonumber", joined(verb))
    for left, right in re.findall(r"([\w.#\[\]]+) *\.\. *([\w.#\[\]]*)", joined(verb)):
        assert not NUMBER.fullmatch(left), f"{left} is a number and is joined as it is"
        assert not NUMBER.fullmatch(right), f"{right} is a number and is joined as it is"


@pytest.mark.parametrize("verb", verbs())
def test_every_key_is_one_of_keys_or_of_their_shard(verb: str) -> None:
    text = joined(verb)
    for expression in key_arguments(verb):
        if re.match(r"KEYS\[|prefix \.\.", expression):
            continue
        name = expression.rpartition(".")[2]
        made = re.findall(rf"\b{name}(?:, \w+)* = ([^\n,]+)", text)
        assert made, f"{verb}: where does {expression} come from?"
        assert all(re.match(r"prefix \.\.|KEYS\[|key\b", origin) for origin in made), (expression, made)
    if "prefix" in text:
        assert "local prefix = string.sub(KEYS[3], 1, -4)" in text


@pytest.mark.parametrize("verb", verbs())
def test_nothing_the_servers_do_not_share_is_used(verb: str) -> None:
    words = set(tokens(joined(verb)))
    assert not words & {
        "cmsgpack",
        "cjson",
        "struct",
        "bit",
        "sha1hex",
        "pcall",
        "loadstring",
        "setmetatable",
    }
    assert "'MAXLEN'" not in words
    assert not re.search(r"'XADD', KEYS\[\d\], '\*'", joined(verb))


@pytest.mark.parametrize("verb", verbs())
def test_comments_and_headers_are_not_sent(verb: str) -> None:
    assert "--" not in joined(verb)
    assert joined(verb).strip()


class Recorder:
    """Passes calls on, and remembers each script's keys, arguments and reply by verb."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._verbs = {script.sha: verb for verb, script in scripts(shebang=False).items()}
        self._verbs |= {script.text: verb for verb, script in scripts(shebang=False).items()}
        self.calls: dict[str, list[tuple[int, int, Any]]] = defaultdict(list)

    def call(self, *words: Word) -> asyncio.Future[Any]:
        return asyncio.ensure_future(self._call(words))

    async def _call(self, words: tuple[Word, ...]) -> Any:
        reply = await self._link.call(*words)
        if words[0] in {"EVALSHA", "EVAL"}:
            keys = int(words[2])
            self.calls[self._verbs[str(words[1])]].append((keys, len(words) - 3 - keys, reply))
        return reply

    async def pinned(self) -> Link:
        return self

    async def close(self) -> None:
        await self._link.close()


async def _several_legs(decider: RedisDecider, legs: list[tuple[str, int]]) -> None:
    """Ask what only a hold of several legs, or of another rule, is told."""
    call, hold_id = Call("acme", None, "", b""), hold_id_of([0, 0], "0" * 24, "deny")
    await decider.check("acme", legs)
    await decider.check("acme", [(legs[0][0], 1000)])
    await decider.reserve(call, hold_id, 1000, legs)
    await decider.commit(call, hold_id, [2, 1])
    for verb in (
        decider.commit(call, hold_id, [1, Shared(1)]),
        decider.extend(call, hold_id, 2000, [1, Shared(1)]),
    ):
        with pytest.raises(MeterValidationError):
            await verb


async def _periods(decider: RedisDecider) -> None:
    """Call the verbs of periods: on an unknown account, for the first time, once more, and by schedule."""
    account, call = "carol:llm:tokens:", Call("acme", None, "", b"")
    assert await decider.close_period(call, account, date(2026, 1, 31)) is None
    for allocation in (0, 5):
        terms = PeriodTerms(date(2026, 1, 1), allocation, 0, "month", "UTC", 1_767_225_600_000)
        await decider.set_period(call, account, terms)
        with suppress(MeterValidationError):
            await decider.open_period(call, account, date(2099, 1, 1), None)
    for day in (date(2099, 1, 1), date(2098, 1, 1)):
        await decider.open_period(call, account, day, 7)
        await decider.close_period(call, account, day)


async def _every_verb(decider: RedisDecider, one: str, two: str) -> None:
    """Call what changes one account or two, with a key and without."""
    for key in (None, "k"):
        call = [
            Call("acme", key and f"{key}{n}", "f" if key else "", b"{}" if key else b"") for n in range(9)
        ]
        for account in (one, two):
            await decider.allocate(replace(call[0], key=key and account), account, 100)
        await decider.adjust(call[1], one, -1)
        await decider.consume(call[2], one, 1, check=True)
        await decider.consume(replace(call[2], key=None), one, 1000, check=True)
        await decider.reserve(call[3], f"a{key}", 1000, [(one, 1)])
        await decider.reserve(call[4], f"b{key}", 1000, [(one, 1), (two, 1)])
        await decider.reserve(call[5], f"c{key}", 1000, [(one, 1), (two, 1)])
        await decider.extend(call[6], f"b{key}", 2000, [1, 0])
        await decider.commit(call[7], f"b{key}", [1, 1])
        await decider.commit(call[7], f"b{key}", [1, 1])
        await decider.release(call[8], f"c{key}")
        await decider.release(replace(call[8], key=None), f"c{key}")


@pytest.fixture(scope="module")
async def recorded() -> dict[str, list[tuple[int, int, Any]]]:
    """Every script as the store calls it: with and without keys, one leg and two, found and not found."""
    texts = scripts(shebang=False)
    link = Recorder(FakeServer().link())
    shard, now = shard_of("acme"), [4_000_000_000_000]
    ledger, fence = FakeLedger(), FakeFence(link, texts, [shard])
    loader = Loader(link, texts, ledger, absent_ttl_ms=1000, settled_ms=1000)
    calls = Calls(link, texts, fence, loader, lambda: now[0])
    decider = RedisDecider(calls, FirstAnswers(ledger, 1), seen_ms=1000)
    await RedisShards(link, texts).close([shard])
    await RedisShards(link, texts).open({shard: Position(1, -1)})
    one, two = "alice:llm:tokens:", ":llm:usd:"
    await _every_verb(decider, one, two)
    await _several_legs(decider, [(one, 1), (two, 1)])
    await _limit(decider, one)
    await _periods(decider)
    await decider.standing("acme", one)
    await decider.look("acme", "aNone")
    await decider.look("acme", "unknown")
    auditor = RedisAuditor(calls)
    audit = await auditor.audit("acme", [one, two])
    await auditor.audit("acme", ["nobody:x:y:"])
    stray = await auditor.audit_holds("acme", [(one, "stray"), (two, "stray")])
    await auditor.audit_holds("acme", [("nobody:x:y:", "stray")])
    holds = [(told, None) for told in stray[1][:1]] if stray else []
    repair = Repair(audit, one, 0, 0, 0, holds, b"{}") if audit else None
    for _ in range(2):
        await auditor.repair("acme", repair) if repair else None
    now[0] += 5000
    await decider.sweep(shard)
    await Witness(link, texts["mark"], lambda one: ShardKeys(one, 1), of_replicas(1, 1)).testify(shard)
    journal = RedisJournal(link, link, texts, settled_ms=1000)
    for entry in (await journal.read({shard: Position(1, -1)}, 1000, 0))[shard]:
        ledger.apply(entry)
    undoer = RedisUndoer(calls, ledger)
    for entry in [entry for entry in ledger.entries if entry.keyed]:
        duplicate = duplicate_of(ledger, entry)
        assert await undoer.undo(duplicate) is not None
        assert await undoer.undo(duplicate) is None
    await link.call("DEL", f"qg1:{{{shard:03d}}}:1:hold:acme:bk")
    await decider.look("acme", "bk")
    await journal.posted(shard, Position(1, 3), SettledHolds([("acme", "bk")], [("acme", "ck")]))
    for path in ((), ("acme:x:y:z:",)):
        await calls.run("leave", shard, "", "", ("1", "3", "0", *path), repeatable=True)
    await Inspector(calls).view(shard, Position(1, 3), [("acme", one), ("acme", "x:y:z:")], [("acme", "bk")])
    return link.calls


async def _limit(decider: RedisDecider, account: str) -> None:
    for key in (None, "limit"):
        call = Call("acme", key, "f" if key else "", b"")
        await decider.set_limit(call, account, Limit("minute", "amount", 1000, 60_000, shadow=False))
    await decider.drop_limit(Call("acme", None, "", b""), account, "day")
    await decider.limits("acme", account)


@pytest.mark.parametrize("verb", verbs())
async def test_callers_send_what_the_header_counts(
    verb: str, recorded: dict[str, list[tuple[int, int, Any]]]
) -> None:
    keys, args = header(source(verb)).shape("KEYS"), header(source(verb)).shape("ARGV")
    assert recorded[verb], f"nothing called {verb}"
    for sent_keys, sent_args, _ in recorded[verb]:
        assert keys.holds(sent_keys), f"{sent_keys} keys"
        # install's last group has a list of its own inside; its holds are four words each.
        assert args.holds(sent_args) or verb == "install", f"{sent_args} arguments"


@pytest.mark.parametrize("verb", verbs())
async def test_replies_are_as_long_as_the_header_spells_them(
    verb: str, recorded: dict[str, list[tuple[int, int, Any]]]
) -> None:
    told = header(source(verb)).replies()
    for _, _, given in recorded[verb]:
        # Where holds expired, their entries come after what the header spells.
        reply = given[: -3 - int(given[-2])] if given[-1] == "EXPIRED" else given
        assert reply[0] in told
        assert told[reply[0]] in {0, len(reply)}, reply
        assert all(isinstance(word, str) for word in reply)
