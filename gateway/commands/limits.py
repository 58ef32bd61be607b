"""The commands ``quotagate limits …``: what they take and what they say. A running gateway does the work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.commands.options import named_options, sound_namespace, sound_url
from gateway.domain.limits import PERS
from gateway.settings import Settings

if TYPE_CHECKING:
    from gateway.client import MeterClient
    from gateway.domain.limit_answers import AccountLimit, AccountLimits

_HELP = """\
Set limits of accounts, see what is used of them, drop them.

A rate (`--per requests` or `--per amount`) lets its limit through in each window, and no more than that \
at once; `--per concurrency` bounds open holds. What is set here counts from the next decision on. \
The gateway is asked over HTTP; QUOTAGATE_API_KEY is used where set.
"""

User = Annotated[str | None, typer.Option(help="Whose account.", show_default="the namespace's pool")]
EventType = Annotated[str, typer.Option(help="What is metered.")]
Unit = Annotated[str, typer.Option(help="What is counted.")]
Resource = Annotated[str | None, typer.Option(help="Of what resource.", show_default="none")]
Namespace = Annotated[
    str | None,
    typer.Option(callback=sound_namespace, help="Whose namespace.", show_default="the key's"),
]
Url = Annotated[str, typer.Option(callback=sound_url, help="Where the gateway is.")]
Name = Annotated[str, typer.Argument(help="What the limit is called.")]
Number = Annotated[str, typer.Argument(help="How much: in the account's unit for --per amount, else whole.")]
Per = Annotated[str, typer.Option(help=f"What it counts: {', '.join(PERS)}.")]
Window = Annotated[
    int | None, typer.Option(help="In how many seconds a rate's limit flows back.", show_default="none")
]
Shadow = Annotated[bool, typer.Option("--shadow", help="Refuse nothing; count what would be refused.")]

_URL = "http://127.0.0.1:8080"
_OPTIONS = {
    "user_id": "--user",
    "event_type": "--event-type",
    "unit": "--unit",
    "resource": "--resource",
    "window_seconds": "--window-seconds",
}


def add_to(cli: typer.Typer, settings: Callable[[], Settings]) -> None:
    """Add the commands; ``settings`` reads the settings."""
    limits = typer.Typer(help=_HELP)
    cli.add_typer(limits, name="limits", no_args_is_help=True)

    @contextmanager
    def client(url: str, namespace: str | None) -> Iterator[MeterClient]:
        from gateway.client import MeterClient

        with (
            named_options(_OPTIONS),
            MeterClient(url, api_key=settings().api_key, namespace=namespace) as meter,
        ):
            yield meter

    @limits.command("list")
    def list_limits(
        user: User = None,
        event_type: EventType = "llm_call",
        unit: Unit = "tokens",
        resource: Resource = None,
        namespace: Namespace = None,
        url: Url = _URL,
    ) -> None:
        """Show the limits of an account, and what is used of them."""
        with client(url, namespace) as meter:
            _say(meter.get_limits(user, event_type, unit, resource))

    @limits.command("set")
    def set_limit(
        name: Name,
        limit: Number,
        per: Per = "amount",
        window_seconds: Window = None,
        shadow: Shadow = False,
        user: User = None,
        event_type: EventType = "llm_call",
        unit: Unit = "tokens",
        resource: Resource = None,
        namespace: Namespace = None,
        url: Url = _URL,
    ) -> None:
        """Set a limit, or change the one of this name.

        Example: quotagate limits set per-minute 100000 --window-seconds 60 --user alice
        """
        counted = next((known for known in PERS if known == per), None)
        if counted is None:
            raise typer.BadParameter(f"must be one of {', '.join(PERS)}", param_hint="--per")
        with client(url, namespace) as meter:
            _say(
                meter.set_limit(
                    user, event_type, unit, name, counted, limit, window_seconds, resource, shadow
                )
            )

    @limits.command("delete")
    def delete_limit(
        name: Name,
        user: User = None,
        event_type: EventType = "llm_call",
        unit: Unit = "tokens",
        resource: Resource = None,
        namespace: Namespace = None,
        url: Url = _URL,
    ) -> None:
        """Drop a limit. The exit code is 1 when there is none of this name."""
        with client(url, namespace) as meter:
            deleted = meter.delete_limit(user, event_type, unit, name, resource)
        typer.echo(f"{name} is dropped" if deleted else f"there is no limit {name}")
        if not deleted:
            raise typer.Exit(1)


def _say(found: AccountLimits) -> None:
    typer.echo("\n".join(map(_line, found["limits"])) or "the account has no limits")


def _line(limit: AccountLimit) -> str:
    window = "" if limit["window_seconds"] is None else f" in {limit['window_seconds']} s"
    shadow = f"  shadow, would have refused {limit['shadow_refusals']}" if limit["shadow"] else ""
    return f"{limit['name']}  {limit['limit']:f} per {limit['per']}{window}  used {limit['used']:f}{shadow}"
