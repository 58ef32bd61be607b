"""``quotagate limits`` against a running gateway: what it does, what it says, and how it teaches."""

from __future__ import annotations

import re
import uuid
from typing import NamedTuple

import pytest
import typer
from commands import Run
from typer.testing import CliRunner

from gateway.client import MeterClient
from gateway.commands import limits
from gateway.errors import MeterError
from gateway.settings import Settings

CLI = typer.Typer()
limits.add_to(CLI, Settings)


class Limits(NamedTuple):
    """The command over one gateway and a namespace of its own."""

    url: str
    namespace: str

    def say(self, verb: str, *arguments: str, code: int = 0) -> str:
        """Run it to its end; give what it says."""
        where = ("--url", self.url, "--namespace", self.namespace)
        ended = CliRunner().invoke(CLI, ["limits", verb, *arguments, *where])
        assert ended.exit_code == code, ended.output
        return str(ended.exception) if isinstance(ended.exception, MeterError) else ended.output.strip()


@pytest.fixture
def limits(gateway_url: str) -> Limits:
    """Commands whose namespace nobody has used."""
    return Limits(gateway_url, uuid.uuid4().hex)


def test_a_limit_is_set_counts_at_once_and_is_dropped(limits: Limits) -> None:
    assert limits.say("list", "--user", "alice") == "the account has no limits"
    shown = limits.say("set", "per-day", "1000", "--window-seconds", "86400", "--user", "alice")
    assert shown == "per-day  1000 per amount in 86400 s  used 0"
    limits.say("set", "at-once", "1", "--per", "concurrency", "--shadow", "--user", "alice")
    with MeterClient(limits.url, namespace=limits.namespace) as meter:
        meter.allocate("alice", "llm_call", 10_000, "tokens")
        assert meter.reserve("alice", "llm_call", 600, "tokens")["granted"]
        denied = meter.reserve("alice", "llm_call", 600, "tokens")
        assert (denied["granted"], denied["denied_by"]["limit"]) == (False, "per-day")  # type: ignore[typeddict-item]
        assert meter.reserve("alice", "llm_call", 300, "tokens")["granted"]
    concurrent, daily = limits.say("list", "--user", "alice").splitlines()
    assert concurrent == "at-once  1 per concurrency  used 2  shadow, would have refused 1"
    assert re.fullmatch(r"per-day  1000 per amount in 86400 s  used (900|89\d)", daily)
    assert limits.say("delete", "per-day", "--user", "alice") == "per-day is dropped"
    assert limits.say("delete", "per-day", "--user", "alice", code=1) == "there is no limit per-day"


def test_every_part_of_an_account_can_be_named(limits: Limits) -> None:
    account = ("--event-type", "gpu", "--unit", "usd", "--resource", "h100 ü")
    assert "0.5 per amount in 60 s" in limits.say("set", "m", "0.5", "--window-seconds", "60", *account)
    assert limits.say("list") == "the account has no limits"
    with MeterClient(limits.url, namespace=limits.namespace) as meter:
        (limit,) = meter.get_limits(None, "gpu", "usd", "h100 ü")["limits"]
    assert limit["name"] == "m"


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("m", "1x", "--window-seconds", "60"), "limit"),
        (("m", "10"), "--window-seconds"),
        (("m", "10", "--per", "concurrency", "--window-seconds", "60"), "--window-seconds"),
        (("", "10", "--window-seconds", "60"), "name"),
        (("m", "10", "--window-seconds", "60", "--unit", ""), "--unit"),
        (("m", "10", "--window-seconds", "60", "--user", ""), "--user"),
        (("m", "1.5", "--window-seconds", "60", "--per", "requests"), "limit"),
    ],
)
def test_bad_input_is_one_line_that_names_it(limits: Limits, arguments: tuple[str, ...], name: str) -> None:
    assert limits.say("set", *arguments, code=1).startswith(f"{name}: ")


def test_a_fault_is_one_line_of_the_command(run: Run, limits: Limits) -> None:
    command = run("limits", "set", "m", "1x", "--window-seconds", "60", "--url", limits.url)
    assert command.process.wait(30) == 1
    assert command.words() == "quotagate: limit: must be a number"


def test_an_unknown_kind_is_told_the_known_ones_and_a_silent_gateway_is_named(limits: Limits) -> None:
    unknown = limits.say("set", "m", "10", "--per", "hour", code=2)
    assert "--per" in unknown
    assert "requests, amount, concurrency" in unknown
    away = limits._replace(url="http://127.0.0.1:1").say("list", code=1)
    assert away.startswith("GET http://127.0.0.1:1/v1/limits?")
    assert "was not answered" in away
    assert away.endswith("does a gateway run there?")
    assert "--url" in limits._replace(url="127.0.0.1:1").say("list", code=2)


def test_help_teaches() -> None:
    for arguments, words in {
        (): ["set", "list", "delete", "`--per concurrency` bounds open holds", "QUOTAGATE_API_KEY"],
        ("set",): ["Example: quotagate limits set per-minute 100000", "--window-seconds", "--shadow"],
        ("delete",): ["exit code is 1 when there is none"],
    }.items():
        ended = CliRunner(env={"COLUMNS": "200"}).invoke(CLI, ["limits", *arguments, "--help"])
        said = " ".join(ended.output.split())
        assert [word for word in words if word not in said] == []
