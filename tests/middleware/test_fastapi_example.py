"""The example is run as its first lines say, and called with the SDK that it is made for."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import openai
import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "fastapi_app.py"


@contextmanager
def example() -> Iterator[str]:
    """Run the example; give its URL."""
    environ = {name: text for name, text in os.environ.items() if not name.startswith("QUOTAGATE_")}
    with subprocess.Popen(
        [sys.executable, str(EXAMPLE), "--port", "0"],
        env=environ | {"PYTHONPATH": str(EXAMPLE.parents[1])},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        try:
            said = []
            for line in process.stderr:
                said.append(line)
                if found := re.search(r"running on (\S+)", line):
                    yield found[1]
                    break
            else:
                raise AssertionError("".join(said))
        finally:
            process.send_signal(signal.SIGINT)
            process.stderr.read()
            assert process.wait(20) == 0


def test_the_example_serves_charges_and_refuses() -> None:
    with example() as url, openai.OpenAI(base_url=f"{url}/v1", api_key="alice", max_retries=0) as client:
        asked = [{"role": "user", "content": "Is it?"}]
        whole = client.chat.completions.create(model="m", messages=asked, max_tokens=50)  # type: ignore[call-overload]
        assert whole.choices[0].message.content == "The quota is spent well."
        stream = client.chat.completions.create(model="m", messages=asked, max_tokens=50, stream=True)  # type: ignore[call-overload]
        assert len(list(stream)) == 6
        reports = [
            httpx2.post(f"{url}/reports", headers={"authorization": "Bearer alice"}, trust_env=False)
            for _ in range(20)
        ]
        # 2,000 less two calls of 25 pay for nineteen reports of 100.
        assert [report.status_code for report in reports] == [200] * 19 + [429]
        assert reports[0].headers["x-ratelimit-limit-tokens"] == "1950"
        with pytest.raises(openai.RateLimitError) as denied:
            client.chat.completions.create(model="m", messages=asked, max_tokens=60)  # type: ignore[call-overload]
        assert denied.value.code == "insufficient_quota"
        for path in ("/docs", "/openapi.json"):  # the page reads the other
            assert httpx2.get(f"{url}{path}", trust_env=False).status_code == 200
        assert httpx2.post(f"{url}/reports", trust_env=False).status_code == 401
