"""The commands ``quotagate keys …``: what they take and what they say. No key is judged here."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.commands.options import DAYS_MAX, sound_namespace
from gateway.domain.keys import SCOPES, Scope
from gateway.settings import Settings

if TYPE_CHECKING:
    from gateway.admin.answers import Key
    from gateway.admin.asking import Asking
    from gateway.admin.keys import Keysmith

    Work = Callable[[Keysmith, Asking], Coroutine[Any, Any, Any]]

Run = Callable[[Coroutine[Any, Any, Any]], Any]

_HELP = """\
Make API keys, list them, replace them, revoke them.

A key says whose quota it spends and what it may do: `read` balances and reports, `spend` (reserve, commit,
release, consume), `allocate` (add and correct quota), `admin` (/admin, keys too). It is shown once; what is
kept is a digest under QUOTAGATE_KEY_PEPPER, which must be the same here as where the gateways run. Without
QUOTAGATE_DATABASE_URL these commands work on the embedded ledger of QUOTAGATE_DATA_DIR.
"""

Namespace = Annotated[
    str | None,
    typer.Option(callback=sound_namespace, help="Whose quota the key is for.", show_default="default"),
]
Scopes = Annotated[
    list[str] | None,
    typer.Option("--scope", help=f"What it may do: {', '.join(SCOPES)}; may be given again."),
]
Name = Annotated[str, typer.Option(help="What people call it.", show_default=False)]
Everywhere = Annotated[
    bool, typer.Option("--all-namespaces", help="For operators: X-Namespace says whose, request by request.")
]
Days = Annotated[
    float | None,
    typer.Option(min=0, max=DAYS_MAX, help="After how many days it expires.", show_default="never"),
]
Reason = Annotated[str | None, typer.Option(help="Why, for the audit.", show_default=False)]
KeyId = Annotated[str, typer.Argument(help="Which key: its id, the part after qg_.")]
Overlap = Annotated[
    float, typer.Option(min=0, max=720, help="For how many hours the old key goes on beside the new one.")
]


def add_to(cli: typer.Typer, settings: Callable[[], Settings], run: Run) -> None:
    """Add the commands; ``settings`` reads the settings, ``run`` runs what they do."""
    keys = typer.Typer(help=_HELP)
    cli.add_typer(keys, name="keys", no_args_is_help=True)

    def at_work(reason: str | None, work: Work) -> Any:
        from gateway.commands.key_work import ledger_of, worked

        with ledger_of(settings()) as complete:
            return run(worked(complete, reason, work))

    @keys.command()
    def create(
        scope: Scopes = None,
        namespace: Namespace = None,
        name: Name = "",
        all_namespaces: Everywhere = False,
        expires_days: Days = None,
        reason: Reason = None,
    ) -> None:
        """Make a key. It is the only line on standard output, and is never shown again.

        Example: KEY=$(quotagate keys create --namespace acme --scope read --scope spend --name checkout)
        """
        if namespace is not None and all_namespaces:
            raise typer.BadParameter(
                "is for a key of one namespace: leave it or --all-namespaces out", param_hint="--namespace"
            )
        if expires_days == 0:
            raise typer.BadParameter("must be more than 0", param_hint="--expires-days")
        scopes = _scopes(scope)
        expires_at = None if expires_days is None else datetime.now(UTC) + timedelta(days=expires_days)
        made = at_work(
            reason,
            lambda smith, asking: smith.create(
                asking,
                scopes,
                name=name,
                namespace=namespace,
                all_namespaces=all_namespaces,
                expires_at=expires_at,
            ),
        )
        _say_new(made)

    @keys.command("list")
    def list_keys(
        namespace: Annotated[
            str | None, typer.Option(callback=sound_namespace, help="Only keys of this namespace.")
        ] = None,
        limit: Annotated[int, typer.Option(min=1, max=1000, help="How many to show at most.")] = 100,
    ) -> None:
        """List keys, the newest first. The keys themselves are nowhere to be shown from."""
        page = at_work(None, lambda smith, asking: smith.page(asking, namespace, limit))
        typer.echo("\n".join(map(_line, page["keys"])) or "there are no keys")

    @keys.command()
    def rotate(key_id: KeyId, overlap_hours: Overlap = 24, reason: Reason = None) -> None:
        """Make a key in the place of another, with the same scopes, namespace and expiry.

        Both are good for a while, so that whoever uses the old one has time to change over.
        """
        overlap_s = round(overlap_hours * 3600)
        made = at_work(reason, lambda smith, asking: smith.rotate(asking, key_id, overlap_s))
        _say_new(made)

    @keys.command()
    def revoke(
        key_id: KeyId, reason: Annotated[str, typer.Option(help="Why, for the audit.", show_default=False)]
    ) -> None:
        """Make a key good for nothing. Every gateway knows within a second."""
        done = at_work(reason, lambda smith, asking: smith.revoke(asking, key_id))
        typer.echo(_line(done))


def _scopes(given: list[str] | None) -> list[Scope]:
    known: list[Scope] = [scope for scope in SCOPES if scope in (given or ())]
    strange = sorted(set(given or ()) - set(SCOPES))
    if strange:
        raise typer.BadParameter(
            f"{', '.join(strange)}: must be of {', '.join(SCOPES)}", param_hint="--scope"
        )
    if not known:
        raise typer.BadParameter(f"say what the key may do: {', '.join(SCOPES)}", param_hint="--scope")
    return known


def _say_new(made: Key) -> None:
    typer.echo(_line(made), err=True)
    typer.echo("This is the key. Keep it now: it cannot be shown again.", err=True)
    typer.echo(made["key"])


def _line(key: Key) -> str:
    whose = "all namespaces" if key["namespace"] is None else key["namespace"]
    until = f"  until {key['expires_at']}" if key["expires_at"] else ""
    next_one = f"  replaced by {key['replaced_by']}" if key["replaced_by"] else ""
    name = f"  {key['name']}" if key["name"] else ""
    return f"{key['id']}  {key['status']:<7}  {whose}  {','.join(key['scopes'])}{name}{until}{next_one}"
