"""A shard whose epochs are left, with what gateways offer of them. What is in it the tests say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import astuple
from scribe import Scribe

from gateway.domain.entries import Entry, Position
from gateway.domain.names import namespace_text
from gateway.errors import MeterUnavailableError
from gateway.store.replies import read_entry
from persistence.closings import Closings
from persistence.database import Database
from persistence.ledger import Ledger
from persistence.statements import statement

OFFER = statement("offer_salvage")


class Shard:
    """One shard whose epochs are left, one after the other."""

    def __init__(self, database: Database, scribe: Scribe) -> None:
        self._database = database
        self._closings = Closings(database, read_entry)
        self._ledger = Ledger(database)
        self._number = scribe.shard
        self.scribe = scribe

    async def mark(self) -> Position:
        return (await self._ledger.shard_rows())[self._number].watermark

    async def offer(self, entries: Iterable[Entry]) -> None:
        rows = [(self._number, *entry.position, *words(entry)) for entry in entries]
        if rows:
            names = ("shards", "epochs", "seqs", "heads", "bodies", "keys")
            async with self._database.transaction() as connection:
                await connection.execute(
                    OFFER, dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
                )

    async def leave(self, survivors: Sequence[Entry]) -> None:
        """Leave the epoch as a fence does, that is run again when its connection broke."""
        epoch = (await self.mark()).epoch
        while (await self.mark()).epoch == epoch:
            try:
                fences = await self._closings.close([self._number])
                assert set(await self._closings.leave(fences, {self._number: survivors}, ())) == {
                    self._number
                }
            except MeterUnavailableError:
                continue


def words(entry: Entry) -> tuple[str, bytes, str]:
    """Give head, body and key of an entry, as a gateway offers it; what no text takes, nobody can read."""
    spelled = "".join(leg.account for leg in entry.legs)
    if entry.verb == "unreadable" or "\0" in spelled or spelled.encode(errors="replace").decode() != spelled:
        return "nobody can read this", entry.body, ""
    times = f"{entry.expires_ms} {entry.late:d}"
    head = f"{entry.verb} {entry.at_ms} {namespace_text(entry.namespace)} {entry.hold_id or '-'} {times}"
    legs = [" ".join(map(str, astuple(leg))) for leg in entry.legs] + ([entry.limits] if entry.limits else [])
    key = f"{entry.keyed.fingerprint} {entry.keyed.key}" if entry.keyed else ""
    return " ".join([head, *legs]), entry.body, key
