"""Which classes and scripts a world is made of: the product's, unless a protection is taken out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.store.calls import Calls
from gateway.store.first_answers import FirstAnswers
from gateway.store.journal import RedisJournal
from gateway.store.kept import Kept
from gateway.store.loading import Loader
from gateway.store.scripts import Script, scripts
from gateway.store.shards import RedisShards
from persistence.closings import Closings
from persistence.fence import LedgerFence
from persistence.flusher import Flusher
from persistence.leases import Lease
from persistence.ledger import Ledger


@dataclass
class Design:
    """What processes are put together from.

    ``patches`` gives names of our modules other values, ``mood`` draws all worlds alike in some respect.
    """

    scripts: Mapping[str, Script] = field(default_factory=lambda: scripts(shebang=False))
    ledger: Callable[..., Ledger] = Ledger
    closings: Callable[..., Closings] = Closings
    fence: Callable[..., LedgerFence] = LedgerFence
    lease: Callable[..., Lease] = Lease
    kept: Callable[..., Kept] = Kept
    journal: Callable[..., RedisJournal] = RedisJournal
    shards: Callable[..., RedisShards] = RedisShards
    loader: Callable[..., Loader] = Loader
    calls: Callable[..., Calls] = Calls
    answers: Callable[..., FirstAnswers] = FirstAnswers
    flusher: Callable[..., Flusher] = Flusher
    patches: Mapping[str, Any] = field(default_factory=dict)
    mood: Mapping[str, Any] = field(default_factory=dict)
