"""Who sends the requests of a trace, and how much each may spend. Nothing is asked of a gateway here.

A trace names nobody: teams, users and models are dealt out by line number, so that every run of a trace
gives everybody the same requests. Users have fresh names in every run, so that runs do not mix.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from typing import NamedTuple

from gateway.replay.trace import Request, Trace

TEAMS = ("research", "search", "support", "writing")
USERS_A_TEAM = 6
MODELS = ("large", "small")

# Some run dry before the trace ends; the others have room for estimates that are too high.
TIGHT_SHARE = 0.88
WIDE_SHARE = 1.15
TIGHT_EVERY = 5
_ROUNDED_TO = 1000


class Payer(NamedTuple):
    """Whose account a request is charged to."""

    team: str
    user_id: str
    model: str


class Plan(NamedTuple):
    """What each payer is allocated, in tokens, for one run."""

    run: str
    quotas: dict[Payer, int]

    def payer(self, request: Request) -> Payer:
        """Give who sends this request."""
        return _payer(self.run, request.line)


def make_plan(trace: Trace, run: str) -> Plan:
    """Deal out the requests of a trace and size everybody's quota by what they will want to spend."""
    wanted: defaultdict[Payer, int] = defaultdict(int)
    for request in trace.requests:
        wanted[_payer(run, request.line)] += request.tokens
    quotas = {payer: _quota(rank, tokens) for rank, (payer, tokens) in enumerate(sorted(wanted.items()))}
    return Plan(run, quotas)


def _payer(run: str, line: int) -> Payer:
    dealt = zlib.crc32(b"%d" % line)
    team = TEAMS[dealt % len(TEAMS)]
    number = dealt // len(TEAMS) % USERS_A_TEAM + 1
    model = MODELS[dealt // (len(TEAMS) * USERS_A_TEAM) % len(MODELS)]
    return Payer(team, f"replay-{run}/{team}/user-{number}", model)


def _quota(rank: int, tokens: int) -> int:
    share = TIGHT_SHARE if rank % TIGHT_EVERY == 0 else WIDE_SHARE
    return max(round(tokens * share / _ROUNDED_TO), 1) * _ROUNDED_TO
