"""Every key Quotagate writes to Redis, spelled here and nowhere else.

    qg1:{042}:meta                            hash    epoch (none while closed), posted, last_ms, schema,
                                              mark, ledger; closed (the epoch it had), closing
    qg1:{042}:journal                         stream  ids <epoch>-<seq>
    qg1:{042}:<e>:acct:<ns>:<account>         hash    balance, reserved, seq, next_ms, mended (last repair),
                                              period, limits; absent (the ledger knows none);
                                              open:<day> and close:<day> until they are posted
    qg1:{042}:<e>:holds:<ns>:<account>        zset    open holds of the account by expiry (ms)
    qg1:{042}:<e>:hold:<ns>:<id>              hash    terms, body, uncounted (shadow limits it passed by);
                                              status and what settled it
    qg1:{042}:<e>:due                         zset    accounts with open holds by their first expiry (ms)
    qg1:{042}:<e>:seen:<ns>:<key>             string  fingerprint, id and head of the first answer
    qg1:{042}:<e>:seen:<ns>:duplicate:<id>    string  the same of what undid the duplicate at <id>

The tag is the shard, so one node and a cluster use the same names; state keys carry the epoch, so
nothing of an old one leaks into a new one. Names are percent-encoded, so none can forge a key.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from gateway.domain.names import parse_namespace

SCHEMA = "1"

# What SCAN must match to find the accounts of all shards; accounts and holds; every key that has an epoch.
ACCOUNTS_PATTERN = f"qg{SCHEMA}:{{*}}:*:acct:*"
STATES_PATTERN = f"qg{SCHEMA}:{{*}}:*:[ah]*:*"
EPOCHS_PATTERN = f"qg{SCHEMA}:{{*}}:[0-9]*"

_STATE_KEY = re.compile(rf"qg{SCHEMA}:\{{([0-9]{{3}})\}}:([0-9]+):(acct|holds|hold|due|seen):?(.*)")


class ShardKeys:
    """The keys of one shard in one epoch; ``common`` are those that every script is given."""

    __slots__ = ("common", "due", "epoch", "hold_prefix", "journal", "meta", "prefix", "seen_prefix")

    def __init__(self, shard: int, epoch: int) -> None:
        root = f"qg{SCHEMA}:{{{shard:03d}}}:"
        self.epoch = str(epoch)
        self.meta = root + "meta"
        self.journal = root + "journal"
        self.prefix = f"{root}{epoch}:"
        self.due = self.prefix + "due"
        self.common: tuple[str, ...] = (self.meta, self.journal, self.due)
        self.hold_prefix = self.prefix + "hold:"
        self.seen_prefix = self.prefix + "seen:"


class StateKey(NamedTuple):
    """A key that has an epoch, taken apart; ``path`` is ``<ns>:<account>``, ``<ns>:<id>`` or ""."""

    shard: int
    epoch: int
    kind: str
    path: str


def read_state_key(key: str) -> StateKey | None:
    """Take a key apart; None for one that is not ours or has no epoch."""
    match = _STATE_KEY.fullmatch(key)
    return StateKey(int(match[1]), int(match[2]), match[3], match[4]) if match else None


def named(path: str) -> tuple[str, str]:
    """Read the path of an account or a hold: its namespace, and its text or id."""
    namespace, _, name = path.partition(":")
    return parse_namespace(namespace), name
