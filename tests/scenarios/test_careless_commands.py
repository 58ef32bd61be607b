"""Commands as people mistype them, and commands beside a gateway that runs its own servers."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from commands import Run, environment

import gateway.cli
from gateway.commands.options import user_of_machine
from gateway.embedded import beside_gateway
from gateway.replay.run import NOT_RUN
from gateway.settings import Settings

DONE_S = 60
REFUSED = {
    "no such day": ["warm", "--active-within", "1e300"],
    "no day at all": ["keys", "create", "--scope", "read", "--expires-days", "inf"],
    "more than can be counted": ["quarantine", "list", "--limit", "99999999999999999999"],
    "no namespace to warm": ["warm", "--namespace", ""],
    "no namespace to restore": ["restore", "--yes", "--namespace", ""],
    "no gateway to replay against": ["replay", "--url", "localhost:8080", __file__],
    "no side to trust without a repair": ["reconcile", "--trust", "redis"],
    "no repair that only lists": ["reconcile", "--namespace", "acme", "--repair", "--list"],
    "no namespace to list keys of": ["keys", "list", "--namespace", " "],
    "no namespace for a key": ["keys", "create", "--scope", "read", "--namespace", ""],
    "two meanings": ["keys", "create", "--scope", "read", "--namespace", "a", "--all-namespaces"],
    "no time at all": ["keys", "create", "--scope", "read", "--expires-days", "0"],
    "no port": ["serve", "--port", "65536"],
    "no namespace to reconcile": ["reconcile", "--repair", "--namespace", " acme"],
}


def quotagate(
    *arguments: str, stdout: IO[str] | int = subprocess.PIPE, **settings: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        env=environment(**settings),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=DONE_S,
        check=False,
    )


@pytest.mark.parametrize("arguments", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_meant_is_refused_before_anything_is_done(arguments: list[str]) -> None:
    done = quotagate(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Invalid value" in done.stderr
    assert next(word for word in reversed(arguments) if word.startswith("--")) in done.stderr


_INTERRUPTED = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, *_):
        if name == "typer":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
from gateway.__main__ import main
main()
"""


def test_who_interrupts_a_command_that_is_still_loading_sees_no_traceback() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _INTERRUPTED], capture_output=True, timeout=DONE_S, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


def test_a_user_without_name_or_home_is_somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    """As containers run them: both URLs are set, and nothing is known of the user but a number."""

    def unknown(*_: object) -> None:
        raise KeyError("getpwuid(): uid not found: 23456")

    for name in ("HOME", "LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    given = Settings(redis_url="redis://cache", database_url="postgresql://db/x")
    assert beside_gateway(given) == given
    assert user_of_machine().actor_id == f"cli:{os.getuid()}"


def test_a_demo_of_no_trace_starts_nothing() -> None:
    done = quotagate("demo", __file__)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("the replay stopped: ")
    assert "the columns TIMESTAMP,ContextTokens,GeneratedTokens are needed" in done.stderr
    assert "starting" not in done.stderr


def test_an_empty_data_directory_is_none(tmp_path: Path) -> None:
    done = quotagate(
        "serve", "--ephemeral", "--data-dir", "", REDIS_URL="redis://x", DATABASE_URL="postgresql://x/x"
    )
    assert done.returncode == 1
    assert "both URLs are set" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_an_answer_that_cannot_be_written_is_said_to_be() -> None:
    with Path("/dev/full").open("w", encoding="ascii") as full:
        done = quotagate("settings", stdout=full)
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["quotagate: cannot write: No space left on device"]


def test_a_terminal_of_another_encoding_is_shown_what_it_can() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "settings"],
        env=environment() | {"PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        timeout=DONE_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"Takes a URL redis://? or" in done.stdout


def test_closed_standard_streams_lead_nowhere(tmp_path: Path) -> None:
    """As daemons are started: without any, or without one that a socket of ours would take the place of."""
    trace = tmp_path / "trace.csv"
    trace.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2026-11-22 05:00:00,1,1\n", encoding="ascii")
    ended = [
        subprocess.run(
            ["/bin/sh", "-c", f'exec "$0" "$@" {closed}', sys.executable, "-m", "gateway", *arguments],
            env=environment(),
            capture_output=True,
            timeout=DONE_S,
            check=False,
        ).returncode
        for closed, arguments in (
            ("<&- >&- 2>&-", ["settings"]),
            (">&-", ["replay", "--url", "http://127.0.0.1:1", str(trace)]),
        )
    ]
    assert ended == [0, NOT_RUN]


@pytest.fixture(params=["data", "a data directory" * 6], ids=["short", "too long for a socket"])
def data_dir(request: pytest.FixtureRequest) -> Iterator[str]:
    """A data directory whose sockets lie in it, and one whose sockets have to lie elsewhere."""
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        yield f"{place}/{request.param}"


def test_commands_find_the_servers_of_a_gateway_on_the_data_directory(run: Run, data_dir: str) -> None:
    without = quotagate("restore", "--check", DATA_DIR=data_dir)
    assert without.returncode == 1
    assert "a gateway with embedded servers must be running" in without.stderr

    gateway = run("serve", "--port", "0", DATA_DIR=data_dir)
    gateway.url()
    said = [
        quotagate(*arguments, DATA_DIR=data_dir)
        for arguments in (["restore", "--check"], ["quarantine", "list"])
    ]
    assert [(done.returncode, done.stdout, done.stderr) for done in said] == [
        (0, "0 accounts and 0 holds in Redis compared with the ledger: all are the same\n", ""),
        (0, "nothing is in quarantine\n", ""),
    ]


def test_a_file_of_another_user_is_named_and_no_mistake_of_ours(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused() -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/data/quotagate.lock")

    monkeypatch.setattr("gateway.cli.cli", refused)
    monkeypatch.setattr("gateway.cli.signal.signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        gateway.cli.main()
    assert ended.value.code == 1
    said = "quotagate: /data/quotagate.lock: Permission denied; does it belong to another user?\n"
    assert capsys.readouterr().err == said
