"""The command line: ``quotagate``. Each command puts parts together and runs them; none does work of its own.

Heavy imports stand inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Never, TypeVar

import typer

from gateway import reconcile_command
from gateway.errors import MeterError
from gateway.servers.errors import ServersError
from gateway.settings import Settings, SettingsError, settings_rows

cli = typer.Typer(
    name="quotagate",
    help="Decides whether a call may spend quota, holds it while the call runs, books what was used.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Host = Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")]
Port = Annotated[
    int | None, typer.Option(help="TCP port to listen on; 0 takes a free one.", show_default="8080")
]
DataDir = Annotated[
    Path | None,
    typer.Option(help="Where the embedded servers keep their data.", show_default="the platform's place"),
]

Trace = Annotated[Path, typer.Argument(help="The trace to replay.", exists=True, dir_okay=False)]
Speed = Annotated[
    float,
    typer.Option(min=0, help="1 is the trace's own pace, 60 an hour a minute; 0 as fast as it goes."),
]
Concurrency = Annotated[int, typer.Option(min=1, max=1024, help="Requests at a time at speed 0.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Replay only the first so many requests.")]
Result = TypeVar("Result")


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"quotagate {version('quotagate')}")
        raise typer.Exit


def main() -> None:
    """Run the command line; faults that a person can mend are one clear message and exit code 1."""
    # From the first moment on, a stop cleans up: embedded servers are running before the gateway is.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        cli()
    except (SettingsError, MeterError, ServersError) as error:
        _give_up(str(error))
    except KeyboardInterrupt:
        sys.exit(130)


@cli.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Decide whether a call may spend quota, hold it while the call runs, book what was used."""
    del version  # its callback has answered


@cli.command()
def serve(
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    ephemeral: Annotated[
        bool, typer.Option("--ephemeral", help="Keep the embedded servers' data nowhere.")
    ] = False,
    flusher: Annotated[
        bool | None,
        typer.Option(
            "--flusher/--no-flusher", help="Post the journal to the ledger from here.", show_default="on"
        ),
    ] = None,
) -> None:
    """Run the gateway: HTTP API, sweeper and flusher.

    Without QUOTAGATE_REDIS_URL and QUOTAGATE_DATABASE_URL it starts embedded servers of its own and keeps
    their data. `quotagate settings` lists everything that can be set.
    """
    overrides = {"host": host, "port": port, "data_dir": data_dir, "flusher": flusher}
    settings = _settings(overrides)
    if ephemeral:
        _check_ephemeral(settings)
    with _servers(settings, ephemeral=ephemeral) as complete:
        from gateway.serving import serve_http

        _run(serve_http(complete))


@cli.command()
def flush(
    lifeline: Annotated[
        bool, typer.Option("--lifeline", help="Stop when standard input closes.", hidden=True)
    ] = False,
) -> None:
    """Post the journal to the ledger, apart from the gateways. Any number may run."""
    from gateway.serving import run_flusher

    _run(run_flusher(_complete(_settings({})), lifeline=lifeline))


@cli.command()
def replay(
    trace: Trace,
    url: Annotated[str, typer.Option(help="Where the gateway is.")] = "http://127.0.0.1:8080",
    speed: Speed = 0,
    concurrency: Concurrency = 8,
    limit: Limit = None,
    namespace: Annotated[str | None, typer.Option(help="Whose quota to spend.")] = None,
) -> None:
    """Replay a trace of LLM requests against a running gateway and report what it did.

    The trace is a CSV with the columns TIMESTAMP, ContextTokens and GeneratedTokens. Each request is
    estimated, reserved, and committed with what was really generated. QUOTAGATE_API_KEY is used where set.
    """
    from gateway.replay import run_replay

    work = run_replay(
        trace,
        url,
        api_key=_settings({}).api_key,
        namespace=namespace,
        speed=speed,
        concurrency=concurrency,
        limit=limit,
    )
    sys.exit(_run(work))


@cli.command()
def demo(trace: Trace, speed: Speed = 0, concurrency: Concurrency = 8, limit: Limit = None) -> None:
    """Start a gateway on embedded servers of its own, replay a trace through it, report, and clean up."""
    from gateway.demo import run_demo

    sys.exit(_run(run_demo(trace, speed=speed, concurrency=concurrency, limit=limit, tell=_tell)))


@cli.command()
def migrate() -> None:
    """Bring the schema of the ledger's database up to date."""
    from persistence.errors import MigrationError
    from persistence.migrations import migrate as run_migrations

    settings = _settings({})
    if settings.database_url is None:
        _give_up("QUOTAGATE_DATABASE_URL is not set; embedded servers are migrated when they start")
    try:
        applied = _run(run_migrations(settings.database_url))
    except MigrationError as error:
        _give_up(str(error))
    typer.echo("\n".join(f"applied {name}" for name in applied) or "nothing to do: the schema is up to date")


@cli.command()
def settings() -> None:
    """List every setting with its value, default and meaning."""
    for variable, value, default, allowed, help_line in settings_rows(_settings({})):
        shown = f"{variable}={value}" if value else f"{variable} is unset"
        typer.secho(shown, bold=value != default, nl=False)
        typer.echo(f"   (default {default})" if value != default and default else "")
        typer.echo(f"    {help_line} Takes {allowed}.")


def _settings(overrides: dict[str, Any]) -> Settings:
    from gateway.logs import configure_logs

    found = Settings.from_env(os.environ, overrides)
    configure_logs(found)
    return found


def _check_ephemeral(settings: Settings) -> None:
    if settings.data_dir is not None:
        _give_up("--ephemeral keeps no data, yet a data directory is given: leave one of the two out")
    if settings.redis_url is not None and settings.database_url is not None:
        _give_up("--ephemeral is for embedded servers, yet both URLs are set: leave one of the two out")


def _complete(settings: Settings) -> Settings:
    missing = [
        name
        for name, url in (
            ("QUOTAGATE_REDIS_URL", settings.redis_url),
            ("QUOTAGATE_DATABASE_URL", settings.database_url),
        )
        if url is None
    ]
    if missing:
        _give_up(f"{' and '.join(missing)} must be set: only `quotagate serve` starts servers of its own")
    return settings


@contextmanager
def _servers(settings: Settings, *, ephemeral: bool) -> Iterator[Settings]:
    """Start what has no URL as embedded servers, and stop it at the end."""
    if settings.redis_url is not None and settings.database_url is not None:
        yield settings
        return
    from gateway.embedded import embedded_servers

    with embedded_servers(settings, ephemeral=ephemeral, progress=_tell) as complete:
        yield complete


def _tell(line: str) -> None:
    typer.echo(line, err=True)


def _run(work: Coroutine[Any, Any, Result]) -> Result:
    import asyncio

    factory: Callable[[], Any] | None = None
    if sys.platform != "win32":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(work)


def _give_up(message: str) -> Never:
    typer.echo(f"quotagate: {message}", err=True)
    raise SystemExit(1)


reconcile_command.add_to(cli, lambda: _complete(_settings({})), _run)
