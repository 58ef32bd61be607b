"""Puts samples together: medians over turns, ratios of what stood side by side. Prints nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median

import msgspec

from loadtest.bare import ScriptTimes, Weights
from loadtest.cells import Cell
from loadtest.run import Results, Sample
from loadtest.tally import percentile

_QUIET = 0.1


class Row(msgspec.Struct, kw_only=True):
    """One cell over all its turns: medians, but the sum of faults and the greatest lag."""

    subject: str
    verb: str
    accounts: int
    clients: int
    loop: str
    keyed: bool
    durability: str
    legs: int
    limits: int
    rate: float
    offered: float | None
    p50_ms: float | None
    p99_ms: float | None
    p999_ms: float | None
    faults: int
    lag: int
    drain_s: float
    spent_us: dict[str, float]
    rates: list[float]

    @property
    def cell(self) -> Cell:
        """What was measured."""
        return Cell(*(getattr(self, name) for name in Cell._fields))


class ScriptRow(msgspec.Struct, kw_only=True):
    """A full reserve inside one server, in microseconds: the median batch, and one of the quietest tenth."""

    server: str
    median_us: float
    quiet_us: float
    keyed_median_us: float
    keyed_quiet_us: float


class Summary(msgspec.Struct, kw_only=True):
    """All of a run, as it is kept and shown."""

    machine: dict[str, str]
    servers: dict[str, str]
    scripts: list[ScriptRow]
    rows: list[Row]
    layers_us: dict[str, float]
    memory: dict[str, Weights]

    def find(self, cell: Cell) -> Row | None:
        """Give the row of a cell, if it was measured."""
        return next((row for row in self.rows if row.cell == cell), None)

    def ratio(self, cell: Cell, base: Cell) -> float | None:
        """Give the rate of one cell as a share of another's: the median of the turns' own ratios.

        Cells of different groups did not take turns with each other: theirs is the ratio of their medians.
        """
        upper, lower = self.find(cell), self.find(base)
        if upper is None or lower is None:
            return None
        if len(upper.rates) != len(lower.rates):
            return upper.rate / lower.rate if lower.rate else None
        shares = [rate / other for rate, other in zip(upper.rates, lower.rates, strict=True) if other]
        return median(shares) if shares else None


def summary(results: Results, machine: Mapping[str, str]) -> Summary:
    """Put the results of a run together."""
    return Summary(
        machine=dict(machine),
        servers=results.servers,
        scripts=[_script_row(server, times) for server, times in results.scripts.items()],
        rows=[_row(cell, samples) for cell, samples in results.samples.items()],
        layers_us={name: min(times[name] for times in results.layers) for name in results.layers[0]},
        memory=results.weights,
    )


def _script_row(server: str, rounds: Sequence[ScriptTimes]) -> ScriptRow:
    plain = sorted(time for times in rounds for time in times.plain)
    keyed = sorted(time for times in rounds for time in times.keyed)
    return ScriptRow(
        server=server,
        median_us=median(plain),
        quiet_us=percentile(plain, _QUIET) or 0.0,
        keyed_median_us=median(keyed),
        keyed_quiet_us=percentile(keyed, _QUIET) or 0.0,
    )


def _row(cell: Cell, samples: Sequence[Sample]) -> Row:
    figures = [sample.figures for sample in samples]
    return Row(
        **cell._asdict(),
        rate=median(found.rate for found in figures),
        offered=_median(sample.offered for sample in samples),
        p50_ms=_median(found.p50_ms for found in figures),
        p99_ms=_median(found.p99_ms for found in figures),
        p999_ms=_median(found.p999_ms for found in figures),
        faults=sum(found.faults for found in figures),
        lag=max(sample.lag for sample in samples),
        drain_s=max(sample.drain_s for sample in samples),
        spent_us={name: median(sample.spent_us[name] for sample in samples) for name in samples[0].spent_us},
        rates=[found.rate for found in figures],
    )


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
