"""Books what was salvaged one entry at a time, where together it is refused: a bad one is in nobody's way.

As in quarantine.py nothing is dropped: an entry that cannot be booked is kept whole for a person, in the
transaction that leaves its epoch. When that is done is salvage.py's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from gateway.domain.entries import Entry, Position
from persistence.database import Connection
from persistence.errors import EntryRefusedError
from persistence.names import Named, stored
from persistence.postings import Posting
from persistence.quarantine import Case, case_of, fault_of, quarantine
from persistence.rebasing import Books
from persistence.refusals import OF_A_ROW, in_words
from persistence.repeats import keep_answers
from persistence.writing import clear, write

_NOTHING = "nothing of it is booked, though it was acknowledged: its accounts go on without it"


class Sieve:
    """Books the entries of one shard, each as far as the database takes it.

    Args:
        connection: inside the transaction that leaves the epoch.
        shard: whose entries.
        books: accounts and holds as the ledger has them.
        names: takes in the long names that were met.

    Attributes:
        cases: what went to quarantine.
    """

    def __init__(self, connection: Connection, shard: int, books: Books, names: dict[Named, str]) -> None:
        self._connection = connection
        self._shard = shard
        self._books = books
        self._names = names
        self.cases: list[Case] = []

    async def book(self, entries: Sequence[Entry], places: Mapping[Position, Position]) -> None:
        """Book entries in order. ``places`` has the place each had in its own epoch, to be found there."""
        for entry in entries:
            reason = await self._refused(entry)
            if reason is None:
                continue
            case = Case(entry, None, "nothing", f"{reason}; {_NOTHING}")
            bare = replace(entry, body=b"")
            if entry.body and await self._refused(bare) is None:
                case = case_of(entry, bare, "without_body", reason)
            case = case._replace(entry=replace(entry, position=places[entry.position]))
            await quarantine(self._connection, self._shard, case)
            self.cases.append(case)

    async def _refused(self, entry: Entry) -> str | None:
        """Book an entry; say why it is refused, None when it is booked."""
        if (reason := fault_of(self._shard, entry)) is not None:
            return reason
        books, posting = self._books.copy(), Posting()
        try:
            async with self._connection.transaction():
                named = stored(entry, self._names)
                posting.add_fitted(named, books.fit(named))
                await write(self._connection, posting)
                await keep_answers(self._connection, posting)
                await clear(self._connection)
        except EntryRefusedError as error:
            return error.reason
        except (*OF_A_ROW, ValueError, OverflowError) as error:
            return in_words(error)
        self._books = books
        return None
