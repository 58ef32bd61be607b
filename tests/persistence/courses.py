"""Random courses of a journal, for hypothesis to draw. What must hold of them is not here."""

from __future__ import annotations

from hypothesis import strategies as st
from scribe import ALICE, BOB, MONEY, POOL, Scribe

ACCOUNTS = (ALICE, BOB, MONEY, POOL)
accounts = st.sampled_from(ACCOUNTS)
amounts = st.integers(1, 10_000)
steps = st.one_of(
    st.tuples(st.sampled_from(["allocate", "consume", "adjust"]), accounts, amounts),
    st.tuples(st.just("reserve"), st.sets(accounts, min_size=1, max_size=3), amounts),
    st.tuples(st.sampled_from(["commit", "release", "expire", "late", "extend"]), st.integers(0, 9), amounts),
    st.tuples(st.sampled_from(["audit", "cut", "wait"]), st.none(), st.none()),
)

Steps = list[tuple[str, object, int | None]]


class Walk:
    """Carries out random steps on a scribe and remembers where batches are cut."""

    def __init__(self, scribe: Scribe) -> None:
        self.scribe = scribe
        self.cuts = [0]
        self.expired: list[tuple[str, dict[str, int]]] = []

    def take(self, verb: str, where: object, amount: int | None) -> None:
        scribe, n = self.scribe, amount or 0
        if verb in {"allocate", "consume", "adjust"}:
            getattr(scribe, verb)(where, -n if verb == "adjust" and n % 2 else n)
        elif verb == "reserve":
            assert isinstance(where, set)
            scribe.reserve(dict.fromkeys(sorted(where), n))
        elif verb == "audit":
            scribe.audit(*ACCOUNTS)
        elif verb == "cut":
            self.cuts.append(len(scribe.entries))
        elif verb == "wait":
            scribe.at_ms += 20 * 86_400_000
        else:
            assert isinstance(where, int)
            self.settle(verb, where, n)

    def settle(self, verb: str, which: int, amount: int) -> None:
        if verb == "late":
            if self.expired:
                hold, legs = self.expired.pop(which % len(self.expired))
                self.scribe.commit_late(hold, legs, amount)
            return
        if not self.scribe.open:
            return
        hold = sorted(self.scribe.open)[which % len(self.scribe.open)]
        if verb == "expire":
            self.expired.append((hold, self.scribe.expire(hold)))
        elif verb == "release":
            self.scribe.release(hold)
        else:
            getattr(self.scribe, verb)(hold, amount)

    def batches(self) -> list[tuple[int, int]]:
        """Give where each batch begins and ends."""
        ends = [*self.cuts[1:], len(self.scribe.entries)]
        return [(start, end) for start, end in zip(self.cuts, ends, strict=True) if start < end]
