"""Runs the rounds: measures cell by cell, on servers that are fresh in every round. Judges nothing."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import msgspec

from gateway.servers import redis_providers, start_redis
from loadtest.bare import Bare, ScriptTimes, Weights
from loadtest.cells import (
    CHECK,
    CLOSED,
    DURABLE,
    ECHO,
    HTTP,
    LIMITS,
    METER,
    OPEN,
    PAIR,
    PARTS,
    POSTGRES,
    RESERVE,
    SCRIPTS,
    Cell,
    groups_of,
    turns_of,
)
from loadtest.durability import LEVELS, is_there, prepared
from loadtest.layers import layer_times
from loadtest.scene import Scene, open_scene
from loadtest.sizes import Sizes
from loadtest.tally import Figures, Window

# An open loop offers this share of what the closed loop before it could do.
OPEN_SHARE = 0.5

_VERBS = {RESERVE: "reserve", CHECK: "check", PAIR: "pair", DURABLE: "reserve", PARTS: "reserve"}
_SCRIPT_CONNECTIONS = 4
_SEEDS = 10_000  # more than there are measurements in a round

Tell = Callable[[str], None]


class Sample(NamedTuple):
    """One cell in one turn of one round.

    Attributes:
        figures: what the loop found.
        lag: entries that were not in the ledger when the load ended.
        drain_s: seconds until they were.
        spent_us: microseconds of processor time per call, by process, until then.
        offered: arrivals per second of an open loop.
    """

    figures: Figures
    lag: int
    drain_s: float
    spent_us: dict[str, float]
    offered: float | None


class Results(NamedTuple):
    """All of a run. Lists have one member per round, those of samples one per turn of each."""

    servers: dict[str, str]
    scripts: dict[str, list[ScriptTimes]]
    samples: dict[Cell, list[Sample]]
    layers: list[dict[str, float]]
    weights: dict[str, Weights]


def run(sizes: Sizes, tell: Tell, redis_server: Path | None = None) -> Results:
    """Measure everything; ``redis_server`` is the program that decides, None takes the first one found."""
    results = Results({}, defaultdict(list), defaultdict(list), [], {})
    with _bare_servers() as bare:
        for number in range(sizes.rounds):
            tell(f"round {number + 1} of {sizes.rounds}: scripts inside each server")
            for name, server in bare.items():
                results.scripts[name].append(server.script_times(sizes.batches, sizes.batch_calls))
            results.layers.append(layer_times(sizes.layer_calls))
            with open_scene(redis_server) as scene:
                _round(scene, sizes, results, number, tell)
        tell("memory")
        for name, server in bare.items():
            results.weights[name] = server.weights(sizes.memory)
    return results


@contextmanager
def _bare_servers() -> Iterator[Mapping[str, Bare]]:
    """Start every Redis and Valkey of this machine, each of a kind and version once."""
    with ExitStack() as opened:
        started: dict[str, Bare] = {}
        for provider in redis_providers():
            if provider.name not in started:
                directory = opened.enter_context(tempfile.TemporaryDirectory(prefix="qg-load-"))
                server = start_redis(provider, Path(directory) / "data")
                opened.callback(server.stop)
                started[provider.name] = Bare(server.url)
                opened.callback(started[provider.name].close)
        yield started


def _round(scene: Scene, sizes: Sizes, results: Results, number: int, tell: Tell) -> None:
    results.servers.update(decides=scene.redis_name, remembers=scene.database_name)
    seeds = count(number * _SEEDS)
    groups = [[cell for cell in group if is_there(scene, cell.durability)] for group in groups_of(sizes)]
    for index, group in enumerate(groups):
        place = f"round {number + 1} of {sizes.rounds}, {index + 1} of {len(groups)}"
        funded: dict[Cell, int] = {}
        for turn in range(turns_of(group, sizes)):
            for cell in group:
                tell(f"{place}, turn {turn + 1}: {cell.subject} {cell.verb}")
                if turn == 0 or cell.keyed:  # a key is new only to a namespace that has not met it
                    funded[cell] = next(seeds)
                    _fund(scene, cell, funded[cell])
                offered = _offered(results, cell) if cell.loop == OPEN else None
                with prepared(scene, cell.durability):
                    sample = _measure(scene, cell, sizes, offered, funded[cell])
                results.samples[cell].append(sample)


def _fund(scene: Scene, cell: Cell, seed: int) -> None:
    """Make the accounts of a cell, in a namespace that nobody has used before."""
    if cell.subject in {SCRIPTS, METER, HTTP}:
        accounts = {"accounts": cell.accounts, "legs": cell.legs, "limits": cell.limits}
        scene.workers["meter"].do(verb="fund", namespace=_namespace(seed), **accounts)
        scene.drained(_namespace(seed))


def _namespace(seed: int) -> str:
    return f"load-{seed}"


def _offered(results: Results, cell: Cell) -> float:
    """Give the arrivals per second of an open loop, by what its closed loop did."""
    closed = results.samples[cell._replace(loop=CLOSED)]
    return max(1.0, OPEN_SHARE * median(sample.figures.rate for sample in closed))


def _measure(scene: Scene, cell: Cell, sizes: Sizes, offered: float | None, seed: int) -> Sample:
    """Measure one turn of a cell on its accounts."""
    seconds = sizes.seconds if offered is None else sizes.open_seconds
    if cell.verb == DURABLE:
        seconds = sizes.durable_seconds
    window = Window(cell.clients, sizes.warm_seconds, seconds, offered)
    namespace = _namespace(seed)
    job = {"window": window, "seed": seed, "accounts": cell.accounts, "keyed": cell.keyed}
    before = scene.spent()
    figures = msgspec.convert(_LOADS[cell.subject](scene, cell, job | {"namespace": namespace}), Figures)
    lag = scene.lag(namespace)
    drain_s = scene.drained(namespace)
    after = scene.spent()
    spent_us = {name: 1e6 * (after[name] - before[name]) / max(1, figures.made) for name in after}
    return Sample(figures, lag, drain_s, spent_us, offered)


def _load_scripts(scene: Scene, _cell: Cell, job: dict[str, Any]) -> Any:
    return scene.workers["raw"].do(
        dialect="script", url=scene.redis_url, connections=_SCRIPT_CONNECTIONS, **job
    )


def _load_meter(scene: Scene, cell: Cell, job: dict[str, Any]) -> Any:
    level = LEVELS[cell.durability].durability
    return scene.workers["meter"].do(verb=_VERBS[cell.verb], durability=level, legs=cell.legs, **job)


def _load_http(scene: Scene, cell: Cell, job: dict[str, Any]) -> Any:
    asked = {"url": scene.gateway_url, "proof": '"granted":true', "legs": cell.legs}
    return scene.workers["raw"].do(dialect="http", **asked, **job)


def _load_echo(scene: Scene, _cell: Cell, job: dict[str, Any]) -> Any:
    return scene.workers["raw"].do(dialect="http", url=scene.echo_url, proof='"amount":1', **job)


def _load_limits(scene: Scene, _cell: Cell, job: dict[str, Any]) -> Any:
    return scene.workers["limits"].do(**job)


def _load_postgres(scene: Scene, cell: Cell, job: dict[str, Any]) -> Any:
    return scene.workers["postgres"].do(durable=cell.subject == POSTGRES, **job)


_LOADS = defaultdict(
    lambda: _load_postgres,
    {SCRIPTS: _load_scripts, METER: _load_meter, HTTP: _load_http, ECHO: _load_echo, LIMITS: _load_limits},
)
