"""The command line: ``python -m loadtest``."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from gateway.commands.helping import flow
from loadtest.machine import machine
from loadtest.report import RESULTS, keep, show
from loadtest.run import run
from loadtest.sizes import FULL, QUICK, TINY
from loadtest.summary import summary
from loadtest.verdicts import all_kept, verdicts

_HELP = """Measure Quotagate beside its own ceiling and beside what else one would take, in one run.

Everything runs on this machine, on servers of its own that are gone afterwards: the scripts
alone, the Meter in process, HTTP, a bare ASGI echo; the `limits` library and row locks in
Postgres as peers. What is compared takes turns of a quarter of a second, so read the ratios;
absolute figures say as much about the machine. Closed loops find what each can do, open loops what a
caller waits at half of that.

Other work on the machine shows in every figure: the load is printed with the result.

python -m loadtest takes about five minutes, for one round; with --full about half an hour, for five
rounds and figures to keep.
"""


def main(
    quick: Annotated[
        bool, typer.Option("--quick", help="One round, about five minutes. The default.")
    ] = False,
    full: Annotated[bool, typer.Option("--full", help="Five longer rounds, for figures to keep.")] = False,
    tiny: Annotated[
        bool, typer.Option("--tiny", help="Only see whether everything runs.", hidden=True)
    ] = False,
    rounds: Annotated[int | None, typer.Option(min=1, max=100, help="How many rounds instead.")] = None,
    strict: Annotated[bool, typer.Option("--assert", help="Exit with 1 when a target is missed.")] = False,
    redis_server: Annotated[
        Path | None,
        typer.Option(help="Program of the Redis or Valkey that decides.", show_default="the first one found"),
    ] = None,
    results: Annotated[
        Path, typer.Option(help="Where the JSON goes.", file_okay=False, show_default="loadtest/results")
    ] = RESULTS,
) -> None:
    """Measure, print the tables, keep the JSON."""
    if quick + full + tiny > 1:
        raise typer.BadParameter("take one of --quick and --full")
    sizes = FULL if full else TINY if tiny else QUICK
    before = machine()
    found = summary(run(sizes._replace(rounds=rounds or sizes.rounds), _tell, redis_server), before)
    judged = verdicts(found)
    _tell("")
    show(found, judged)
    typer.echo(f"\nkept in {keep(found, judged, results)}")
    if strict and not all_kept(judged):
        raise typer.Exit(1)


def _tell(line: str) -> None:
    """Show what is being done: one line that is overwritten on a terminal, nothing elsewhere."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{line}")
        sys.stderr.flush()


cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
cli.command(help=_HELP)(main)
flow(cli)

if __name__ == "__main__":
    # Told to end, it takes what it started with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    cli()
