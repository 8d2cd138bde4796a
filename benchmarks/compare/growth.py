"""What little changes of a tree cost: records and bytes for 1 % of the files, variants for new times."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks import corpora
from benchmarks.compare.candidates import Volt, quoted
from benchmarks.compare.operations import RACY_SECONDS
from benchmarks.compare.timing import Sample, run_timed, table_lines


class Held(NamedTuple):
    """What a store holds."""

    objects: int
    object_bytes: int
    trees: int
    tree_bytes: int
    variants: int
    variant_bytes: int

    def since(self, before: Held) -> Held:
        """Return what was added."""
        return Held(*(now - then for now, then in zip(self, before, strict=True)))


def answers(directory: Path, files: int, volt: Volt) -> dict[str, list[str]]:
    """Answer both questions with a tree of so many files; returns tables by their headings."""
    tree = directory / "tree"
    corpora.make_small_files(tree, files)
    time.sleep(RACY_SECONDS)
    return {
        f"1 % of {files:,} files changed": _changed(tree, volt, directory),
        f"The same {files:,} files with new times": _new_times(tree, volt, directory),
    }


def held(volt: Volt) -> Held:
    """Ask a store what it holds."""
    fields = ", ".join(f"store.usage().{name}" for name in Held._fields)
    return Held(*json.loads(volt.ask(f"[{fields}]")))


def _changed(tree: Path, volt: Volt, directory: Path) -> list[str]:
    """Change neighbours, as the files of one package are, then files all over the tree."""
    volt.reset()
    volt.run(volt.build(tree, "base"))
    whole = held(volt)
    bundle = _bundle(volt, directory, "base", "")
    rows = [_row("the whole tree", whole, whole, bundle, bundle)]
    for name, clustered in (("package", True), ("everywhere", False)):
        corpora.change_files(tree, clustered=clustered, seed=len(rows))
        before = held(volt)
        volt.run(volt.build(tree, name))
        delta = _bundle(volt, directory, name, "base")
        label = "1 %, side by side" if clustered else "another 1 %, every hundredth file"
        rows.append(_row(label, held(volt).since(before), whole, delta, bundle))
    header = ("changed", "new objects", "new records", "new record bytes", "bundle, with --base")
    return list(table_lines(header, rows))


def _row(label: str, new: Held, whole: Held, bundle: int, whole_bundle: int) -> tuple[str, ...]:
    def share(part: int, of: int) -> str:
        return f"{part:,} ({100 * part / of:.1f} %)"

    told = share(bundle, whole_bundle) if whole_bundle else "this store has none"
    figures = ((new.objects, whole.objects), (new.trees, whole.trees), (new.tree_bytes, whole.tree_bytes))
    return label, *(share(*pair) for pair in figures), told


def _bundle(volt: Volt, directory: Path, name: str, base: str) -> int:
    """Return the size of a bundle; 0 where there are none."""
    if not volt.have_bundles():
        return 0
    target = directory / f"{name}.vbundle"
    target.unlink(missing_ok=True)
    volt.run(f"{volt.command} bundle create {quoted(target)} --ref {name}{f' --base {base}' if base else ''}")
    return target.stat().st_size


def _new_times(tree: Path, volt: Volt, directory: Path) -> list[str]:
    """Build, check out, give everything new times and do it again: with times kept, and with times left out."""
    rows = []
    for policy in ("keep", "clamp"):
        volt.reset()
        _once(volt, tree, directory / "first", policy)
        before = held(volt)
        corpora.touch(tree)
        time.sleep(RACY_SECONDS)
        build, checkout = _once(volt, tree, directory / "second", policy)
        new = held(volt).since(before)
        variants = f"{new.variants:,}, {new.variant_bytes / 1e6:.1f} MB"
        rows.append((f"`{policy}`", f"{build.wall:.2f}", f"{new.trees:,}", f"{checkout.wall:.2f}", variants))
        subprocess.run(["rm", "-rf", "--", directory / "first", directory / "second"], check=True)
    return list(table_lines(("--mtime", "build s", "new records", "checkout --link s", "new variants"), rows))


def _once(volt: Volt, tree: Path, out: Path, policy: str) -> tuple[Sample, Sample]:
    samples = []
    for command in (f"{volt.build(tree, out.name)} --mtime {policy}", volt.checkout(out.name, out)):
        os.sync()
        samples.append(run_timed(["sh", "-c", command], env=volt.environment))
    return samples[0], samples[1]
