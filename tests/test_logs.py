"""Lines of the log that are not ours."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import logging
from gateway.logs import configure_logs
from gateway.settings import Settings

configure_logs(Settings())
for name in ("psycopg.pool", "psycopg.transaction", "redis"):
    logging.getLogger(name).warning("%s says so", name)
"""


def test_what_the_driver_of_postgres_complains_of_is_said_in_our_words_alone() -> None:
    said = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True)
    assert "redis says so" in said.stderr
    assert "psycopg" not in said.stderr
