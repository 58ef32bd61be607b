"""The command ``quotagate reconcile``: what it takes. What it does is in reconcile_report.py."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

import typer

from gateway.commands.options import sound_namespace
from gateway.reconcile.reconciler import Trust
from gateway.settings import Settings

Run = Callable[[Coroutine[Any, Any, bool]], bool]


def add_to(cli: typer.Typer, complete_settings: Callable[[], Settings], run: Run) -> None:
    """Add the command; ``complete_settings`` gives settings with both URLs, ``run`` runs its work."""

    @cli.command()
    def reconcile(
        namespace: Annotated[
            str | None,
            typer.Option(callback=sound_namespace, help="Whose accounts.", show_default="everybody's"),
        ] = None,
        repair: Annotated[bool, typer.Option("--repair", help="Repair what does not agree.")] = False,
        trust: Annotated[
            Trust | None,
            typer.Option(
                help="Which balance a repair takes to be right where they differ.", show_default="ledger"
            ),
        ] = None,
        deep: Annotated[
            bool, typer.Option("--deep", help="Sum every ledger from its first line, not its checkpoint.")
        ] = False,
        continuous: Annotated[
            bool, typer.Option("--continuous", help="Go round and round, slowly, until stopped.")
        ] = False,
        listed: Annotated[
            bool, typer.Option("--list", help="Show what reconciles of the namespace have found.")
        ] = False,
    ) -> None:
        """Compare Redis with the ledger, account by account, while traffic runs.

        Nothing changes without --repair. Repairs are entries of the ledger with the reason `reconcile`. A
        flusher must be running. The exit code is 1 when something differs and was not repaired.
        """
        if listed and namespace is None:
            raise typer.BadParameter("--list shows the reports of one namespace: name it with --namespace")
        if listed and (repair or deep or continuous):
            raise typer.BadParameter("--list shows what was found before, and compares and repairs nothing")
        if trust is not None and not repair:
            raise typer.BadParameter("--trust says what a repair goes by: give --repair too")
        if continuous and (namespace is not None or deep):
            raise typer.BadParameter("--continuous is for all namespaces, and never --deep")
        settings = complete_settings()
        from gateway.commands.reconcile_report import go_round, reconcile_all, show_reports

        side = (trust or "ledger") if repair else None
        if listed:
            work = show_reports(settings, namespace or "")
        elif continuous:
            work = go_round(settings, side)
        else:
            work = reconcile_all(settings, namespace, side, deep=deep)
        if not run(work):
            raise SystemExit(1)
