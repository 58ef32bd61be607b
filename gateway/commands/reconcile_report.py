"""What ``quotagate reconcile`` does and shows. Nothing is compared or repaired here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import typer
from rich.console import Console
from rich.progress import Progress

from gateway.app import open_backend, rounds
from gateway.commands.options import counted, user_of_machine
from gateway.domain.answers import Discrepancy
from gateway.meter import Meter
from gateway.metrics import Metrics
from gateway.reconcile.reconciler import Orders, Part, Reconciler, Trust
from gateway.settings import Settings
from gateway.wording.answers import discrepancy

_LISTED = 20


async def reconcile_all(
    settings: Settings, namespace: str | None, trust: Trust | None, *, deep: bool
) -> bool:
    """Reconcile one namespace or all, and show how it goes; say whether nothing that differs is left."""
    orders = Orders("cli", user_of_machine(), trust, deep=deep)
    checked = found = repaired = differing = 0
    async with open_backend(settings, Metrics()) as (store, _):
        with Progress(console=Console(stderr=True), transient=True) as progress:
            async for name in _names(store.reconciler, namespace):
                bar = progress.add_task(name[:40], total=await store.reconciler.count_accounts(name))
                async for part in store.reconciler.walk(name, orders):
                    progress.advance(bar, part.checked)
                    checked, repaired = checked + part.checked, repaired + part.repaired
                    found, differing = found + len(part.findings), differing + part.differing
                    _show(name, _worded(part))
                progress.remove_task(bar)
    typer.echo(_counts(checked, found, repaired))
    return repaired >= differing


async def _names(reconciler: Reconciler, namespace: str | None) -> AsyncIterator[str]:
    if namespace is not None:
        yield namespace
        return
    async for name in reconciler.namespaces():
        yield name


async def go_round(settings: Settings, trust: Trust | None) -> bool:
    """Reconcile everything round and round, until cancelled."""
    orders = Orders("continuous", user_of_machine(), trust)
    metrics = Metrics()
    async with open_backend(settings, metrics) as (store, _):
        await rounds(store, settings, metrics, orders).run()
    return True


async def show_reports(settings: Settings, namespace: str) -> bool:
    """Show the newest reports of a namespace."""
    async with open_backend(settings, Metrics()) as (_, backend):
        page = await Meter(backend, namespace).reconciliations(limit=_LISTED)
    for report in page["reconciliations"]:
        typer.echo(
            f"{report['id']}  {report['started_at']}  {report['trigger']}  "
            f"{_counts(report['accounts_checked'], report['findings'], report['repaired'])}"
            f"{'' if report['finished_at'] else ', not finished'}"
        )
        _show(namespace, report["discrepancies"])
    return True


def _counts(checked: int, found: int, repaired: int) -> str:
    return (
        f"{counted(checked, 'account')} checked, {counted(found, 'discrepancy')},"
        f" {counted(repaired, 'account')} repaired"
    )


def _worded(part: Part) -> Sequence[Discrepancy]:
    return [discrepancy(mismatch) for mismatch in part.findings]


def _show(namespace: str, found: Sequence[Discrepancy]) -> None:
    for issue in found:
        account = (
            f"{issue['user_id'] or '(pool)'} {issue['event_type']} {issue['unit']} {issue['resource'] or ''}"
        )
        hold = f"  {issue['reservation_id']}" if issue["reservation_id"] else ""
        typer.echo(
            f"{issue['issue_type']}  {namespace}  {account.strip()}{hold}"
            f"  expected {issue['expected']}, actual {issue['actual']}"
        )
