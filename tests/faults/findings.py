"""What a checker found: one value, and which of them are no violation. Nothing is looked for here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

REPORTED = "reported_loss"


class Finding(NamedTuple):
    """One thing that is not as it should be: the rule, where, what of, both sides, and when if known."""

    rule: str
    namespace: str
    subject: str
    detail: str
    at_ms: float = 0

    def __str__(self) -> str:
        return f"{self.rule}: {self.namespace} {self.subject}: {self.detail}"


def violations(found: Iterable[Finding]) -> list[Finding]:
    """Give the findings that must not be: all but the losses that the system itself reported."""
    return [finding for finding in found if finding.rule != REPORTED]
