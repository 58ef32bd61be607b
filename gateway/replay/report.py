"""What a person sees of a replay: progress, and the report at the end. Nothing is counted here."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from gateway.replay.audit import Finding
from gateway.replay.charts import ASCII_BLOCKS, BLOCKS, course, left_over_time, narrowed
from gateway.replay.lag import LagWatch
from gateway.replay.plan import Plan
from gateway.replay.tally import BUCKETS, Latencies, Tally, percentile
from gateway.replay.trace import Trace

_REFRESH_S = 0.1
_BESIDE_CHART = 22  # columns for names, shares and the room between them
_NARROWEST_CHART = 10


class Run(NamedTuple):
    """A run that has ended: what was replayed, what came of it, and how long it took.

    ``speed`` is 0 for full speed. ``posted_s`` is how long the ledger needed to catch up; None: too long.
    """

    trace: Trace
    plan: Plan
    tally: Tally
    lag: LagWatch
    findings: Sequence[Finding]
    speed: float
    elapsed_s: float
    posted_s: float | None

    @property
    def passed(self) -> bool:
        """Whether everything was conserved and nothing failed."""
        return not self.tally.failed and all(finding.holds for finding in self.findings)


@asynccontextmanager
async def shown_progress(console: Console, trace: Trace, tally: Tally, lag: LagWatch) -> AsyncIterator[None]:
    """Show how far the run is, for as long as the context is open."""
    columns = (
        TextColumn("[bold]replaying"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[counts]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as progress:
        bar = progress.add_task("", total=len(trace.requests), counts="")
        task = asyncio.create_task(_refresh(progress, bar, tally, lag))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])


async def _refresh(progress: Progress, bar: object, tally: Tally, lag: LagWatch) -> None:
    while True:
        behind = f"{lag.entries[-1]:,}" if lag.entries else "?"
        counts = f"granted {tally.granted:,}  denied {tally.denied:,}  lag {behind}"
        progress.update(bar, completed=tally.done, counts=counts, refresh=True)  # type: ignore[arg-type]
        await asyncio.sleep(_REFRESH_S)


def print_report(console: Console, run: Run) -> None:
    """Print what came of a run."""
    columns = max(_NARROWEST_CHART, min(BUCKETS, console.width - _BESIDE_CHART))
    plain = console.options.ascii_only
    parts: list[RenderableType] = [
        _heading(run),
        _counts(run),
        _latencies(run),
        _quota(run, columns, ASCII_BLOCKS if plain else BLOCKS),
        _conservation(run, ("ok", "NO") if plain else ("✓", "✗")),
    ]
    console.print(Group(*(Padding(part, (0, 0, 1, 0), expand=False) for part in parts)), soft_wrap=False)


def _heading(run: Run) -> RenderableType:
    return Text(f"Replay of {run.trace.path.name}", style="bold")


def _counts(run: Run) -> RenderableType:
    tally, total = run.tally, len(run.trace.requests)
    table = _grid()
    table.add_row("Requests", f"{total:,}", _pace_of(run))
    table.add_row("Granted", f"{tally.granted:,}", _share(tally.granted, total))
    table.add_row("Denied", f"{tally.denied:,}", f"{_share(tally.denied, total)}{_first_denied(run)}")
    if tally.failed:
        table.add_row("Failed", Text(f"{tally.failed:,}", style="bold red"), "; ".join(tally.failures))
    table.add_row("Tokens charged", f"{tally.charged_tokens:,}", f"of {_allocated(run):,} allocated")
    table.add_row("Over-reservation", _over(tally), _exceeded(tally))
    table.add_row("Flusher lag", *_lag(run))
    return table


def _latencies(run: Run) -> RenderableType:
    table = Table(title="Latency in ms", title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("")
    for column in ("p50", "p99", "max"):
        table.add_column(column, justify="right", min_width=9)
    for verb, latencies in (("reserve", run.tally.reserve), ("commit", run.tally.commit)):
        for name, values in _kinds(verb, latencies, run.speed):
            table.add_row(name, *(f"{1000 * percentile(values, share):,.1f}" for share in (0.5, 0.99, 1.0)))
    return table


def _kinds(verb: str, latencies: Latencies, speed: float) -> Sequence[tuple[str, array[float]]]:
    # At full speed nothing is due before it is sent, so there is one truth to tell.
    if not speed:
        return ((verb, latencies.sent),)
    return (
        (f"{verb}, from when it was due", latencies.due),
        (f"{verb}, from when it was sent", latencies.sent),
    )


def _quota(run: Run, columns: int, blocks: str) -> RenderableType:
    began, ended = run.trace.began, run.trace.at(run.trace.duration_s)
    axis = f"{began:%H:%M}{'':{columns - 10}}{ended:%H:%M}"
    table = Table(box=None, pad_edge=False, show_header=False, title_justify="left", title_style="bold")
    table.title = "Quota left over the time of the trace"
    for _ in range(3):
        table.add_column(no_wrap=True)
    quotas: dict[str, int] = {}
    for payer, quota in run.plan.quotas.items():
        quotas[payer.team] = quotas.get(payer.team, 0) + quota
    for team, quota in quotas.items():
        left = left_over_time(quota, run.tally.spent[team])
        drawn = course(narrowed(left, columns, lambda part: part[-1]), quota, blocks)
        table.add_row(team, Text(drawn, style="green"), f"{left[-1] / quota:.1%} left")
    refused = narrowed(run.tally.refused, columns, sum)
    drawn = course(refused, max(refused), blocks)
    table.add_row("denials", Text(drawn, style="red"), f"{run.tally.denied:,}")
    table.add_row("", Text(axis, style="dim"), "")
    return table


def _conservation(run: Run, marks: tuple[str, str]) -> RenderableType:
    holds, fails = marks
    table = Table(box=None, pad_edge=False, show_header=False, title_justify="left", title_style="bold")
    table.title = "Conservation"
    for finding in run.findings:
        mark = Text(holds, style="green") if finding.holds else Text(fails, style="bold red")
        table.add_row(mark, finding.rule, Text(finding.detail, style="dim"))
    return table


def _grid() -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    table.add_column(style="dim")
    return table


def _pace_of(run: Run) -> str:
    rate = len(run.trace.requests) / run.elapsed_s
    faster = run.trace.duration_s / run.elapsed_s
    return f"in {run.elapsed_s:,.1f} s: {rate:,.0f} a second, {faster:,.1f} x the trace's pace"


def _first_denied(run: Run) -> str:
    if run.tally.first_denied_s is None:
        return ""
    return f", the first at {run.trace.at(run.tally.first_denied_s):%H:%M} of the trace"


def _allocated(run: Run) -> int:
    return sum(run.plan.quotas.values())


def _over(tally: Tally) -> str:
    if not tally.charged_tokens:
        return "none"
    return f"{tally.reserved_tokens / tally.charged_tokens - 1:+.1%}"


def _exceeded(tally: Tally) -> str:
    commits = len(tally.commit.sent)
    share = _share(tally.exceeded, commits)
    return f"{tally.reserved_tokens:,} held; {share} of commits exceeded it"


def _lag(run: Run) -> tuple[str, str]:
    if not run.lag.entries:
        return "unknown", run.lag.fault or "nothing was sampled"
    middle, most = percentile(run.lag.entries, 0.5), max(run.lag.entries)
    end = "never caught up" if run.posted_s is None else f"0 after {run.posted_s:.2f} s"
    return f"{middle:,.0f}", f"entries at the median, {most:,} at most; {end}"


def _share(part: int, total: int) -> str:
    return f"{part / total:.1%}" if total else "none"
