"""Tries changes of the Lua on the tests of the store, which it collects once. ``looping`` runs them.

The tests run on the simulation's Redis, which answers within this process.
"""

from __future__ import annotations

import json
import math
import os
import resource
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

import pytest

from .changes import Change

_TESTS = Path(__file__).parents[1]
_STORE = _TESTS / "store"
_NOT_OF_SCRIPTS = (
    "cluster",
    "durability",
    "pipeline",
    "pipeline_faults",
    "tls",
)  # nor could they run in this process
_CPU_BOUND_S = 60  # of its own work: a busy machine notices nothing
_BOUND_S = 240

SURVIVED = ""


def try_all(changes: Sequence[Change], said: Connection) -> None:
    """Try changes one after the other; send for each the test that noticed it, or ``SURVIVED``.

    The first thing sent is the list of the tests that fail without any change: they can notice none.
    """
    sys.path[:0] = [str(_TESTS), str(_TESTS.parent)]
    import servers_under_test as served

    from .inprocess_server import ChangedServer
    from .looping import Loop

    served.FAKE = ChangedServer.name
    served.FakeServer = ChangedServer  # type: ignore[assignment,misc]
    served.server_names = lambda: [ChangedServer.name]
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    left_out = {f"test_store_{name}.py" for name in _NOT_OF_SCRIPTS}
    chosen = [str(file) for file in sorted(_STORE.glob("test_*.py")) if file.name not in left_out]
    pytest.main(["-q", "-p", "no:cacheprovider", "-o", "timeout=0", *chosen], plugins=[Loop(changes, said)])


def in_child(work: Callable[[], Any]) -> Any:
    """Do the work in a process of its own; say so, if it had to be ended.

    Raises RuntimeError if it failed by itself, for that says nothing of any change.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _do(work, writing)
    os.close(writing)
    if not _is_heard(reading):
        os.kill(child, signal.SIGKILL)
    with os.fdopen(reading, "rb") as told:
        text = told.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status > 0:
        raise RuntimeError("the process that tries a change failed by itself")
    return json.loads(text) if status == 0 else "it never came to an end"


def _do(work: Callable[[], Any], writing: int) -> NoReturn:
    code = 1
    try:
        bound_cpu(_CPU_BOUND_S)
        os.write(writing, json.dumps(work()).encode())
        code = 0
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        os._exit(code)


def _is_heard(reading: int) -> bool:
    """Wait until a child speaks or ends, in turns: when both are halted for a while, that counts as one."""
    return any(select.select([reading], [], [], 1)[0] for _ in range(_BOUND_S))


def bound_cpu(seconds: float) -> None:
    """Let this process end when it has worked so long from now: a loop inside Lua hears no other signal."""
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time() + seconds), most))
