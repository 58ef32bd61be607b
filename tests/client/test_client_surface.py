"""What a caller sees of the SDK: the source API's names and parameters, types, and what is never imported."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pytest

from gateway.client import AsyncMeterClient, MeterClient

# The source API: parameters in order, with the defaults of those that have one.
SEED = {
    "allocate": "user_id event_type amount unit resource=None idempotency_key=None event_time=None "
    "metadata=None",
    "consume": "user_id event_type amount unit resource=None check_balance=False idempotency_key=None "
    "event_time=None metadata=None",
    "adjust": "user_id event_type amount unit resource=None reference_id=None idempotency_key=None "
    "metadata=None",
    "reserve": "user_id event_type amount unit resource=None ttl_seconds=300 idempotency_key=None "
    "metadata=None",
    "commit": "reservation_id actual_amount metadata=None idempotency_key=None",
    "check": "user_id event_type amount unit resource=None also=None",
    "release": "reservation_id idempotency_key=None",
    "extend": "reservation_id ttl_seconds=None amount=None idempotency_key=None",
    "get_reservation": "reservation_id",
    "list_reservations": "status=None user_id=None limit=100 cursor=None",
    "batch": "operations",
    "get_balance": "user_id event_type unit resource=None at=None",
    "get_user_balances": "user_id",
    "get_ledger": "user_id event_type unit resource=None start_time=None end_time=None limit=100",
    "ledger": "user_id event_type unit resource=None start_time=None end_time=None limit=100 cursor=None",
    "get_usage": "user_id start_time end_time",
    "usage": "user_id start_time end_time",
    "get_namespace_usage": "start_time end_time",
    "namespace_usage": "start_time end_time",
    "get_stats": "",
    "get_account": "user_id event_type unit resource=None",
    "get_audit_events": "limit=100",
    "audit_events": "limit=100 cursor=None",
    "reconcile": "",
    "reconciled": "repair=False trust=ledger deep=False limit=1000 cursor=None",
    "reconciliations": "limit=100 cursor=None",
    "release_expired_reservations": "",
    "hold": "user_id event_type amount unit resource=None ttl_seconds=300 metadata=None",
    "set_actor": "actor_id request_id=None on_behalf_of=None reason=None",
    "clear_actor": "",
}


# Ours beside them: by name only, so that nothing of the source API moves.
MORE = {
    "reserve": "also=None overage=allow",
    "commit": "actuals=None",
    "extend": "amounts=None",
    "hold": "also=None overage=allow",
}
CHANGES = {"allocate", "consume", "adjust", "reserve", "commit", "release", "extend", "batch"}


def shown(method: Any) -> str:
    parameters = list(inspect.signature(method).parameters.values())[1:]
    return " ".join(
        p.name if p.default is inspect.Parameter.empty else f"{p.name}={p.default}" for p in parameters
    )


@pytest.mark.parametrize("client", [MeterClient, AsyncMeterClient])
@pytest.mark.parametrize("name", SEED)
def test_a_method_has_the_parameters_of_the_source_api(client: Any, name: str) -> None:
    method = getattr(client, name)
    ours = [*MORE.get(name, "").split(), *["durability=None"] * (name in CHANGES)]
    assert shown(method) == " ".join([SEED[name], *ours]).strip()
    for own in ours:
        parameter = inspect.signature(method).parameters[own.partition("=")[0]]
        assert parameter.kind is inspect.Parameter.KEYWORD_ONLY
    assert method.__doc__
    assert "Call" not in str(inspect.signature(method).return_annotation)


def test_both_clients_have_the_same_methods() -> None:
    def methods(client: type[Any]) -> set[str]:
        return {name for name in dir(client) if not name.startswith("_")}

    assert methods(MeterClient) - {"close"} == methods(AsyncMeterClient) - {"aclose"}


@pytest.mark.parametrize("name", sorted(set(SEED) - {"set_actor", "clear_actor", "hold"}))
def test_every_verb_of_the_async_client_is_a_coroutine_method(name: str) -> None:
    assert inspect.iscoroutinefunction(getattr(AsyncMeterClient("http://gateway"), name))
    assert not inspect.iscoroutinefunction(getattr(MeterClient("http://gateway"), name))


def test_importing_the_client_imports_no_server_side() -> None:
    script = (
        "import sys, gateway.client\n"
        "names = {name.partition('.')[0] for name in sys.modules}\n"
        "servers = {'redis', 'hiredis', 'psycopg', 'starlette', 'uvicorn', 'persistence', 'rich'}\n"
        "print(sorted(names & servers))\n"
        "print(sorted(name for name in sys.modules if name.startswith('gateway.') and\n"
        "             name.split('.')[1] not in {'client', 'domain', 'errors', 'held', 'protocols', "
        "'seams'}))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split("\n")[:2] == ["[]", "[]"]


TYPED = """
from collections.abc import AsyncIterator, Iterator
from typing import assert_type
from gateway.client import AsyncMeterClient, MeterClient
from gateway.domain.answers import LedgerEntry, Reserved

def blocking(meter: MeterClient) -> None:
    assert_type(meter.reserve("a", "b", 1, "tokens", resource="c"), Reserved)
    assert_type(meter.release("r"), bool)
    assert_type(meter.iter_ledger("a", "b", "c"), Iterator[LedgerEntry])
    meter.reserve("a", "b", 1)  # error: unit is missing
    meter.reserve("a", "b", 1, "tokens", resources="c")  # error: no such parameter
    meter.commit("r", b"1")  # error: no amount

async def awaiting(meter: AsyncMeterClient) -> None:
    assert_type(await meter.reserve("a", "b", 1, "tokens", resource="c"), Reserved)
    assert_type(await meter.release("r"), bool)
    assert_type(meter.iter_ledger("a", "b", "c"), AsyncIterator[LedgerEntry])
    await meter.commit("r", b"1")  # error: no amount
"""


@pytest.mark.slow
def test_a_type_checker_sees_every_parameter_and_answer(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    script = tmp_path / "caller.py"
    script.write_text(TYPED)
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--no-incremental",
        "--no-error-summary",
        str(script),
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    expected = [at for at, line in enumerate(TYPED.split("\n"), 1) if "# error" in line]
    found = [int(line.split(":")[1]) for line in run.stdout.splitlines() if ": error:" in line]
    assert found == expected, run.stdout


async def test_a_mock_of_a_client_is_called_as_the_client_is() -> None:
    blocking = create_autospec(MeterClient, instance=True)
    blocking.reserve.return_value = {"granted": True}
    assert blocking.reserve("ann", "llm_call", 1, "calls", ttl_seconds=5) == {"granted": True}
    with pytest.raises(TypeError):
        blocking.reserve("ann")
    awaiting = create_autospec(AsyncMeterClient, instance=True)
    awaiting.reconcile.return_value = []
    assert await awaiting.reconcile() == []
    awaiting.iter_ledger("ann", "llm_call", "calls")


def test_a_subclass_may_have_a_method_of_its_own() -> None:
    class Counting(MeterClient):
        def get_stats(self) -> Any:
            return "mine"

    assert Counting("http://gateway").get_stats() == "mine"
    assert getattr(Counting, "reserve") is getattr(MeterClient, "reserve")  # noqa: B009 - one type for both
