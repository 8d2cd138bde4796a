"""What Volt's store promises itself, as multiples of a yardstick.

The *must* has to be reached, the *aim* is what we want to be known for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.compare.timing import Pair, Spread

MIB = 1 << 20


@dataclass(frozen=True)
class Limit:
    """At most `factor` times the yardstick and `seconds` more."""

    factor: float
    seconds: float = 0.0
    percent: bool = False
    """The yardstick is the most that a machine can do: show how much of it is reached."""

    def __str__(self) -> str:
        if self.percent:
            return f">= {100 / self.factor:.0f} %"
        return f"<= {self.factor:.2f}x" + (f" + {self.seconds:.2f} s" if self.seconds else "")

    def effective(self, yardstick: float) -> float:
        """Return the whole as a multiple of a yardstick that took so many seconds."""
        return self.factor + self.seconds / yardstick

    def is_met(self, pairs: Sequence[Pair]) -> bool:
        """Tell whether the median of the ratios keeps to it; `seconds` are taken off first."""
        aside = Spread.of((candidate.wall - self.seconds) / yardstick.wall for yardstick, candidate in pairs)
        return aside.median <= self.factor


@dataclass(frozen=True)
class Target:
    """What has to be reached, and what is aimed at."""

    must: Limit
    aim: Limit


def _plain(must: float, aim: float) -> Target:
    return Target(Limit(must), Limit(aim))


_AGAIN = Target(Limit(1.5, 0.15), Limit(1.0, 0.08))
_CHANGED = Target(Limit(3.0, 0.2), Limit(1.6, 0.1))

_CHECKOUT_A = Target(Limit(1.0, 0.1), Limit(0.7, 0.06))
_CHECKOUT_B = _plain(0.8, 0.5)

TARGETS: dict[tuple[str, str], Target] = {
    ("build", "A"): _plain(1.5, 1.0),
    ("build", "B"): _plain(1.1, 0.75),
    ("again", "A"): _AGAIN,
    ("again", "B"): _AGAIN,
    ("changed", "A"): _CHANGED,
    ("changed", "B"): _CHANGED,
    ("checkout", "A"): _CHECKOUT_A,
    ("checkout", "B"): _CHECKOUT_B,
    ("checkout-again", "A"): _CHECKOUT_A,
    ("checkout-again", "B"): _CHECKOUT_B,
    ("verify", "A"): _plain(0.40, 0.30),
    ("verify", "B"): _plain(0.45, 0.30),
    ("verify", "C"): Target(Limit(1 / 0.75, percent=True), Limit(1 / 0.85, percent=True)),
    ("gc", "A"): _plain(1.3, 0.9),
    ("gc", "B"): _plain(1.1, 0.7),
    ("import", "A"): _plain(1.5, 1.0),
    ("bundle-create", "A"): _plain(1.0, 0.5),
    ("bundle-import", "A"): _plain(1.0, 0.5),
}
"""By operation and corpus."""


def memory_must(files: int) -> int:
    """Return the most bytes of memory that an operation on so many files may need."""
    return 64 * MIB + 250 * files


def memory_aim(files: int) -> int:
    """Return the bytes of memory that we want to be known for."""
    return 48 * MIB + 150 * files
