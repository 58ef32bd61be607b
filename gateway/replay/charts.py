"""Small charts out of block characters: a row of them for a course over time. Nothing is printed here."""

from __future__ import annotations

from collections.abc import Callable, Sequence

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII_BLOCKS = ".:-=+*%#"  # where there are no others


def course(values: Sequence[float], top: float, blocks: str = BLOCKS) -> str:
    """Draw values between 0 and ``top``, one character each; what is zero or less is a space."""
    return "".join(_block(value, top, blocks) for value in values)


def narrowed(
    values: Sequence[float], columns: int, joined: Callable[[Sequence[float]], float]
) -> list[float]:
    """Give so many values for those of a course, each made by ``joined`` of its part."""
    count = len(values)
    columns = min(columns, count)
    return [joined(values[i * count // columns : (i + 1) * count // columns]) for i in range(columns)]


def left_over_time(quota: float, spent: Sequence[float]) -> list[float]:
    """Give what is left of a quota after each step of spending."""
    left: list[float] = []
    for amount in spent:
        quota -= amount
        left.append(quota)
    return left


def _block(value: float, top: float, blocks: str) -> str:
    if value <= 0 or top <= 0:
        return " "
    return blocks[min(int(value / top * len(blocks)), len(blocks) - 1)]
