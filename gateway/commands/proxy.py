"""The command ``quotagate proxy``: what it takes. What it does is in proxying.py."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from gateway.commands.options import sound_namespace, sound_url
from gateway.settings import Settings

Run = Callable[[Coroutine[Any, Any, None]], None]


def add_to(cli: typer.Typer, given_settings: Callable[[], Settings], run: Run) -> None:
    """Add the command; ``given_settings`` reads the environment, ``run`` runs its work."""

    @cli.command()
    def proxy(
        upstream: Annotated[str, typer.Option(help="The provider, e.g. https://api.openai.com.")],
        host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
        port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0 takes a free one.")] = 8081,
        gateway: Annotated[
            str, typer.Option(callback=sound_url, help="Where the gateway is.")
        ] = "http://127.0.0.1:8080",
        namespace: Annotated[
            str | None, typer.Option(callback=sound_namespace, help="Whose quota to spend.")
        ] = None,
        user: Annotated[
            str | None, typer.Option(help="The user who spends it.", show_default="the namespace's pool")
        ] = None,
        user_header: Annotated[
            str | None, typer.Option(help="A request header that names the user; it is not passed on.")
        ] = None,
        also: Annotated[
            list[str] | None,
            typer.Option(
                metavar="JSON",
                help="A further account that pays too, by what differs from the first, e.g. "
                '{"user_id": "team-a"}; may be given again.',
            ),
        ] = None,
        event_type: Annotated[str, typer.Option(help="What is metered.")] = "llm_call",
        unit: Annotated[
            str, typer.Option(help="What is counted: tokens, or usd; another with --weights.")
        ] = "tokens",
        resource: Annotated[str | None, typer.Option(help="The resource metered.")] = None,
        other_cost: Annotated[
            str | None,
            typer.Option(help="What a call costs that nobody can read.", show_default="it is refused"),
        ] = None,
        free: Annotated[
            list[str] | None, typer.Option(metavar="PATTERN", help="Further paths that cost nothing.")
        ] = None,
        weights: Annotated[
            Path | None,
            typer.Option(help="Weights of tokens by model, as JSON.", exists=True, dir_okay=False),
        ] = None,
        prices: Annotated[
            Path | None, typer.Option(help="Prices in USD by model, as JSON.", exists=True, dir_okay=False)
        ] = None,
        on_unavailable: Annotated[
            Literal["deny", "allow"], typer.Option(help="What to do while the gateway is away.")
        ] = "deny",
        ask_usage: Annotated[
            bool, typer.Option("--ask-usage", help="Ask OpenAI's streams for their usage.")
        ] = False,
        ttl_seconds: Annotated[
            int, typer.Option(min=1, max=86_400, help="How long a hold lives without a sign of the reply.")
        ] = 600,
        timeout_seconds: Annotated[
            float, typer.Option(min=0.001, help="How long the upstream may be silent.")
        ] = 600,
        metrics_path: Annotated[
            str | None,
            typer.Option(help="A path that shows measurements instead of being passed on, e.g. /metrics."),
        ] = None,
    ) -> None:
        """Stand in front of a model provider: refuse what quota does not cover, charge what calls cost.

        Point OPENAI_BASE_URL or ANTHROPIC_BASE_URL at it. The gateway is shown QUOTAGATE_API_KEY where set.
        """
        if user is not None and user_header is not None:
            raise typer.BadParameter("the user is either fixed or in a header: leave one of the two out")
        settings = given_settings()
        from gateway.commands.proxying import ProxyOptions, run_proxy

        options = ProxyOptions(
            upstream=upstream,
            host=host,
            port=port,
            gateway=gateway,
            api_key=settings.api_key,
            namespace=namespace,
            user=user,
            user_header=user_header,
            event_type=event_type,
            unit=unit,
            resource=resource,
            other_cost=other_cost,
            free=tuple(free or ()),
            weights=weights,
            prices=prices,
            on_unavailable=on_unavailable,
            ask_usage=ask_usage,
            ttl_seconds=ttl_seconds,
            timeout_seconds=timeout_seconds,
            drain_seconds=settings.drain_seconds,
            metrics_path=metrics_path,
            also=tuple(also or ()),
        )
        run(run_proxy(options, lambda line: typer.echo(line, err=True)))
