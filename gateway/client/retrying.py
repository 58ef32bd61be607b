"""When a call is sent again, and how long it waits before. Nothing is sent here.

Every call may be sent again: those that change something carry one idempotency key through all attempts.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import httpx2
import tenacity

from gateway.client.problems import retry_after_s
from gateway.errors import FieldError, MeterValidationError

# The answer never arrived, or not whole. What is wrong with the request itself is not among them.
_LOST = (httpx2.TimeoutException, httpx2.NetworkError, httpx2.RemoteProtocolError)
_PASSING = frozenset({408, 502, 503, 504})
_TOO_MANY = 429

_backoff = tenacity.wait_random_exponential(multiplier=0.1, max=5.0)


@dataclass(frozen=True, slots=True)
class Policy:
    """How long a client tries.

    Attributes:
        timeout_s: the bound on one call with all its attempts and pauses, in seconds.
        attempt_timeout_s: the longest that one attempt waits for the gateway, in seconds.
        retries: how often a call is sent again at most.
    """

    timeout_s: float
    attempt_timeout_s: float
    retries: int

    def __post_init__(self) -> None:
        """Check the bounds. Raises MeterValidationError naming each that is none."""
        seconds = {"timeout_s": self.timeout_s, "attempt_timeout_s": self.attempt_timeout_s}
        faults = [
            FieldError(name, f"VAL_{name.upper()}_INVALID", "must be a finite number of seconds above zero")
            for name, value in seconds.items()
            if type(value) not in {int, float} or not 0 < value < math.inf
        ]
        if type(self.retries) is not int or self.retries < 0:
            faults.append(FieldError("retries", "VAL_RETRIES_INVALID", "must be a whole number, 0 or more"))
        if faults:
            raise MeterValidationError.of(faults)

    def run(self, attempt: Callable[[float, float], httpx2.Response]) -> httpx2.Response:
        """Give the answer of ``attempt``, which is told two bounds.

        How long it waits for the gateway, in seconds, and until when it has to be over, in monotonic ones.
        """
        deadline = time.monotonic() + self.timeout_s
        retrying = tenacity.Retrying(stop=self._stop, wait=pause_s, retry=_again, retry_error_callback=_last)
        return retrying(lambda: attempt(self._patience(deadline), deadline))

    async def arun(self, attempt: Callable[[float, float], Awaitable[httpx2.Response]]) -> httpx2.Response:
        """Do what ``run`` does for an attempt that is awaited."""
        deadline = time.monotonic() + self.timeout_s

        async def once() -> httpx2.Response:
            return await attempt(self._patience(deadline), deadline)

        retrying = tenacity.AsyncRetrying(
            stop=self._stop, wait=pause_s, retry=_again, retry_error_callback=_last
        )
        return await retrying(once)

    def _stop(self, state: tenacity.RetryCallState) -> bool:
        spent_s = (state.seconds_since_start or 0.0) + state.upcoming_sleep
        return state.attempt_number > self.retries or spent_s >= self.timeout_s

    def _patience(self, deadline: float) -> float:
        return max(min(self.attempt_timeout_s, deadline - time.monotonic()), 0.001)


def pause_s(state: tenacity.RetryCallState) -> float:
    """Give the seconds before the next attempt: what the gateway asked for, and jitter on top of it."""
    asked_s = None
    if state.outcome is not None and not state.outcome.failed:
        asked_s = retry_after_s(state.outcome.result())
    return (asked_s or 0.0) + _backoff(state)


def _again(state: tenacity.RetryCallState) -> bool:
    outcome = state.outcome
    if outcome is None:
        return True
    if outcome.failed:
        return isinstance(outcome.exception(), _LOST)
    response: httpx2.Response = outcome.result()
    if response.status_code == _TOO_MANY:
        return retry_after_s(response) is not None
    return response.status_code in _PASSING


def _last(state: tenacity.RetryCallState) -> httpx2.Response:
    # Out of attempts: the last answer counts, or the last fault is raised as it was.
    if state.outcome is None:
        raise RuntimeError("tenacity stopped before the first attempt")
    response: httpx2.Response = state.outcome.result()
    return response
