"""What the README shows of commands that it cannot run from a block: what they print."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

from doc_blocks import Block, blocks_of
from doc_reader import SHOWN

TRACE = "loadtest/traces/azure_llm_trace_conv.csv"


def shown_after(command: str) -> Block:
    """Give what the README shows below a block that has this command."""
    blocks = blocks_of("README.md")
    return next(below for above, below in itertools.pairwise(blocks) if command in above.text.splitlines())


def test_serve_says_what_the_readme_shows(tmp_path: Path) -> None:
    environ = {name: text for name, text in os.environ.items() if not name.startswith("QUOTAGATE_")}
    with subprocess.Popen(
        [sys.executable, "-m", "gateway", "serve", "--port", "0"],
        env=environ | {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        shown = shown_after("quotagate serve").text
        said = ""
        for line in process.stderr:
            said += re.sub(r"127\.0\.0\.1:\d+", SHOWN, line) if "Quotagate serves on" in said + line else ""
            if len(said) >= len(shown):
                break
        process.terminate()
        assert process.wait(30) == 0
    assert said == shown


def test_the_report_has_the_lines_that_the_readme_shows(gateway_url: str) -> None:
    report = subprocess.run(
        [sys.executable, "-m", "gateway", "replay", "--url", gateway_url, "--limit", "200", TRACE],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    for line in shown_after("./demo").text.splitlines():
        words = [cell for cell in re.split(r"\s{2,}", line.strip()) if re.search(r"[a-z]", cell)]
        assert not words or words[0] in report, line
