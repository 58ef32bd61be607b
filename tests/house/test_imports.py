"""Who may import whom (ARCHITECTURE.md), read from every import in the source."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict

import pytest
from modules import ROOT, Module, modules, room_of

CORE = {"domain", "errors", "protocols"}

# Room: the other rooms it may import. The roots may import everything.
MAY_IMPORT: dict[str, set[str]] = {
    "domain": set(),
    "errors": {"domain"},
    "protocols": {"domain", "errors"},
    "store": CORE,
    "persistence": CORE,
    "wording": CORE,
    "nonces": set(),
    "reconcile": CORE | {"nonces"},
    "verbs": CORE | {"held", "nonces", "reconcile", "wording"},
    "meter": CORE | {"reconcile", "verbs"},
    "api": CORE,
    "admin": CORE | {"api"},
    "middleware": CORE | {"held", "llm"},
    "callbacks": CORE | {"llm", "middleware"},
    "held": CORE,
    "llm": CORE,
    "client": CORE | {"held"},
    "metrics": CORE,
    "settings": {"domain"},
    "servers": set(),
    "replay": {"client", "domain", "errors"},
    "demo": {"replay", "domain", "errors"},
    "lua": set(),
}

# Room: the distributions' modules it may import beside the standard library; None for what is not restricted.
OUTSIDE: dict[str, set[str]] = {
    "domain": {"msgspec"},
    "errors": set(),
    "protocols": {"msgspec"},
    "settings": {"msgspec"},
    "servers": set(),
    "llm": {"msgspec", "genai_prices", "tiktoken"},
    "lua": set(),
}

ONLY_IN = {"redis": "store", "hiredis": "store", "psycopg": "persistence", "psycopg_pool": "persistence"}


def test_every_module_is_in_a_room_this_test_knows() -> None:
    assert {module.name for module in modules() if module.room not in {*MAY_IMPORT, "roots"}} == set()


def test_a_module_imports_only_what_its_room_may() -> None:
    wrong = [
        f"{module.name} ({module.room}) imports {name}"
        for module in modules()
        if module.room != "roots"
        for name in module.imports()
        if room_of(name) not in {None, module.room} | MAY_IMPORT[module.room]
    ]
    assert wrong == []


def test_a_module_uses_only_the_libraries_its_room_may() -> None:
    wrong = [
        f"{module.name} ({module.room}) imports {package}"
        for module in modules()
        for package in _libraries(module)
        if ONLY_IN.get(package, module.room) != module.room
        or package not in OUTSIDE.get(module.room, {package})
    ]
    assert wrong == []


def _libraries(module: Module) -> set[str]:
    outside = {name.partition(".")[0] for name in module.imports() if room_of(name) is None}
    return outside - sys.stdlib_module_names


def test_no_rooms_import_each_other() -> None:
    wanted: dict[str, set[str]] = defaultdict(set)
    for module in modules():
        if module.room != "roots":
            wanted[module.room] |= {room_of(name) or module.room for name in module.imports()} - {module.room}
    order: list[str] = []
    while ready := [room for room in wanted if room not in order and wanted[room] <= set(order)]:
        order += ready
    assert set(order) == set(wanted), f"a cycle among {set(wanted) - set(order)}"


def test_every_root_is_a_module_that_exists() -> None:
    roots = {module.name for module in modules() if module.room == "roots"}
    assert {"gateway.app", "gateway.cli", "gateway.embedded", "gateway.__main__"} <= roots


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("gateway", "redis hiredis psycopg starlette uvicorn httpx2 msgspec typer rich"),
        ("gateway.client", "redis hiredis psycopg starlette uvicorn prometheus_client typer structlog"),
        (
            "gateway.middleware",
            "redis hiredis psycopg starlette uvicorn httpx2 pydantic genai_prices tiktoken",
        ),
        (
            "gateway.middleware.transport",
            "redis hiredis psycopg starlette uvicorn pydantic genai_prices tiktoken prometheus_client",
        ),
        ("gateway.callbacks", "redis hiredis psycopg starlette uvicorn httpx2 langchain_core litellm"),
        ("gateway.callbacks.langchain", "redis hiredis psycopg starlette uvicorn litellm"),
        ("gateway.llm", "redis hiredis psycopg starlette uvicorn httpx2 pydantic genai_prices tiktoken"),
        ("gateway.meter", "redis hiredis psycopg starlette uvicorn httpx2"),
        ("gateway.domain.entries", "redis psycopg starlette structlog"),
        ("gateway.domain.answers", "redis psycopg starlette msgspec"),
        ("gateway.cli", "redis hiredis psycopg starlette uvicorn rich httpx2 structlog"),
    ],
)
def test_importing_a_module_does_not_bring_in_what_it_does_not_need(module: str, heavy: str) -> None:
    code = f"import sys, {module}; print(*(set({heavy.split()!r}) & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert found.stdout.split() == []
