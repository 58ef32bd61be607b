"""Writes docs/conformance.md: each method and function of the source API, its place here, what shows it.

Run as a program it writes the page anew. What exists is looked up in the code, not said here, and a test that
is named must be one that runs. Prose, and what we chose to do otherwise, stand in conformance_template.md.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import NamedTuple

from doc_blocks import ROOT

from gateway.api.routes import ROUTES
from gateway.client import AsyncMeterClient, MeterClient
from gateway.meter import Meter

TEMPLATE = Path(__file__).with_name("conformance_template.md")
PAGE = ROOT / "docs" / "conformance.md"
COMMAND = "python tests/docs/conformance.py"
NOT_YET = "not there yet"


class Source(NamedTuple):
    """One method of the source API.

    ``route`` is the route's name, or in words what stands for it on the wire. ``test`` is the module below
    tests/ and the test that shows the method; "" for one that is not there yet.
    """

    method: str
    route: str
    test: str


METHODS = (
    Source(
        "adjust", "adjust", "contracts/test_contract_movements.py test_adjust_corrects_in_both_directions"
    ),
    Source(
        "allocate", "allocate", "contracts/test_contract_movements.py test_allocate_adds_and_names_its_entry"
    ),
    Source(
        "clear_actor",
        "headers `X-Actor-…`",
        "contracts/test_contract_reports.py test_actors_are_written_down",
    ),
    Source(
        "close_period",
        "close_period",
        "contracts/test_contract_periods.py "
        "test_close_period_carries_over_up_to_the_limit_and_lets_the_rest_lapse",
    ),
    Source("commit", "commit", "contracts/test_contract_holds.py test_commit_charges_what_was_used"),
    Source("consume", "consume", "contracts/test_contract_movements.py test_consume_debits"),
    Source(
        "get_audit_events",
        "list_audit_events",
        "contracts/test_contract_sums.py test_operators_actions_are_listed",
    ),
    Source(
        "get_balance",
        "get_balance",
        "contracts/test_contract_movements.py test_balance_is_reserved_and_available",
    ),
    Source(
        "get_ledger",
        "get_ledger",
        "contracts/test_contract_reports.py test_the_ledger_tells_everything_newest_first",
    ),
    Source("get_stats", "get_stats", "contracts/test_contract_sums.py test_totals_of_a_namespace"),
    Source(
        "get_usage",
        "get_usage",
        "contracts/test_contract_sums.py test_usage_sums_up_what_was_consumed_by_account",
    ),
    Source(
        "get_user_balances",
        "get_balances",
        "contracts/test_contract_reports.py test_a_user_has_all_its_accounts_listed",
    ),
    Source(
        "open_period",
        "open_period",
        "contracts/test_contract_periods.py test_open_period_credits_once_and_gives_the_balance",
    ),
    Source("reconcile", "reconcile", "contracts/test_contract_reports.py test_reconcile_finds_nothing_wrong"),
    Source("release", "release", "contracts/test_contract_holds.py test_release_gives_everything_back"),
    Source(
        "release_expired_reservations",
        "expire",
        "contracts/test_contract_holds.py test_release_expired_reservations_leaves_none",
    ),
    Source("reserve", "reserve", "contracts/test_contract_holds.py test_reserve_holds_and_says_what_is_left"),
    Source(
        "set_actor", "headers `X-Actor-…`", "contracts/test_contract_reports.py test_actors_are_written_down"
    ),
    Source(
        "set_period_config",
        "set_period_config",
        "contracts/test_contract_periods.py test_set_period_config_says_what_each_period_gives",
    ),
)

# What does the same elsewhere: a method, or words.
FUNCTIONS = {
    "create_partition": "the flusher makes each month before it posts into it",
    "drop_old_partitions": "the flusher, with `QUOTAGATE_LEDGER_RETENTION_MONTHS`",
    "ensure_partitions": "the flusher makes three months ahead",
    "get_stats": "get_stats",
    "reconcile": "reconcile",
    "clear_actor": "clear_actor",
    "clear_tenant": "[tenancy.md](tenancy.md#choosing-a-tenant)",
    "set_actor": "set_actor",
    "set_tenant": "[tenancy.md](tenancy.md#choosing-a-tenant)",
    "close_period": "close_period",
    "open_period": "open_period",
    "release_expired_reservations": "release_expired_reservations",
    "set_period_config": "set_period_config",
    "get_account": "get_account",
    "get_balance": "get_balance",
    "get_ledger": "get_ledger",
    "get_namespace_usage": "get_namespace_usage",
    "get_usage": "get_usage",
    "get_user_balances": "get_user_balances",
    "adjust": "adjust",
    "allocate": "allocate",
    "commit": "commit",
    "consume": "consume",
    "release": "release",
    "reserve": "reserve",
}

_RECORDED = "persistence/test_sql_recording.py test_every_verb_is_recorded_with_its_arguments"
_ACTOR = "persistence/test_sql_recording.py test_who_acts_goes_along_until_the_transaction_ends"
_ACCOUNTS = "persistence/test_sql_reports.py test_accounts_are_shown_in_their_units_with_their_holds"
_USAGE = "persistence/test_sql_reports.py test_usage_is_what_the_gateway_says"
_TOTALS = "persistence/test_sql_reports.py test_totals_and_disagreements"

_TENANT = "persistence/test_tenancy.py test_a_tenant_is_set_for_a_transaction_or_a_session"
_MONTHS = "persistence/test_retention.py test_months_are_made_ahead_and_running_out_is_impossible"
_DROPPED = "persistence/test_retention.py test_months_before_those_that_are_kept_are_dropped_the_oldest_first"

# The test that shows a function: its module below tests/, and its name.
FUNCTION_TESTS = {
    "create_partition": _MONTHS,
    "drop_old_partitions": _DROPPED,
    "ensure_partitions": _MONTHS,
    "clear_tenant": _TENANT,
    "set_tenant": _TENANT,
    "get_stats": _TOTALS,
    "reconcile": _TOTALS,
    "clear_actor": _ACTOR,
    "set_actor": _ACTOR,
    "close_period": _RECORDED,
    "open_period": _RECORDED,
    "release_expired_reservations": _RECORDED,
    "set_period_config": _RECORDED,
    "get_account": "persistence/test_sql_accounts.py test_an_account_says_its_terms_and_the_period_that_runs",
    "get_balance": _ACCOUNTS,
    "get_ledger": "persistence/test_sql_reports.py test_the_ledger_is_read_newest_first_and_by_its_times",
    "get_namespace_usage": _USAGE,
    "get_usage": _USAGE,
    "get_user_balances": _ACCOUNTS,
    "adjust": _RECORDED,
    "allocate": "scenarios/test_recorded_operations.py "
    "test_an_order_is_paid_and_its_customer_credited_or_neither",
    "commit": _RECORDED,
    "consume": _RECORDED,
    "release": _RECORDED,
    "reserve": _RECORDED,
}


def page() -> str:
    """Give the whole page."""
    return TEMPLATE.read_text(encoding="utf-8").format(
        command=COMMAND,
        methods="\n".join(map(_method_row, METHODS)),
        functions="\n".join(_function_row(name, stand_in) for name, stand_in in FUNCTIONS.items()),
    )


def _method_row(source: Source) -> str:
    clients = all(hasattr(client, source.method) for client in (MeterClient, AsyncMeterClient))
    cells = (
        f"`{source.method}`",
        _route(source.route),
        "yes" if clients else NOT_YET,
        "yes" if hasattr(Meter, source.method) else NOT_YET,
        _test(source),
    )
    return f"| {' | '.join(cells)} |"


def _route(name: str) -> str:
    found = [f"`{route.method} {route.path}`" for route in ROUTES if route.name == name]
    if found:
        return found[0]
    return name if " " in name else NOT_YET


def _test(source: Source) -> str:
    if not source.test:
        if hasattr(Meter, source.method):
            raise LookupError(f"{source.method} is there now: name the test that shows it")
        return "—"
    return _shown_by(source.method, source.test)


def _shown_by(what: str, test: str) -> str:
    path, _, name = test.partition(" ")
    if name not in running_tests(ROOT / "tests" / path):
        raise LookupError(f"{what} is shown by no test {test}")
    return f"[{name}](../tests/{path})"


def _function_row(name: str, stand_in: str) -> str:
    test = FUNCTION_TESTS.get(name)
    shown = "—" if test is None else _shown_by(name, test)
    return f"| `meter.{name}` | {'yes' if name in _in_sql() else NOT_YET} | {_stand_in(stand_in)} | {shown} |"


def _stand_in(stand_in: str) -> str:
    if not stand_in:
        return NOT_YET
    if " " in stand_in or stand_in.startswith("["):
        return stand_in
    return f"`{stand_in}` of the SDK" if hasattr(MeterClient, stand_in) else NOT_YET


def _in_sql() -> set[str]:
    migrations = sorted((ROOT / "persistence/sql/migrations").glob("*.sql"))
    made = "\n".join(path.read_text(encoding="utf-8") for path in migrations)
    return set(re.findall(r"^CREATE (?:OR REPLACE )?FUNCTION meter\.(\w+)", made, re.MULTILINE))


def running_tests(path: Path) -> set[str]:
    """Give the tests of a module that are neither skipped nor expected to fail."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tests = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {
        test.name
        for test in tests
        if not any(re.search(r"\b(skip\w*|xfail)\b", ast.unparse(mark)) for mark in test.decorator_list)
    }


def main() -> int:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
