"""The pictures of the store's comparison: ratios of each operation, and how cost grows with the number of files."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from benchmarks.compare.results import Result, Run
from benchmarks.compare.svg import COLOURS, Drawing, Scale
from benchmarks.compare.targets import TARGETS
from benchmarks.compare.timing import Spread, wall_ratio

_LEFT, _ROW, _TOP = 250, 26, 84
_WIDTH = 920


def ratios(run: Run) -> str:
    """Return a plot with a line for each operation and corpus: how many times the yardstick's time each took."""
    lines = [line for line in run.operations() if any(run.result(*line, who) for who in run.candidates())]
    who = run.candidates()
    found = {(line, it): run.result(*line, it) for line in lines for it in who}
    values = [wall_ratio(result.pairs).median for result in found.values() if result] or [1.0]
    marks = {line: _limits(run, line) for line in lines}
    limits = [value for pair in marks.values() for value in pair.values()]
    bottom = _TOP + _ROW * max(1, len(lines))
    drawing = Drawing(_WIDTH, bottom + 64, "Time beside plain tools", _describe(run, lines))
    scale = Scale(min(*values, *limits, 0.5), max(*values, *limits, 2.0), _LEFT, _WIDTH - 30)
    _legend(drawing, who, 50)
    for tick in scale.ticks():
        drawing.line(scale(tick), _TOP - 12, scale(tick), bottom, "axis" if tick == 1 else "grid")
        drawing.text(scale(tick), bottom + 16, f"{tick:g}x", "small", anchor="middle")
    for number, line in enumerate(lines):
        y = _TOP + _ROW * number + 4
        result = next(it for it in run.results if (it.operation, it.corpus) == line)
        drawing.text(_LEFT - 12, y + 4, f"{line[1]}: {result.label}", anchor="end")
        for kind, value in marks[line].items():
            drawing.line(scale(value), y - 10, scale(value), y + 10, kind)
        for index, name in reversed(list(enumerate(who))):
            _put(drawing, scale, y, index, name, found[line, name])
    drawing.text(_LEFT, bottom + 36, "x the yardstick's wall time (logarithmic); left is faster.", "small")
    drawing.line(_LEFT, bottom + 48, _LEFT + 14, bottom + 48, "must")
    drawing.text(_LEFT + 20, bottom + 52, "must", "small")
    drawing.line(_LEFT + 60, bottom + 48, _LEFT + 74, bottom + 48, "aim")
    drawing.text(_LEFT + 80, bottom + 52, "aim", "small")
    return drawing.render()


def growth(
    title: str,
    unit: str,
    series: Mapping[str, Mapping[int, float]],
    limit: Mapping[int, float] | None = None,
) -> str:
    """Return a plot of values over numbers of files, both logarithmic; `limit` is drawn as what must be kept."""
    counts = sorted({count for values in series.values() for count in values})
    every = [value for values in (*series.values(), limit or {}) for value in values.values() if value > 0]
    right, bottom, top = 700, 400, 60
    said = "; ".join(
        f"{name}: " + ", ".join(f"{value:.4g} {unit} at {count:,} files" for count, value in sorted(values.items()))
        for name, values in series.items()
    )
    drawing = Drawing(_WIDTH, bottom + 50, title, said)
    across = Scale(counts[0], counts[-1], 90, right)
    upward = Scale(min(every), max(every), bottom, top)
    for tick in upward.ticks():
        drawing.line(90, upward(tick), right, upward(tick))
        drawing.text(82, upward(tick) + 4, f"{tick:,.4g}" if tick < 10000 else f"{tick:,.0f}", "small", anchor="end")
    for count in counts:
        drawing.line(across(count), top, across(count), bottom)
        drawing.text(across(count), bottom + 18, f"{count:,}", "small", anchor="middle")
    drawing.text(90, bottom + 38, f"files in the tree (logarithmic); upward: {unit} (logarithmic)", "small")
    if limit:
        points = [(across(count), upward(value)) for count, value in sorted(limit.items())]
        for (x1, y1), (x2, y2) in itertools.pairwise(points):
            drawing.line(x1, y1, x2, y2, "must")
        drawing.line(right + 20, top + 6 + 24 * len(series), right + 34, top + 6 + 24 * len(series), "must")
        drawing.text(right + 42, top + 10 + 24 * len(series), "must")
    for number, (name, values) in enumerate(series.items()):
        points = [(across(count), upward(value)) for count, value in sorted(values.items())]
        drawing.path(points, COLOURS[number % len(COLOURS)])
        for (x, y), (count, value) in zip(points, sorted(values.items()), strict=True):
            drawing.mark(x, y, number, f"{name}: {value:.4g} {unit} at {count:,} files")
        drawing.mark(right + 27, top + 6 + 24 * number, number)
        drawing.text(right + 42, top + 10 + 24 * number, name)
    return drawing.render()


def _limits(run: Run, line: tuple[str, str]) -> dict[str, float]:
    """Return what Volt must reach and aims at, by the class of its mark; seconds count by what the yardstick took."""
    result, target = run.result(*line, "volt"), TARGETS.get(line)
    if result is None or target is None:
        return {}
    yardstick = Spread.of(pair[0].wall for pair in result.pairs).median
    return {"must": target.must.effective(yardstick), "aim": target.aim.effective(yardstick)}


def _put(drawing: Drawing, scale: Scale, y: float, number: int, name: str, result: Result | None) -> None:
    if result is None:
        return
    ratio: Spread = wall_ratio(result.pairs)
    if ratio.high > ratio.low:
        drawing.line(scale(ratio.low), y, scale(ratio.high), y, colour=COLOURS[number % len(COLOURS)])
    drawing.mark(scale(ratio.median), y, number, f"{name}: {ratio} x {result.yardstick}")


def _legend(drawing: Drawing, names: Sequence[str], y: float) -> None:
    x = 24.0
    for number, name in enumerate(names):
        drawing.mark(x, y, number)
        drawing.text(x + 10, y + 4, name)
        x += 34 + 8 * len(name)


def _describe(run: Run, lines: Sequence[tuple[str, str]]) -> str:
    """Say in words what the picture shows."""
    told = []
    for operation, corpus in lines:
        results = [result for who in run.candidates() if (result := run.result(operation, corpus, who))]
        figures = ", ".join(f"{it.candidate} {wall_ratio(it.pairs).median:.2f} times" for it in results)
        told.append(f"{results[0].label}, corpus {corpus}: {figures} {results[0].yardstick}.")
    return " ".join(told).replace("`", "")
