"""How much is measured: the sizes of a run. Nothing is measured here."""

from __future__ import annotations

from typing import NamedTuple


class Sizes(NamedTuple):
    """The sizes of one run.

    Attributes:
        rounds: how often everything is measured, each time on fresh servers; figures are medians over rounds.
        turns: how often the closed loops that are judged take turns in a round; others do a quarter as often.
        seconds: how long one turn of a closed loop is counted.
        open_seconds: how long the arrivals of one open loop are counted.
        warm_seconds: how long each loop runs before it is counted.
        clients: numbers of clients, ascending.
        open_clients: those of them that are loaded in an open loop as well.
        peer_clients: those of them at which peers are measured.
        durable_clients: the number of clients at which the levels of durability are measured.
        durable_seconds: how long each of these is counted: a disk that is synced every second needs some.
        accounts: how many accounts the load is spread over, where it is not on one.
        batches: script batches per server and round, for the server's own time.
        batch_calls: calls in each of these.
        memory: accounts, holds and keys made to see what one takes.
        layer_calls: calls timed for each layer of a request.
    """

    rounds: int
    turns: int
    seconds: float
    open_seconds: float
    warm_seconds: float
    clients: tuple[int, ...] = (1, 32, 256)
    open_clients: tuple[int, ...] = (1, 32, 256)
    peer_clients: tuple[int, ...] = (1, 32, 256)
    durable_clients: int = 32
    durable_seconds: float = 3.0
    accounts: int = 1000
    batches: int = 40
    batch_calls: int = 500
    memory: int = 100_000
    layer_calls: int = 5000


QUICK = Sizes(
    rounds=1,
    turns=8,
    seconds=0.25,
    open_seconds=0.5,
    warm_seconds=0.1,
    open_clients=(32,),
    peer_clients=(32,),
    memory=20_000,
)
FULL = Sizes(
    rounds=5, turns=8, seconds=0.4, open_seconds=1.5, warm_seconds=0.1, batches=60, layer_calls=20_000
)
# Sees whether everything still runs; its figures mean nothing.
TINY = Sizes(
    rounds=1,
    turns=4,
    seconds=0.05,
    open_seconds=0.05,
    warm_seconds=0.005,
    clients=(32, 256),
    open_clients=(32,),
    peer_clients=(32,),
    durable_seconds=0.05,
    accounts=5,
    batches=2,
    batch_calls=50,
    memory=200,
    layer_calls=20,
)
