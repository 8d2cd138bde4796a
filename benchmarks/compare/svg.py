"""A small writer of SVG: shapes and text in user units, with a title and a description for those who cannot see it.

No library: what the plots need is a page of code, and every library that draws them is larger than all of Volt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9", "#555555")
"""Told apart by the colour-blind too (Okabe and Ito); shapes differ as well, see :meth:`Drawing.mark`."""

_STYLE = (
    "text{font:13px sans-serif;fill:#222}.small{font-size:11px;fill:#444}.head{font-size:16px;font-weight:bold}"
    ".grid{stroke:#ddd}.axis{stroke:#666}.must{stroke:#b00;stroke-width:2}.aim{stroke:#070;stroke-width:2}"
)


class Drawing:
    """One picture on white ground."""

    def __init__(self, width: int, height: int, title: str, description: str) -> None:
        self.width, self.height = width, height
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            'role="img" aria-labelledby="title description">',
            f'<title id="title">{escape(title)}</title>',
            f'<desc id="description">{escape(description)}</desc>',
            f"<style>{_STYLE}</style>",
            '<rect width="100%" height="100%" fill="#fff"/>',
        ]
        self.text(16, 26, title, "head")

    def text(self, x: float, y: float, words: str, kind: str = "", *, anchor: str = "start") -> None:
        """Write words; `kind` is a class of the style."""
        name = f" class={quoteattr(kind)}" if kind else ""
        self._parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{name}>{escape(words)}</text>')

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str = "grid", *, colour: str = "") -> None:
        """Draw a line."""
        style = f' stroke="{colour}" stroke-width="2"' if colour else f" class={quoteattr(kind)}"
        self._parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"{style}/>')

    def path(self, points: Sequence[tuple[float, float]], colour: str) -> None:
        """Draw a line through points."""
        places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._parts.append(f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="2"/>')

    def mark(self, x: float, y: float, number: int, tip: str = "") -> None:
        """Put the mark of the series of that number: each has a colour and a shape of its own."""
        colour = COLOURS[number % len(COLOURS)]
        shape = (
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}">',
            f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8" fill="{colour}">',
            f'<path d="M{x:.1f},{y - 5:.1f} l5,9 h-10 z" fill="{colour}">',
            f'<path d="M{x:.1f},{y - 5:.1f} l5,5 l-5,5 l-5,-5 z" fill="{colour}">',
        )[number % 4]
        element = shape[1:].split()[0]
        self._parts.append(f"{shape}<title>{escape(tip)}</title></{element}>" if tip else f"{shape[:-1]}/>")

    def render(self) -> str:
        """Return the picture as text."""
        return "\n".join([*self._parts, "</svg>", ""])


class Scale:
    """From values to places along an axis, by their logarithm; `low` and `high` are widened to 1, 2 or 5 times 10^n."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self._ticks = _ticks(low, high)
        self._low, self._high = math.log(self._ticks[0]), math.log(self._ticks[-1])
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        """Return the place of a value; one outside of the axis is put on its end."""
        share = (math.log(max(value, 1e-12)) - self._low) / (self._high - self._low)
        return self._start + min(1.0, max(0.0, share)) * (self._end - self._start)

    def ticks(self) -> list[float]:
        """Return the values to mark."""
        return self._ticks


def _ticks(low: float, high: float) -> list[float]:
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 10) if len(exponents) > 5 else (1, 2, 5)
    found = [step * 10.0**exponent for exponent in exponents for step in steps if step < 10]
    first = max((i for i, value in enumerate(found) if value <= low * 1.000001), default=0)
    last = min((i for i, value in enumerate(found) if value >= high * 0.999999), default=len(found) - 1)
    return found[first : max(last, first + 1) + 1]
