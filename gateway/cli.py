"""The command line: ``quotagate``. Each command puts parts together and runs them; none does work of its own.

Heavy imports stand inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Never, TypeVar

import typer

from gateway.commands import keys, limits, proxy, reconcile
from gateway.commands.helping import flow
from gateway.commands.options import DAYS_MAX, sound_namespace, sound_url
from gateway.errors import MeterError
from gateway.servers.errors import ServersError
from gateway.service_links import service_links
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
    int | None,
    typer.Option(min=0, max=65535, help="TCP port to listen on; 0 takes a free one.", show_default="8080"),
]
DataDir = Annotated[
    str | None,  # no Path, to which nothing is the directory one stands in
    typer.Option(
        metavar="PATH",
        help="Where the embedded servers keep their data.",
        show_default="the platform's place",
    ),
]

Trace = Annotated[Path, typer.Argument(help="The trace to replay.", exists=True, dir_okay=False)]
Speed = Annotated[
    float,
    typer.Option(min=0, help="1 is the trace's own pace, 60 an hour a minute; 0 as fast as it goes."),
]
Concurrency = Annotated[int, typer.Option(min=1, max=1024, help="Requests at a time at speed 0.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Replay only the first so many requests.")]
Lifeline = Annotated[bool, typer.Option("--lifeline", help="Stop when standard input closes.", hidden=True)]
Result = TypeVar("Result")

_NO_GATEWAY = "a gateway with embedded servers must be running: none does on this data directory"


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
    except OSError as error:
        if isinstance(error, PermissionError) and error.filename is not None:
            _give_up(f"{error.filename}: {error.strerror}; does it belong to another user?")
        if error.errno != errno.ENOSPC:
            raise
        _give_up_full(error)
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
    lifeline: Lifeline = False,
) -> None:
    """Run the gateway: HTTP API, sweeper and flusher.

    Without QUOTAGATE_REDIS_URL and QUOTAGATE_DATABASE_URL it starts embedded servers of its own and keeps
    their data. `quotagate settings` lists everything that can be set.
    """
    overrides = {"host": host, "port": port, "data_dir": data_dir, "flusher": flusher}
    settings = _settings(overrides)
    if ephemeral:
        _check_ephemeral(settings)
    from gateway.running.serving import serve_http, taken_ports

    with taken_ports(settings) as ports, _servers(settings, ephemeral=ephemeral) as complete:
        _run(serve_http(complete, ports, lifeline=lifeline))


@cli.command()
def flush(lifeline: Lifeline = False) -> None:
    """Post the journal to the ledger, apart from the gateways. Any number may run."""
    from gateway.running.serving import run_flusher

    _run(run_flusher(_complete(_settings({})), lifeline=lifeline))


@cli.command()
def warm(
    namespace: Annotated[
        str | None, typer.Option(callback=sound_namespace, help="Only the accounts of this namespace.")
    ] = None,
    active_within: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=DAYS_MAX,
            metavar="DAYS",
            help="Only accounts that were changed in the last so many days.",
        ),
    ] = None,
    rate: Annotated[int, typer.Option(min=1, help="How many accounts a second at most.")] = 5000,
) -> None:
    """Load accounts from the ledger into Redis before they are asked for. Safe at any time."""
    from gateway.commands.warming import run_warm

    _run(run_warm(_complete(_settings({})), namespace, active_within, rate))


@cli.command()
def restore(
    check: Annotated[
        bool, typer.Option("--check", help="Compare Redis with the ledger and change nothing.")
    ] = False,
    namespace: Annotated[
        str | None,
        typer.Option(callback=sound_namespace, help="Only this namespace; to rebuild, all of its shard."),
    ] = None,
    shard: Annotated[
        list[int] | None, typer.Option(min=0, max=127, help="Only this shard; may be given again.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Rebuild Redis from the ledger, or with --check compare the two; exit code 1 when they differ.

    To rebuild is to begin new epochs: shards close for a moment, what their journals hold is posted, and
    everything loads anew from the ledger when it is first touched. Both are safe while gateways serve.
    """
    from gateway.commands.restoring import run_check, run_restore, shards_wanted

    complete = _complete(_settings({}))
    if check and shard:
        _give_up("--check compares all shards, or one --namespace: leave --shard out")
    if check:
        sys.exit(_run(run_check(complete, namespace)))
    shards = shards_wanted(namespace, shard or ())
    question = f"Redis forgets {len(shards)} of its 128 shards, and loads them anew from the ledger. Go on?"
    if not yes and not typer.confirm(question, err=True):
        _give_up("nothing was done")
    _run(run_restore(complete, shards))


