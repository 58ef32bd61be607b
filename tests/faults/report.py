"""Says what a run came to, in lines. Judges nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from statistics import median

from tests.faults.findings import violations
from tests.faults.records import ACKNOWLEDGED, REFUSED, UNKNOWN, WRITES
from tests.faults.run import Outcome

_SHOWN = 20


def report(outcome: Outcome) -> Iterator[str]:
    """Give the lines of the report: the operations, the faults, the pauses, the findings."""
    writes = [operation for operation in outcome.history if operation.verb in WRITES]
    known = Counter(operation.outcome for operation in writes)
    calls = sum(len(operation.calls) for operation in writes)
    yield ""
    yield f"server       {outcome.server}"
    yield (
        f"operations   {len(writes)} in {calls} calls: {known[ACKNOWLEDGED]} acknowledged, "
        f"{known[REFUSED]} refused, {known[UNKNOWN]} unknown"
    )
    verbs = Counter(operation.verb for operation in writes)
    yield f"verbs        {', '.join(f'{verb} {number}' for verb, number in verbs.most_common())}"
    kinds = Counter(name for trouble in outcome.troubles for name in trouble.faults)
    yield f"faults       {sum(kinds.values())} of {len(kinds)} kinds: {_listed(kinds)}"
    pauses = [trouble.recovered_s for trouble in outcome.troubles]
    if pauses:
        worst_s = max(pauses)
        yield f"recovery     median {median(pauses):.2f} s, worst {worst_s:.2f} s after the fault was over"
    yield from _findings(outcome)


def _findings(outcome: Outcome) -> Iterator[str]:
    wrong = violations(outcome.findings)
    reported = len(outcome.findings) - len(wrong)
    yield f"violations   {len(wrong)}"
    if reported:
        yield f"lost         {reported} acknowledged operations, proven and reported by the system itself"
    by_rule = Counter(finding.rule for finding in wrong)
    yield from (f"  {rule}: {number}" for rule, number in by_rule.most_common())
    yield from (f"  {str(finding)[:600]}" for finding in wrong[:_SHOWN])
    if len(wrong) > _SHOWN:
        yield f"  and {len(wrong) - _SHOWN} more"


def _listed(kinds: Counter[str]) -> str:
    return ", ".join(f"{name} {number}" if number > 1 else name for name, number in sorted(kinds.items()))
