"""The command line of the chaos runs: ``python -m tests.faults``."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from gateway.commands.helping import flow
from tests.faults.catalogue import CATALOGUE, Fault
from tests.faults.findings import violations
from tests.faults.report import report
from tests.faults.run import run

_HELP = """Break real processes under load, and check what callers heard against what Postgres holds.

Two gateways with their flushers, a Redis or Valkey, a Postgres and the links between them, all of this
machine's and gone afterwards. One line for each fault; at the end a report. The exit code is 1 when
anything was lost in silence, booked twice, granted above the limit, or otherwise not as promised.
"""


def main(
    minutes: Annotated[float, typer.Option(min=0.05, help="How long to make trouble.")] = 1.0,
    seed: Annotated[int | None, typer.Option(help="Which faults, when, for whom; any when absent.")] = None,
    only: Annotated[str | None, typer.Option(help="These faults alone, by name, with commas.")] = None,
    losing: Annotated[
        bool,
        typer.Option("--with-losing/--without-losing", help="Faults in which Redis loses data, too."),
    ] = True,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep histories and logs of a good run as well.")
    ] = False,
) -> None:
    """Make trouble, report, and say in the exit code whether all was kept."""
    faults = _chosen(only, losing=losing)
    directory = Path(tempfile.mkdtemp(prefix="quotagate-faults-"))
    work = run(
        directory,
        faults,
        seed=secrets.randbelow(10**6) if seed is None else seed,
        minutes=minutes,
        tell=_tell,
    )
    outcome = asyncio.run(work)
    for line in report(outcome):
        _tell(line)
    wrong = violations(outcome.findings)
    if wrong or keep:
        _tell(f"histories and logs are in {directory}")
    else:
        shutil.rmtree(directory)
    sys.exit(bool(wrong))


def _chosen(only: str | None, *, losing: bool) -> list[Fault]:
    if only is None:
        return [fault for fault in CATALOGUE.values() if losing or not fault.losing]
    unknown = [name for name in only.split(",") if name not in CATALOGUE]
    if unknown:
        raise typer.BadParameter(f"no fault is called {unknown[0]}; there are {', '.join(CATALOGUE)}")
    return [CATALOGUE[name] for name in only.split(",")]


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    cli.command(help=_HELP)(main)
    flow(cli)
    cli()
