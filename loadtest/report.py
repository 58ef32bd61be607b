"""Shows a run to people and keeps it as JSON. Nothing is measured or judged here."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from rich.console import Console
from rich.table import Table

from loadtest.cells import (
    CLOSED,
    DURABLE,
    ECHO,
    HTTP,
    LIMITS,
    METER,
    OPEN,
    PARTS,
    POSTGRES,
    POSTGRES_RELAXED,
    RESERVE,
    SCRIPTS,
)
from loadtest.summary import Row, Summary
from loadtest.verdicts import Verdict

RESULTS = Path(__file__).parent / "results"
_WIDTH = 132
_SPENT = ("gateway", "worker meter", "echo", "redis", "flusher", "postgres", "worker raw")


def keep(summary: Summary, verdicts: Sequence[Verdict], directory: Path) -> Path:
    """Write everything to a file of its own; give its path."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{time.strftime('%Y-%m-%dT%H%M%S')}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode({"run": summary, "verdicts": verdicts})))
    return path


def show(summary: Summary, verdicts: Sequence[Verdict]) -> None:
    """Print the tables of a run."""
    console = Console(width=_WIDTH, highlight=False)
    for name, text in {**summary.machine, **summary.servers}.items():
        console.print(f"{name:>10}  {text}")
    for section in (
        _scripts(summary),
        _capacity(summary),
        _latency(summary),
        _peers(summary),
        _durability(summary),
        _parts(summary),
        _spent(summary),
        _layers(summary),
        _memory(summary),
        _verdicts(verdicts),
    ):
        console.print(f"\n[bold]{section.title}[/bold]")
        console.print(section.table)


class _Section(NamedTuple):
    title: str
    table: Table


