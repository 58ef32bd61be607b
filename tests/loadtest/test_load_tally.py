"""What a loop of load counts, and when its calls arrive."""

from __future__ import annotations

import pytest

from loadtest.tally import Figures, Tally, Window, percentile


@pytest.mark.parametrize(
    ("values", "share", "found"),
    [
        ([], 0.5, None),
        ([7.0], 0.999, 7.0),
        ([1.0, 2.0], 0.5, 1.0),
        ([1.0, 2.0, 3.0], 0.5, 2.0),
        ([float(n) for n in range(1, 1001)], 0.99, 990.0),
        ([float(n) for n in range(1, 1001)], 0.999, 999.0),
        ([float(n) for n in range(1, 1001)], 1.0, 1000.0),
    ],
)
def test_a_percentile_is_the_least_value_with_its_share_below(
    values: list[float], share: float, found: float | None
) -> None:
    assert percentile(values, share) == found


def test_a_closed_loop_counts_what_ends_inside_the_window() -> None:
    tally = Tally(Window(1, warm_seconds=1.0, seconds=2.0), started=10.0)
    for ended in (10.9, 11.0, 12.999, 13.0):
        tally.closed(ended - 0.5, ended)
    assert tally.figures() == Figures(1.0, 500.0, pytest.approx(500.0), pytest.approx(500.0), 2, 4, 0)


def test_an_open_loop_counts_what_was_due_inside_the_window_however_late_it_ends() -> None:
    tally = Tally(Window(1, warm_seconds=1.0, seconds=2.0, rate=2.0), started=10.0)
    tally.opened(10.9, 20.0)
    tally.opened(11.0, 11.25)
    tally.opened(12.0, 92.0)
    tally.fault()
    assert tally.figures() == Figures(1.0, 250.0, 80_000.0, 80_000.0, 2, 3, 1)


def test_arrivals_repeat_with_their_seed_and_keep_their_rate() -> None:
    window = Window(1, warm_seconds=1.0, seconds=99.0, rate=100.0)
    times = window.arrivals(7)
    assert times == window.arrivals(7) != window.arrivals(8)
    assert times == sorted(times)
    assert times[0] > 0
    assert times[-1] < 100.0
    assert len(times) == pytest.approx(10_000, rel=0.05)


def test_a_closed_loop_has_no_arrivals() -> None:
    with pytest.raises(ValueError, match="closed"):
        Window(1, 0.0, 1.0).arrivals(1)
