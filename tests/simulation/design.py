"""Which classes and scripts a world is made of: the product's, unless a protection is taken out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.store.calls import Calls
from gateway.store.journal import RedisJournal
from gateway.store.loading import Loader
from gateway.store.scripts import Script, scripts
from gateway.store.shards import RedisShards
from persistence.fence import LedgerFence
from persistence.flusher import Flusher

from .ledger import SimLedger


@dataclass
class Design:
    """What processes are put together from.

    ``patches`` gives names of our modules other values, ``mood`` draws all worlds alike in some respect.

    Three protections are switches, for as long as the product lacks them:

    salvage: an acknowledged entry survives the loss of a Redis tail as long as its gateway lives. Without
        it, such an entry may be missing.
    lookup: a key is found in the ledger after an epoch change. Without it, an operation may be repeated.
    counted: fences are counted, and one that was overtaken has no effect any more; what was read from a
        journal before Redis lost a part of it cannot be posted afterwards, even if the epoch stays. Without
        it, no fence loses its lock, and flushers die whenever Redis loses something.
    """

    scripts: Mapping[str, Script] = field(default_factory=lambda: scripts(shebang=False))
    ledger: Callable[[], SimLedger] = SimLedger
    fence: Callable[..., LedgerFence] = LedgerFence
    journal: Callable[..., RedisJournal] = RedisJournal
    shards: Callable[..., RedisShards] = RedisShards
    loader: Callable[..., Loader] = Loader
    calls: Callable[..., Calls] = Calls
    flusher: Callable[..., Flusher] = Flusher
    salvage: bool = False
    lookup: bool = False
    counted: bool = False
    patches: Mapping[str, Any] = field(default_factory=dict)
    mood: Mapping[str, Any] = field(default_factory=dict)
