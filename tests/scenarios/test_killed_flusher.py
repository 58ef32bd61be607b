"""A flusher that is killed at random moments neither loses an entry nor books one twice."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter

from commands import Run

from gateway.client import MeterClient
from gateway.servers import RunningServers, start_servers

ROUNDS = 12
CALLERS = 4
POSTED_WITHIN_S = 120.0


def spend(url: str, user: str, stop: threading.Event, booked: list[int]) -> None:
    with MeterClient(url, namespace="acme") as meter:
        while not stop.is_set():
            hold = meter.reserve(user, "llm_call", 5, "tokens")
            answer = meter.commit(hold["reservation_id"], 3)
            assert answer["entry_id"] is not None
            booked.append(answer["entry_id"])


def test_a_killed_flusher_neither_loses_nor_doubles_an_entry(run: Run) -> None:
    chance = random.Random(20261121)
    with start_servers(None, ephemeral=True, fsync=False) as servers:
        _kill_flushers(run, servers, chance)


def _kill_flushers(run: Run, servers: RunningServers, chance: random.Random) -> None:
    urls = {"REDIS_URL": servers.redis_url, "DATABASE_URL": servers.database_url}
    gateway = run("serve", "--port", "0", "--no-flusher", AUTH="off", **urls)
    url = gateway.url()
    stop = threading.Event()
    booked: dict[str, list[int]] = {f"user-{number}": [] for number in range(CALLERS)}
    with MeterClient(url, namespace="acme") as meter:
        for user in booked:
            meter.allocate(user, "llm_call", 1_000_000, "tokens")
        callers = [
            threading.Thread(target=spend, args=(url, user, stop, ids), daemon=True)
            for user, ids in booked.items()
        ]
        for caller in callers:
            caller.start()
        for _ in range(ROUNDS):
            flusher = run("flush", FLUSH_BATCH_ENTRIES=str(chance.choice([1, 7, 200])), **urls)
            before = sum(map(len, booked.values()))
            # Some are killed while they start, others in the middle of their work.
            while sum(map(len, booked.values())) < before + chance.randrange(1, 300):
                stop.wait(0.005)
            flusher.kill()
        stop.set()
        for caller in callers:
            caller.join()

        last = run("flush", **urls)
        deadline = time.monotonic() + POSTED_WITHIN_S
        for user, ids in booked.items():
            entries = list(meter.iter_ledger(user, "llm_call", "tokens"))
            while len(entries) < len(ids) + 1:
                assert last.process.poll() is None
                assert time.monotonic() < deadline, f"{len(ids) + 1 - len(entries)} entries are not posted"
                entries = list(meter.iter_ledger(user, "llm_call", "tokens"))
            charges = Counter(entry["id"] for entry in entries if entry["entry_type"] == "consumption")
            assert charges == Counter(ids)
            assert sum(entry["amount"] for entry in entries) == 1_000_000 - 3 * len(ids)
        assert meter.reconcile() == []
        assert last.stop() == 0
    assert gateway.stop() == 0