def _section(title: str, *columns: str) -> _Section:
    table = Table(box=None, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", no_wrap=True)
    return _Section(title, table)


def _scripts(summary: Summary) -> _Section:
    title = "A full reserve inside the server, µs (undisturbed: the quietest tenth of the batches)"
    section = _section(title, "server", "median", "undisturbed", "with key: median", "undisturbed")
    for row in summary.scripts:
        times = (row.median_us, row.quiet_us, row.keyed_median_us, row.keyed_quiet_us)
        section.table.add_row(row.server, *(f"{us:.1f}" for us in times))
    return section


def _capacity(summary: Summary) -> _Section:
    title = "Reserves per second, closed loop; with an idempotency key where it says so"
    columns = ("on", "clients", "scripts", "Meter", "of scripts", "HTTP", "of echo", "echo")
    section = _section(title, *columns)
    for row in summary.rows:
        if row.subject == SCRIPTS and row.loop == CLOSED:
            cell = row.cell
            meter, http = cell.beside(METER), cell.beside(HTTP)
            echo = cell.beside(ECHO)._replace(keyed=False)
            section.table.add_row(
                _accounts(row) + (", keyed" if row.keyed else ""),
                str(row.clients),
                _rate(row),
                _rate(summary.find(meter)),
                _share(summary.ratio(meter, cell)),
                _rate(summary.find(http)),
                _share(summary.ratio(http, echo)),
                _rate(summary.find(echo)),
            )
    return section


def _latency(summary: Summary) -> _Section:
    title = "Latency of a reserve from its scheduled time, ms: arrivals at half of what the closed loop did"
    section = _section(title, "who", "on", "clients", "arrivals/s", "p50", "p99", "p99.9")
    for row in summary.rows:
        if row.loop == OPEN:
            latencies = (_ms(row.p50_ms), _ms(row.p99_ms), _ms(row.p999_ms))
            section.table.add_row(
                row.subject, _accounts(row), str(row.clients), f"{row.offered:,.0f}", *latencies
            )
    return section


def _peers(summary: Summary) -> _Section:
    section = _section(
        "Beside what else one would take", "what", "on", "clients", "per second", "Meter", "Meter of it"
    )
    for row in summary.rows:
        if row.subject in {LIMITS, POSTGRES, POSTGRES_RELAXED}:
            ours = row.cell.beside(METER)
            what = {LIMITS: "a check: limits, moving window"}.get(
                row.subject, f"reserve + commit: {row.subject}"
            )
            share = summary.ratio(ours, row.cell)
            shown = "-" if share is None else f"{share:.1f}"
            section.table.add_row(
                what, _accounts(row), str(row.clients), _rate(row), _rate(summary.find(ours)), shown
            )
    return section


def _durability(summary: Summary) -> _Section:
    title = "A reserve through the Meter by durability, closed loop; latency in ms"
    section = _section(title, "durability", "on", "clients", "per second", "of journal", "p50", "p99")
    for row in summary.rows:
        if row.verb == DURABLE:
            share = summary.ratio(row.cell, row.cell._replace(durability="journal"))
            section.table.add_row(
                row.durability,
                _accounts(row),
                str(row.clients),
                _rate(row),
                "-" if share is None else f"{share:.3f}",
                _ms(row.p50_ms),
                _ms(row.p99_ms),
            )
    return section


def _parts(summary: Summary) -> _Section:
    title = "A reserve by legs and by limits of the first, closed loop; latency in ms"
    section = _section(
        title, "who", "legs", "limits", "on", "clients", "per second", "of one leg", "p50", "p99"
    )
    for row in summary.rows:
        if row.verb == PARTS:
            share = summary.ratio(row.cell, row.cell._replace(legs=1, limits=0))
            section.table.add_row(
                row.subject,
                str(row.legs),
                str(row.limits),
                _accounts(row),
                str(row.clients),
                _rate(row),
                "-" if share is None else f"{share:.3f}",
                _ms(row.p50_ms),
                _ms(row.p99_ms),
            )
    return section


def _spent(summary: Summary) -> _Section:
    title = (
        "Processor time of a reserve until it is in the ledger, µs by process (closed loop, many accounts)"
    )
    section = _section(title, "who", "clients", *_SPENT, "entries behind", "caught up in")
    for row in summary.rows:
        many = row.accounts > 1 and row.loop == CLOSED and row.verb == RESERVE
        if many and row.subject in {SCRIPTS, METER, HTTP, ECHO}:
            spent = (f"{row.spent_us[name]:.0f}" for name in _SPENT)
            section.table.add_row(
                row.subject, str(row.clients), *spent, f"{row.lag:,}", f"{row.drain_s:.2f} s"
            )
    return section


def _layers(summary: Summary) -> _Section:
    section = _section("Python's part of one HTTP reserve, layer by layer and alone, µs", "layer", "µs")
    for name, us in summary.layers_us.items():
        section.table.add_row(name, f"{us:.2f}")
    section.table.add_row("together", f"{sum(summary.layers_us.values()):.2f}")
    return section


def _memory(summary: Summary) -> _Section:
    servers = list(summary.memory)
    section = _section("Bytes of Redis for each", "what", *servers)
    weights = list(summary.memory.values())
    for name in weights[0].by_difference:
        section.table.add_row(name, *(f"{found.by_difference[name]:.0f}" for found in weights))
    for name in weights[0].by_key:
        section.table.add_row(
            f"MEMORY USAGE of a key {name}:…", *(str(found.by_key[name]) for found in weights)
        )
    return section


def _verdicts(verdicts: Sequence[Verdict]) -> _Section:
    section = _section("Targets", "target", "bound", "found", "")
    words = {True: "kept", False: "MISSED", None: "not measured"}
    for verdict in verdicts:
        found = "-" if verdict.found is None else f"{verdict.found:.2f}"
        section.table.add_row(verdict.target, f"{verdict.bound:g}", found, words[verdict.kept])
    return section


def _accounts(row: Row) -> str:
    return "one account" if row.accounts == 1 else f"{row.accounts:,} accounts"


def _rate(row: Row | None) -> str:
    return "-" if row is None else f"{row.rate:,.0f}"


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.2f}"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
