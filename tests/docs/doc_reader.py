"""A reader of the documents, who pastes one block after another into a shell and an interpreter."""

from __future__ import annotations

import functools
import io
import shutil
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from doc_blocks import ROOT, Block

from gateway.client import MeterClient

SHOWN = "127.0.0.1:8080"

_SHELL = """\
set -aeuo pipefail
[ ! -f "$STATE" ] || . "$STATE"
{text}
export -p > "$STATE"
"""


class Reader:
    """Runs blocks in order: variables of the shell and names of the interpreter stay from block to block.

    Args:
        urls: the gateway by the mark of a block; its address replaces 127.0.0.1:8080.
        environ: the environment of the shell.
        home: an empty directory that is the reader's own.
        own_curl: whether curl is ours even where the real one is installed.
    """

    def __init__(
        self, urls: Mapping[str, str], environ: Mapping[str, str], home: Path, *, own_curl: bool = False
    ) -> None:
        self._addresses = {mark: urlsplit(url).netloc for mark, url in urls.items()}
        programs = home / "bin"
        programs.mkdir()
        if own_curl or shutil.which("curl") is None:
            curl = programs / "curl"
            curl.write_text(
                f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).with_name("curl_by_hand.py")}" "$@"\n'
            )
            curl.chmod(0o700)
        path = f"{programs}:{Path(sys.executable).parent}:{environ['PATH']}"
        self._environ = {**environ, "PATH": path, "HOME": str(home), "STATE": str(home / "state")}
        self._printed = io.StringIO()
        self._names: dict[str, Any] = {"print": functools.partial(print, file=self._printed)}

    def close(self) -> None:
        """Close the connections that the examples left open, as the end of their program would."""
        for value in self._names.values():
            if isinstance(value, MeterClient):
                value.close()

    def run(self, block: Block) -> str:
        """Run a block and give what it printed, with the addresses that the document shows."""
        address = self._addresses[block.mark]
        text = block.text.replace(SHOWN, address)
        run = {"sh": self._shell, "python": self._python, "sql": self._sql}[block.kind]
        return run(block, text).replace(address, SHOWN)

    def _shell(self, block: Block, text: str) -> str:
        done = subprocess.run(
            ["bash", "-c", _SHELL.format(text=text)],
            env=self._environ,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{block.place} failed:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def _python(self, block: Block, text: str) -> str:
        self._printed.seek(0)
        self._printed.truncate()
        code = compile(text, block.place, "exec")
        # In a thread of its own, where an example may start an event loop.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(self._exec, code).result(timeout=60)
        return self._printed.getvalue()

    def _sql(self, _block: Block, text: str) -> str:
        """Run statements; give the columns and rows of the last one that has any."""
        with psycopg.connect(self._environ["QUOTAGATE_DATABASE_URL"], autocommit=True) as connection:
            cursor = connection.execute(text.encode())
            while cursor.nextset():
                pass
            if cursor.description is None:
                return ""
            rows = [[column.name for column in cursor.description], *cursor.fetchall()]
        return "\n".join(" | ".join(map(_shown, row)) for row in rows)

    def _exec(self, code: Any) -> None:
        exec(code, self._names)


def _shown(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
