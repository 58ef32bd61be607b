"""A process that hosts servers, for tests that end it in every way. Stdlib only: any user's Python runs it.

Usage: hosting.py DATA_DIR; prints one line of JSON once they serve, and stops them when its input ends.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from gateway.servers import start_servers

if __name__ == "__main__":
    with start_servers(Path(sys.argv[1])) as running:
        told = {
            "redis_url": running.redis_url,
            "database_url": running.database_url,
            "pids": [server.pid for server in running.servers.values()],
        }
        print(json.dumps(told), flush=True)  # noqa: T201 - the test reads it
        sys.stdin.read()
