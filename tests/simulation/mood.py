"""What one seed's world is like: how many take part, how hurried they are, and what may befall them."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

# What may happen to a world, by how often it does. A world that may lose has all of them.
HARMLESS = {
    "kill_gateway": 3,
    "kill_flusher": 3,
    "stop_flusher": 1,
    "drop_link": 4,
    "freeze_link": 2,
    "freeze_server": 2,
    "restart_whole": 2,
    "forget_scripts": 2,
    "ledger_away": 2,
    "ledger_fails": 2,
    "ledger_slow": 2,
    "lose_lock": 2,
    "stall_load": 1,
    "freeze_process": 3,
    "jump_clock": 1,
}
LOSING = {"lose_tail": 4, "promote": 2, "lose_all": 2, "flush_all": 2, "split": 1}


@dataclass
class Mood:
    """The parameters of one world, drawn from its seed."""

    lossy: bool
    gateways: int
    flushers: int
    clients: int
    operations: int
    accounts: int
    keyed: float
    impatient: float
    leaves: bool
    slowness: float
    interval_ms: int
    batch_entries: int
    block_ms: int
    journal_max: int
    absent_ttl_ms: int
    seq_full: int
    pauses_s: tuple[float, ...]
    faults: int
    fault_every: int
    kinds: dict[str, int] = field(default_factory=dict)
    hides_run: bool = False
    poisoned: int = 0  # every so many operations say something that the ledger cannot book as it stands


def draw(chance: Random) -> Mood:
    """Draw a world."""
    lossy = chance.random() < 0.5
    kinds = HARMLESS | (LOSING if lossy else {})
    if chance.random() < 0.7:  # a few kinds, more often: what needs two of a kind is found so
        some = chance.sample(sorted(kinds), chance.randint(1, 4))
        kinds = {kind: kinds[kind] for kind in some}
    leaves = chance.random() < 0.3
    if leaves:
        kinds |= {"stall_load": 6}
    return Mood(
        lossy=lossy,
        gateways=chance.choice((1, 2, 2, 3)),
        flushers=chance.choice((1, 1, 2)),
        clients=chance.choice((1, 2, 3, 4)),
        operations=6 if leaves else chance.choice((6, 10, 16)),
        accounts=chance.choice((1, 2, 3)),
        keyed=chance.choice((1.0, 0.8, 0.3)),
        impatient=chance.choice((0.0, 0.0, 0.2)),
        leaves=leaves,
        slowness=chance.choice((0.0, 0.02, 0.1)),
        interval_ms=chance.choice((5, 50, 400)),
        batch_entries=chance.choice((1, 3, 2000)),
        block_ms=chance.choice((1000, 5000, 20_000)),
        journal_max=chance.choice((8, 1000, 1000)),
        absent_ttl_ms=chance.choice((1000, 30_000)),
        seq_full=chance.choice((3, 6, 15, 10**9, 10**9)),
        pauses_s=(70.0, 3.0, 0.0, 0.0)
        if leaves
        else chance.choice(((0.0,), (0.0, 0.01), (0.0, 0.3, 2.0, 8.0))),
        faults=chance.choice((1, 3, 6, 12)),
        fault_every=chance.choice((5, 15, 50, 120)),
        kinds=kinds,
    )
