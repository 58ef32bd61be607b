"""A replay against a real gateway over real servers, twice: it ends well, and runs do not mix."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from gateway.replay import run_replay


async def test_a_replay_of_a_real_gateway_conserves_everything(gateway_url: str, trace_file: Path) -> None:
    for speed in (0.0, 60.0):
        page = Console(file=io.StringIO(), width=80)
        code = await run_replay(trace_file, gateway_url, namespace="replay-test", speed=speed, console=page)
        text = page.file.getvalue()  # type: ignore[attr-defined]
        assert code == 0, text
        assert text.count("✓") == 5
        assert "✗" not in text


async def test_a_namespace_that_is_refused_ends_the_replay(gateway_url: str, trace_file: Path) -> None:
    page = Console(file=io.StringIO(), width=80)
    assert await run_replay(trace_file, gateway_url, namespace=" edge ", console=page) == 2
    assert "namespace" in page.file.getvalue()  # type: ignore[attr-defined]
