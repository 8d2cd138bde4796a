"""What the comparisons print and draw, from made-up figures; and what they measure single processes by."""

from __future__ import annotations

import json
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from benchmarks.compare import plots, results, scaling
from benchmarks.compare.results import Result, Run
from benchmarks.compare.svg import Drawing, Scale
from benchmarks.compare.targets import MIB, TARGETS, Limit, memory_must
from benchmarks.compare.timing import Sample, run_timed, table_lines

SVG = "{http://www.w3.org/2000/svg}"


def sample(wall: float, peak: int = 40 * MIB) -> Sample:
    return Sample(wall=wall, cpu=wall, peak=peak)


def result(operation: str, candidate: str, *walls: float, corpus: str = "B", **more: str) -> Result:
    made = Result(operation, f"label of {operation}", "`find | wc`", corpus, candidate, 50_000, **more)
    made.pairs = [(sample(1.0), sample(wall)) for wall in walls]
    return made


@pytest.fixture
def run() -> Run:
    made = Run({"volt": "1.0 <best>"}, left_out=["rsync: not installed"])
    made.results = [
        result("build", "volt", 0.9, 1.0, 5.0),
        result("again", "volt", 1.7),
        result("verify", "volt", 1.5, corpus="C"),
        result("gc", "volt", failed="ended with status 6: lost"),
        result("build", "ostree & co", 3.0),
        result("checkout", "ostree & co", 4.0, note="copies"),
        result("checkout", "borg", 5.0, note="copies"),
    ]
    made.results[1].pairs = [(sample(1.0), sample(1.7, memory_must(50_000) + 1))]
    return made


def test_the_table_says_what_is_met_by_medians(run):
    lines = results.render(run).splitlines()
    (build,) = [line for line in lines if line.startswith("| B | label of build | 1.00")]
    assert "1.00 [0.90-5.00]" in build
    assert "<= 1.10x: met" in build
    assert "<= 0.75x: MISSED" in build
    (again,) = [line for line in lines if line.startswith("| B | label of again | 1.70")]
    assert "<= 1.50x + 0.15 s: MISSED" in again
    (verify,) = [line for line in lines if line.startswith("| C | label of verify | 1.50")]
    assert "67 % [67-67] of raw" in verify
    assert ">= 75 %: MISSED" in verify
    assert "| B | label of again | 50000 | 76 | <= 76: MISSED | <= 55: MISSED |" in lines
    assert "| B | label of build | 50000 | 40 | <= 76: met | <= 55: met |" in lines


def test_nothing_is_left_out_silently(run):
    text = results.render(run)
    assert "- rsync: not installed" in text
    assert "- volt, corpus B, gc: ended with status 6: lost" in text
    assert "| ostree & co | 3.00 (x3.00) | 4.00 (x4.00) copies | 40 |" in text


def test_the_document_holds_every_pair_and_every_verdict(run):
    document = json.loads(json.dumps(run.as_document()))
    first = document["results"][0]
    assert [pair["candidate"]["wall"] for pair in first["pairs"]] == [0.9, 1.0, 5.0]
    assert first["must"] == {"limit": "<= 1.10x", "met": True}
    assert first["aim"]["met"] is False
    assert "must" not in document["results"][4]
    assert document["results"][3]["failed"].startswith("ended")


@pytest.mark.parametrize(
    ("limit", "walls", "is_met"),
    [
        (Limit(1.5), (1.4, 1.5, 9.0), True),
        (Limit(1.5), (1.4, 1.6, 9.0), False),
        (Limit(1.5, 0.15), (1.65,), True),
        (Limit(1.5, 0.15), (1.66,), False),
        (Limit(0.5, 0.2), (0.1,), True),
    ],
)
def test_a_limit_is_kept_by_the_median_with_its_seconds_taken_off(limit, walls, is_met):
    assert limit.is_met([(sample(1.0), sample(wall)) for wall in walls]) == is_met


def test_every_target_of_the_store_is_told():
    assert {corpus for _, corpus in TARGETS} == {"A", "B", "C"}
    assert all(target.aim.factor < target.must.factor for target in TARGETS.values())


