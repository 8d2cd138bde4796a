"""The C code apart from Python: warnings, its own tests, sanitizers and fuzzers."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

CSRC = Path(__file__).parents[2] / "csrc"
FUZZERS = sorted(path.stem.removeprefix("fuzz_") for path in CSRC.glob("fuzz/fuzz_*.c"))


def make(*arguments: str | Path) -> str:
    """Run make; what it said, on both streams."""
    done = subprocess.run(
        ["make", "-j2", "-C", CSRC, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="backslashreplace",
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one of these tests has compiled, others with the same flags need not."""
    return tmp_path_factory.mktemp("csrc")


def check_tap(said: str, programs: int) -> None:
    assert "not ok" not in said
    assert said.count("\n1..") == programs, said


@pytest.mark.needs_c_compiler
@pytest.mark.parametrize("target", ["check", "sanitized"])
def test_c_tests(target, build):
    check_tap(make(f"BUILD={build}", target), len(list(CSRC.glob("tests/test_*"))))


@pytest.mark.needs_c_compiler
def test_no_data_race(build):
    check_tap(make(f"BUILD={build}", "tsan"), len(list(CSRC.glob("tests/test_*.c"))))


@pytest.mark.needs_c_compiler
def test_saved_inputs(build):
    said = make(f"BUILD={build}", "replay")
    for name in FUZZERS:
        saved = list((CSRC / "fuzz/corpus" / name).iterdir())
        assert f"# {name}\n" in said
        assert f"\n{len(saved)} inputs\n" in said, f"{name}: {said}"


@pytest.mark.needs_c_compiler
def test_a_fault_ends_the_replay(tmp_path):
    """What stands in for libFuzzer where there is no clang must see what libFuzzer would see."""
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/input").write_bytes(b"abcdef")
    (tmp_path / "fuzz_bad.c").write_text(
        '#include "fuzz.h"\n'
        "int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {\n"
        "        expect(size != 3 || data[size] != 0x55);\n"
        "        return 0;\n}\n"
    )
    flags = ["-D_GNU_SOURCE", "-fsanitize=address", "-I", CSRC, "-I", CSRC / "fuzz"]
    sources = [CSRC / "fuzz/replay.c", CSRC / "store.c", tmp_path / "fuzz_bad.c"]
    subprocess.run(["cc", *flags, "-o", tmp_path / "replay", *sources], check=True, timeout=60)
    done = subprocess.run([tmp_path / "replay", tmp_path / "corpus"], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert done.stdout == "input\n"
    assert "heap-buffer-overflow" in done.stderr


@pytest.mark.needs_clang
def test_clang_has_nothing_to_warn_of(build):
    make(f"BUILD={build}/clang", "CC=clang", "all")


@pytest.mark.needs_clang
def test_fuzzers_find_nothing(build):
    said = make(f"BUILD={build}", "FUZZ_SECONDS=1", "fuzz")
    runs = [int(number) for number in re.findall(r"number_of_executed_units: *(\d+)", said)]
    assert len(runs) == len(FUZZERS)
    assert min(runs) > 1000, said


def test_each_fuzzer_has_saved_inputs():
    assert FUZZERS
    assert sorted(path.name for path in (CSRC / "fuzz/corpus").iterdir()) == FUZZERS
    for name in FUZZERS:
        saved = list((CSRC / "fuzz/corpus" / name).iterdir())
        assert saved
        assert sum(path.stat().st_size for path in saved) < 256 * 1024