@cli.command()
def replay(
    trace: Trace,
    url: Annotated[
        str, typer.Option(callback=sound_url, help="Where the gateway is.")
    ] = "http://127.0.0.1:8080",
    speed: Speed = 0,
    concurrency: Concurrency = 8,
    limit: Limit = None,
    namespace: Annotated[
        str | None, typer.Option(callback=sound_namespace, help="Whose quota to spend.")
    ] = None,
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
        _give_up(f"QUOTAGATE_DATABASE_URL: {error}")
    typer.echo("\n".join(f"applied {name}" for name in applied) or "nothing to do: the schema is up to date")


quarantine = typer.Typer(help="Look after journal entries that could not be booked as they stand.")
cli.add_typer(quarantine, name="quarantine", no_args_is_help=True)

Entry = Annotated[str, typer.Argument(help="Which entry: <shard>/<epoch>-<sequence>, as the list shows it.")]


@quarantine.command("list")
def list_quarantined(
    resolved: Annotated[bool, typer.Option("--all", help="Show the resolved ones too.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many to show at most.")] = 100,
) -> None:
    """List what is in quarantine, the newest first."""
    from gateway.commands.quarantining import listed

    typer.echo(_run(listed(_complete_database(_settings({})), resolved=resolved, limit=limit)))


@quarantine.command("show")
def show_quarantined(entry: Entry) -> None:
    """Show one entry as the journal told it, why it could not be booked, and what was booked of it."""
    from gateway.commands.quarantining import shown

    _say_or_give_up(_run(shown(_complete_database(_settings({})), entry)), entry)


@quarantine.command("resolve")
def resolve_quarantined(
    entry: Entry, note: Annotated[str, typer.Argument(help="What was done about it, for the record.")]
) -> None:
    """Note what was done about an entry; it then no longer counts. It stays on record."""
    from gateway.commands.quarantining import resolved

    _say_or_give_up(_run(resolved(_complete_database(_settings({})), entry, note)), entry)


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
    _tell_of_links()
    return found


def _tell_of_links() -> None:
    import structlog

    links = service_links(os.environ)
    if links:
        _log = structlog.get_logger("quotagate.cli")
        _log.warning("service_links_ignored", variables=links, advice="set enableServiceLinks to false")


def _check_ephemeral(settings: Settings) -> None:
    if settings.data_dir is not None:
        _give_up("--ephemeral keeps no data, yet a data directory is given: leave one of the two out")
    if settings.redis_url is not None and settings.database_url is not None:
        _give_up("--ephemeral is for embedded servers, yet both URLs are set: leave one of the two out")


def _complete(settings: Settings) -> Settings:
    """Give settings with both URLs: those of a gateway's embedded servers where none is named."""
    from gateway.embedded import beside_gateway

    found = beside_gateway(settings)
    missing = [
        name
        for name, url in (
            ("QUOTAGATE_REDIS_URL", found.redis_url),
            ("QUOTAGATE_DATABASE_URL", found.database_url),
        )
        if url is None
    ]
    if missing:
        _give_up(f"{' and '.join(missing)} must be set, or {_NO_GATEWAY}")
    return found


def _complete_database(settings: Settings) -> str:
    from gateway.embedded import beside_gateway

    url = beside_gateway(settings).database_url
    if url is None:
        _give_up(f"QUOTAGATE_DATABASE_URL must be set, or {_NO_GATEWAY}")
    return url


def _say_or_give_up(answer: str | None, entry: str) -> None:
    if answer is None:
        _give_up(
            f"there is no entry {entry} that waits in quarantine; `quotagate quarantine list` shows them"
        )
    typer.echo(answer)


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


def _give_up_full(error: OSError) -> Never:
    # Nothing more can be written there, not even what Python still holds for it.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    _give_up(f"cannot write: {error.strerror}")


def _give_up(message: str) -> Never:
    typer.echo(f"quotagate: {message}", err=True)
    raise SystemExit(1)


reconcile.add_to(cli, lambda: _complete(_settings({})), _run)
proxy.add_to(cli, lambda: _settings({}), _run)
keys.add_to(cli, lambda: _settings({}), _run)
limits.add_to(cli, lambda: _settings({}))
flow(cli)
