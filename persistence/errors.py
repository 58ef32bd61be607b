"""What can go wrong between journal and ledger. No caller ever meets it, so none is a MeterError."""

from __future__ import annotations


class JournalError(Exception):
    """A shard's journal cannot be posted, and trying again is no use. Carries the ``shard`` it stops."""

    def __init__(self, shard: int, reason: str) -> None:
        super().__init__(f"shard {shard}: {reason}")
        self.shard = shard
        self.reason = reason


class JournalGapError(JournalError):
    """A sequence is missing from the journal: proof that Redis lost something."""


class JournalForkError(JournalError):
    """The journal tells something otherwise than the ledger has already booked it."""


class HoldMisfitError(JournalForkError):
    """The journal settles or extends a hold that the ledger knows otherwise, or not at all.

    ``namespace`` and ``hold_id`` are as the tables have them.
    """

    def __init__(self, shard: int, reason: str, namespace: str, hold_id: str) -> None:
        super().__init__(shard, reason)
        self.namespace = namespace
        self.hold_id = hold_id


class JournalEpochError(JournalError):
    """The journal's epoch is not the one that Postgres gave to the shard."""


class EntryRefusedError(JournalError):
    """An entry that no row can be made of: an unknown verb, a body that is no JSON, an impossible time."""


class PostingRefusedError(Exception):
    """The database refuses a posting for a reason that waiting does not mend; it does not say which entry."""


class RowRefusedError(PostingRefusedError):
    """The database refuses what a row says: one of the entries is to blame, and it does not say which."""


class MigrationError(Exception):
    """A database cannot be migrated: other migrations were applied to it, or its encoding is not UTF8."""


class RoleError(Exception):
    """The database's role does not see every row, so it may not serve."""
