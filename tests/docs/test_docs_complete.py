"""What there is, is documented; what is documented, there is."""

from __future__ import annotations

import inspect
import re
from typing import Any

import httpx2
import pytest
import typer
from doc_blocks import ROOT, blocks_of, documents, text_of
from prometheus_client.core import Metric

from gateway.admin.routes import ADMIN_ROUTES
from gateway.cli import cli
from gateway.client import AsyncMeterClient, MeterClient
from gateway.client.verb import Sender
from gateway.middleware import LlmCosts
from gateway.middleware.scraping import ReservationCollector
from gateway.settings import TABLE, settings_markdown

HTTP, SDK, OPERATIONS = text_of("docs/http.md"), text_of("docs/sdk.md"), text_of("docs/operations.md")
KEYS = text_of("docs/keys.md")

_COMMAND = re.compile(r"(?:^|[\s`/])quotagate ([a-z]+)((?: +[^\s`|;&)]+)*)", re.MULTILINE)


def test_every_route_has_its_place(gateway_url: str) -> None:
    paths = httpx2.get(f"{gateway_url}/openapi.json").json()["paths"]
    served = [f"{method.upper()} {path}" for path, methods in paths.items() for method in methods]
    served = [route for route in served if " /admin/" not in route]  # those are in KEYS
    assert sorted(re.findall(r"^### `(\w+ /\S+)`$", HTTP, re.MULTILINE)) == sorted(served)


def test_every_problem_has_its_line(gateway_url: str) -> None:
    responses = httpx2.get(f"{gateway_url}/openapi.json").json()["components"]["responses"]
    for status, response in responses.items():
        code = response["content"]["application/problem+json"]["example"]["code"]
        assert f"| {status} | `{code}` |" in HTTP or code.startswith("VAL_"), code


def test_help_is_as_wide_as_the_terminal() -> None:
    pending = [typer.main.get_command(cli)]
    while pending:
        command = pending.pop()
        pending += getattr(command, "commands", {}).values()
        assert "\n" not in (command.help or "").replace("\n\n", ""), command.name


def test_every_code_of_a_field_has_its_line() -> None:
    listed = re.findall(r"VAL_(?:<FIELD>_)?[A-Z_]+", HTTP.partition("\n## Problems by code")[2])
    known = re.compile("|".join(code.replace("<FIELD>", "[A-Z_]+") for code in listed))
    rooms = [ROOT / "gateway" / room for room in ("api", "domain", "store", "verbs")]
    sources = [path.read_text() for room in rooms for path in room.glob("*.py")]
    given = {code for source in sources for code in re.findall(r'"(VAL_[A-Z_]+)"', source)}
    assert len(given) > 30
    assert {code for code in given if not known.fullmatch(code)} == set()


@pytest.mark.parametrize("client", [MeterClient, AsyncMeterClient])
def test_every_method_has_its_place_and_its_parameters(client: type) -> None:
    for name in sorted(vars_of(client)):
        if name == "aclose":
            assert "`aclose()`" in SDK
        else:
            assert f"#### {name}\n\n`{name}{parameters_of(client, name)}`\n" in SDK, name


def vars_of(client: type) -> set[str]:
    return {name for name in dir(client) if not name.startswith("_")} - set(vars(Sender))


def parameters_of(client: type, name: str) -> str:
    shown = inspect.signature(getattr(client, name)).parameters.values()
    return str(inspect.Signature([p.replace(annotation=p.empty) for p in shown if p.name != "self"]))


def test_the_table_of_settings_is_the_table_of_settings() -> None:
    shown = OPERATIONS.partition("held by a test -->\n")[2].partition("<!-- settings end -->")[0].strip()
    table = settings_markdown().strip()
    assert shown == table, f"between the markers of docs/operations.md should stand\n{table}"


@pytest.mark.parametrize("document", documents())
def test_every_variable_that_is_named_exists(document: str) -> None:
    named = set(re.findall(r"\bQUOTAGATE_[A-Z][A-Z_]*", text_of(document)))
    assert named <= {row.variable for row in TABLE}


@pytest.mark.parametrize("document", documents())
def test_every_command_that_is_shown_exists(document: str) -> None:
    group = typer.main.get_command(cli)
    commands = group.commands  # type: ignore[attr-defined]
    for name, words in _COMMAND.findall(text_of(document)):
        if name in commands:
            known = options_of(commands[name], words.split())
            assert {word.partition("=")[0] for word in words.split() if word.startswith("-")} <= known, name
        else:
            assert not words.strip().startswith("-"), f"{document}: quotagate {name}{words}"


def options_of(command: Any, words: list[str]) -> set[str]:
    """Give the options of a command, or of the one in a group that the words name."""
    if words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words[0]]
    return {option for part in command.params for option in (*part.opts, *part.secondary_opts)}


def test_every_route_of_operators_has_its_place() -> None:
    served = [f"{route.method} {route.path.replace('{target}', '{id}')}" for route in ADMIN_ROUTES]
    assert sorted(re.findall(r"^### `(\w+ /\S+)`$", KEYS, re.MULTILINE)) == sorted(served)


@pytest.mark.parametrize("document", documents())
def test_every_script_that_is_shown_exists(document: str) -> None:
    for block in blocks_of(document):
        for script in re.findall(r"^(?:\w+=\S+ )*(\./\w+)", block.text, re.MULTILINE):
            assert (ROOT / script).is_file(), block.place


def test_every_metric_is_described_and_every_one_that_is_named_exists(gateway_url: str) -> None:
    text = httpx2.get(f"{gateway_url}/metrics").text
    families = set(re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE))
    own = {family for family in families if family.startswith("quotagate_")}
    own |= {family_name(metric) for metric in ReservationCollector(LlmCosts()).collect()}
    named = {name.removesuffix("_bucket") for name in re.findall(r"\bquotagate_[a-z_]+", OPERATIONS)}
    assert named == own
    assert {family.partition("_")[0] for family in families - own} <= {"process", "python"}


def family_name(metric: Metric) -> str:
    return f"{metric.name}_total" if metric.type == "counter" else metric.name


def test_every_log_event_is_described() -> None:
    logged: set[str] = set()
    for path in [*ROOT.glob("gateway/**/*.py"), *ROOT.glob("persistence/**/*.py")]:
        logged |= set(re.findall(r'_log\.\w+\(\s*"([a-z_]+)"', path.read_text()))
    shown = OPERATIONS.partition("\n## Logs\n")[2]
    assert set(re.findall(r"^\| `([a-z_]+)` \|", shown, re.MULTILINE)) == logged