def test_the_plot_of_ratios_is_svg_that_can_be_read_aloud(run):
    root = ElementTree.fromstring(plots.ratios(run))  # noqa: S314 # of our own making
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == "title description"
    assert root.find(f"{SVG}title").text == "Time beside plain tools"
    told = root.find(f"{SVG}desc").text
    assert "label of build, corpus B: volt 1.00 times, ostree & co 3.00 times find | wc." in told
    words = {element.text for element in root.iter(f"{SVG}text")}
    assert {"volt", "ostree & co", "B: label of build", "C: label of verify", "1x"} <= words
    assert "B: label of gc" not in words
    tips = [element.text for element in root.iter(f"{SVG}title")][1:]
    assert len(tips) == 6
    assert sum(line.get("class") == "must" for line in root.iter(f"{SVG}line")) == 3 + 1


def test_marks_stand_in_the_order_of_their_values(run):
    root = ElementTree.fromstring(plots.ratios(run))  # noqa: S314 # of our own making
    places = {}
    for element in root.iter():
        tip = element.find(f"{SVG}title")
        if tip is not None and element.tag == f"{SVG}circle":
            places[tip.text.split()[1]] = float(element.get("cx"))
    assert places["1.00"] < places["1.50"] < places["1.70"]


def test_the_plot_of_growth_names_its_values_and_the_limit():
    series = {"build": {1000: 10.0, 10_000: 20.0}, "gc": {1000: 5.0, 10_000: 5.0}}
    root = ElementTree.fromstring(plots.growth("Peak", "MiB", series, {1000: 64.0, 10_000: 66.0}))  # noqa: S314
    assert "build: 10 MiB at 1,000 files, 20 MiB at 10,000 files; gc" in root.find(f"{SVG}desc").text
    assert {"1,000", "10,000", "build", "gc", "must"} <= {element.text for element in root.iter(f"{SVG}text")}
    lines = [element.get("points").split() for element in root.iter(f"{SVG}polyline")]
    assert [len(points) for points in lines] == [2, 2]
    heights = [float(point.split(",")[1]) for point in lines[0]]
    assert heights[0] > heights[1]  # more is higher


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0.3, 4, [0.2, 0.5, 1, 2, 5]), (1, 1, [1, 2]), (3, 70_000, [1, 10, 100, 1000, 10_000, 100_000])],
)
def test_an_axis_holds_its_values_between_round_numbers(low, high, ticks):
    scale = Scale(low, high, 0, 100)
    assert scale.ticks() == pytest.approx(ticks)
    assert 0 <= scale(low) <= scale(high) <= 100
    assert (scale(ticks[0]), scale(ticks[-1])) == (0, 100)
    assert scale(high * 1000) == 100


def test_text_in_a_drawing_is_escaped():
    drawing = Drawing(10, 10, "a < b", 'say "x" & y')
    drawing.mark(1, 1, 1, "<tip>")
    ElementTree.fromstring(drawing.render())  # noqa: S314 # of our own making


def test_growth_is_told_by_files_per_second_and_by_memory():
    found = scaling.Scaling({"volt": "1"})
    for wall, peak in ((1.0, 50 * MIB), (3.0, 60 * MIB), (2.0, 55 * MIB)):
        found.add("build", 1000, Sample(wall, wall, peak))
    found.add("build", 4000, Sample(16.0, 16.0, 80 * MIB))
    text = scaling.render(found)
    assert "| build, empty store | 500 | 250 | x2.00 |" in text
    assert "| build, empty store | 60 | 80 |" in text


def test_cells_of_a_table_keep_their_bars():
    assert list(table_lines(("a|b",), [("c",)])) == ["| a\\|b |", "| --- |", "| c |"]


def test_the_memory_of_a_process_is_its_own():
    ballast = bytearray(120 * MIB)
    ballast[::4096] = b"x" * len(ballast[::4096])
    assert run_timed(["sh", "-c", "true"]).peak < 40 * MIB
    peak = run_timed(["sh", "-c", f"{sys.executable} -c 'bytearray(90 << 20)[::4096] and exit(0)'; true"]).peak
    assert 90 * MIB < peak < 120 * MIB
    del ballast


def test_a_command_that_fails_is_told_with_what_it_said():
    with pytest.raises(subprocess.CalledProcessError) as failed:
        run_timed(["sh", "-c", "echo why >&2; exit 3"])
    assert (failed.value.returncode, failed.value.stderr) == (3, "why\n")
    with pytest.raises(subprocess.CalledProcessError):
        run_timed(["/no/such/program"])
