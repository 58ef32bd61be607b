"""Every key Quotagate writes to Redis, spelled here and nowhere else.

    qg1:{042}:meta                            hash    epoch (none while closed), posted, last_ms, schema,
                                              ledger; closed (the epoch it had), closing
    qg1:{042}:journal                         stream  ids <epoch>-<seq>
    qg1:{042}:<e>:acct:<ns>:<account>         hash    balance, reserved, seq, next_ms
    qg1:{042}:<e>:holds:<ns>:<account>        zset    open holds of the account by expiry (ms)
    qg1:{042}:<e>:hold:<ns>:<id>              hash    terms, body; status and what settled it
    qg1:{042}:<e>:due                         zset    accounts with open holds by their first expiry (ms)
    qg1:{042}:<e>:seen:<ns>:<key>             string  fingerprint, id and head of the first answer

The tag is the shard, so one node and a cluster use the same names; state keys carry the epoch, so
nothing of an old one leaks into a new one. Names are percent-encoded, so none can forge a key.
"""

from __future__ import annotations

SCHEMA = "1"


class ShardKeys:
    """The keys of one shard in one epoch."""

    __slots__ = ("due", "epoch", "hold_prefix", "journal", "meta", "prefix", "seen_prefix")

    def __init__(self, shard: int, epoch: int) -> None:
        root = f"qg{SCHEMA}:{{{shard:03d}}}:"
        self.epoch = str(epoch)
        self.meta = root + "meta"
        self.journal = root + "journal"
        self.prefix = f"{root}{epoch}:"
        self.due = self.prefix + "due"
        self.hold_prefix = self.prefix + "hold:"
        self.seen_prefix = self.prefix + "seen:"
