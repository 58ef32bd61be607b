"""Random calls of every script on one shard, as the rooms make them and a little beyond. Runs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from gateway.store.keys import SCHEMA, ShardKeys

Words = tuple[str, ...]

START_MS = 4_000_000_000_000
_NAMESPACES = ("acme", "b%20c")
_ACCOUNTS = ("a:llm:tokens:", "b:llm:usd:x", ":llm:tokens:")
_LARGE = str(2**53 - 1)


class Caller:
    """Makes calls that mostly make sense: time goes on, holds exist, keys come again."""

    def __init__(self, chance: Random, shas: dict[str, str], open_text: str) -> None:
        self._chance = chance
        self._shas = shas
        self._open_text = open_text
        self._at_ms = START_MS
        self._epoch = 1
        self._made = 0

    def calls(self, count: int) -> Iterator[Words]:
        """Give so many commands, the first of which opens the shard."""
        keys = ShardKeys(1, 0)
        yield ("EVAL", self._open_text, "2", keys.meta, keys.journal, "1", "-1", SCHEMA)
        for _ in range(count):
            yield self._one(keys)

    def _one(self, whole: ShardKeys) -> Words:
        chance = self._chance
        if chance.random() < 0.02:
            self._epoch += chance.choice((0, 1))
            return ("EVAL", self._open_text, "2", whole.meta, whole.journal, str(self._epoch), "-1", SCHEMA)
        if chance.random() < 0.5:
            self._at_ms += chance.choice((0, 1, 400, 3000, 70_000))
        keys = ShardKeys(1, self._epoch if chance.random() < 0.97 else self._epoch + 1)
        verb = chance.choice(list(_VERBS))
        hold, args = _VERBS[verb](self, chance)
        names = [keys.meta, keys.journal] + ([] if verb == "posted" else [keys.due])
        namespace = "" if verb in {"posted", "sweep"} else chance.choice(_NAMESPACES)
        if hold and verb != "posted":
            names.append(f"{keys.hold_prefix}{namespace}:{hold}")
        elif hold:
            names += [f"{keys.hold_prefix}{ns}:{hold}" for ns in _NAMESPACES]
        words = [keys.epoch, str(self._at_ms), *([namespace] if namespace else []), *args]
        if verb in _CHANGES:
            key = f"k{chance.randrange(6)}" if chance.random() < 0.3 else ""
            words[3:3] = [f"f{chance.randrange(3)}" if key else "", "5000"]
            if key:
                names.append(f"{keys.seen_prefix}{namespace}:{key}")
        return ("EVALSHA", self._shas[verb], str(len(names)), *names, *words)

    def amount(self) -> str:
        return self._chance.choice((_LARGE, "0", *(str(n) for n in range(1, 12))))

    def hold(self, *, fresh: bool = False) -> str:
        if fresh and self._chance.random() < 0.95:
            self._made += 1
            return f"h{self._made}"
        return f"h{self._chance.randint(max(1, self._made - 5), self._made + 1)}"

    def account(self) -> str:
        return self._chance.choice(_ACCOUNTS)

    def ticket(self) -> str:
        return str(self._at_ms - self._chance.choice((0, 0, 10_000, 10_001)))

    def body(self) -> str:
        return self._chance.choice(("", '{"reason":"ü"}'))

    def legs(self) -> list[str]:
        return self._chance.sample(_ACCOUNTS, self._chance.randint(1, 3))


def _allocate(caller: Caller, _chance: Random) -> tuple[str, list[str]]:
    return "", [caller.account(), caller.amount(), caller.body()]


def _adjust(caller: Caller, chance: Random) -> tuple[str, list[str]]:
    return "", [caller.account(), chance.choice(("-", "")) + "7", caller.body()]


def _consume(caller: Caller, chance: Random) -> tuple[str, list[str]]:
    return "", [caller.account(), caller.amount(), chance.choice("01"), caller.body()]


def _reserve(caller: Caller, chance: Random) -> tuple[str, list[str]]:
    hold = caller.hold(fresh=True)
    legs = [word for account in caller.legs() for word in (account, caller.amount())]
    return hold, [hold, str(chance.choice((1, 1000, 60_000))), caller.body(), *legs]


def _numbers(caller: Caller, chance: Random) -> list[str]:
    return [caller.amount() for _ in range(chance.randint(1, 3))]


def _commit(caller: Caller, chance: Random) -> tuple[str, list[str]]:
    hold = caller.hold()
    policy = chance.choice(("charge", "refuse"))
    return hold, [hold, policy, caller.body(), *_numbers(caller, chance)]


def _release(caller: Caller, _chance: Random) -> tuple[str, list[str]]:
    hold = caller.hold()
    return hold, [hold, caller.body()]


def _extend(caller: Caller, chance: Random) -> tuple[str, list[str]]:
    hold = caller.hold()
    return hold, [hold, str(chance.choice((1, 5000))), caller.body(), *_numbers(caller, chance)]


def _look(caller: Caller, _chance: Random) -> tuple[str, list[str]]:
    hold = caller.hold()
    return hold, [hold]


def _balance(caller: Caller, _chance: Random) -> tuple[str, list[str]]:
    return "", [caller.account()]


def _sweep(_caller: Caller, chance: Random) -> tuple[str, list[str]]:
    return "", [chance.choice(("", *_NAMESPACES)), chance.choice(("1", "100"))]


def _audit(caller: Caller, _chance: Random) -> tuple[str, list[str]]:
    return "", caller.legs()


def _install(caller: Caller, chance: Random) -> tuple[str, list[str]]:
    account = caller.account()
    if chance.random() < 0.4:
        return "", [caller.ticket(), "9000", account, "0", "0", "0", "0"]
    if chance.random() < 0.6:
        return "", [caller.ticket(), "9000", account, "1", caller.amount(), "0", "0"]
    hold, amount, expires = caller.hold(fresh=True), caller.amount(), str(caller._at_ms + 500)
    terms = f"{expires} {caller._at_ms} {account} {amount}"
    return "", [caller.ticket(), "9000", account, "1", "20", amount, "1", hold, expires, terms, ""]


def _recall(caller: Caller, chance: Random) -> tuple[str, list[str]]:
    hold = caller.hold()
    terms = f"{caller._at_ms} {caller._at_ms} {caller.account()} 5"
    settled = [chance.choice(("released", "expired", "committed")), terms, str(caller._at_ms), "0", "3", ""]
    return hold, [caller.ticket(), "9000", *(["absent"] if chance.random() < 0.5 else settled)]


def _posted(caller: Caller, chance: Random) -> tuple[str, list[str]]:
    settled = [str(chance.randint(-1, 40)), "60000", chance.choice(("0", "1", "1"))]
    return caller.hold(), [*settled, chance.choice(("0", "1"))]


_VERBS = {
    "allocate": _allocate,
    "adjust": _adjust,
    "consume": _consume,
    "reserve": _reserve,
    "commit": _commit,
    "release": _release,
    "extend": _extend,
    "balance": _balance,
    "look": _look,
    "sweep": _sweep,
    "audit": _audit,
    "install": _install,
    "recall": _recall,
    "posted": _posted,
}
_CHANGES = frozenset({"allocate", "adjust", "consume", "reserve", "commit", "release", "extend"})
