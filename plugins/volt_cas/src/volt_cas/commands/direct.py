"""What ``build``, ``checkout``, ``verify`` and ``gc`` do and say, however their words were parsed.

A number, a name or a switch that was not given is None, empty or False.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path

from volt_core.api import Volt
from volt_core.cli.exits import leave
from volt_core.cli.messages import say, warn
from volt_core.cli.progress import shown_progress
from volt_core.cli.render import print_json, size
from volt_core.contracts import CheckoutMode, ContentSource, MtimePolicy, Ref
from volt_core.errors import StoreError, UsageError


def build(
    volt: Volt,
    directory: Path,
    *,
    ref: str = "",
    exclude: Sequence[str] = (),
    one_file_system: bool = False,
    mtime: MtimePolicy | None = None,
    adopt: bool = False,
    rehash: bool = False,
    json: bool = False,
) -> None:
    """Store a directory as a tree and print its digest."""
    from volt_cas.commands.words import check_own_ref, say_notes

    if ref:
        check_own_ref(ref)
    with shown_progress() as progress:
        result = volt.store.put_directory(
            directory,
            ref=Ref(name=ref, digest="") if ref else None,
            exclude=exclude,
            one_file_system=one_file_system,
            mtime=mtime or MtimePolicy(volt.config.values.mtime),
            adopt=adopt,
            rehash=rehash,
            progress=progress,
        )
    say_notes(result.notes)
    if json:
        print_json("cas-put", result)
        return
    print(result.digest)
    say(
        f"{result.files} files, {size(result.bytes)}; new: {result.new_objects} objects, {size(result.new_bytes)}"
        + ("" if ref else "; no ref names it, so the next gc may remove it")
    )


def checkout(
    volt: Volt,
    name: str,
    directory: Path,
    *,
    reflink: bool = False,
    copy: bool = False,
    link: bool = False,
    json: bool = False,
) -> None:
    """Make a stored tree on disk, by reflink where the file system can, else by copy."""
    from volt_cas.commands.words import find_digest, say_notes

    chosen = [
        mode
        for mode, given in ((CheckoutMode.REFLINK, reflink), (CheckoutMode.COPY, copy), (CheckoutMode.LINK, link))
        if given
    ]
    if len(chosen) > 1:
        first, second = chosen[:2]
        raise UsageError(f"--{first} and --{second} contradict each other", hint="Choose one.")
    if link:
        warn("the files are links into the store: whoever writes to them damages it, treat them as read-only")
    mode = chosen[0] if chosen else CheckoutMode.AUTO
    digest = find_digest(volt.store, name)
    with shown_progress() as progress:
        result = volt.store.checkout(digest, directory, mode=mode, progress=progress)
    say_notes(result.notes)
    if json:
        print_json("cas-checkout", result)
        return
    copied = result.files - result.linked - result.reflinked
    say(
        f"{result.files} files, {size(result.bytes)}: "
        f"{result.reflinked} reflinked, {result.linked} linked, {copied} copied"
    )


def verify(volt: Volt, *, repair: bool = False, sources: Sequence[Path] = (), json: bool = False) -> None:
    """Read everything and compare it with its digest; ends with 6 if something is damaged."""
    if sources and not repair:
        raise UsageError("--from is about a repair", hint="Add --repair.")
    store = volt.store
    begun = time.monotonic()
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(_opened(path)) for path in sources]
        progress = stack.enter_context(shown_progress())
        report = store.verify(repair=repair, sources=opened, progress=progress)
    if json:
        print_json("cas-verify", report)
    else:
        for line in (*report.repaired, *report.damaged):
            print(line)
        repaired = f", {len(report.repaired)} repaired" if report.repaired else ""
        say(
            f"{report.objects} objects, {size(report.bytes)}, {report.trees} tree records: "
            f"{len(report.damaged) or 'nothing'} damaged{repaired} ({time.monotonic() - begun:.1f} s)"
        )
    if report.damaged:
        if not repair:
            say("Hint: 'volt cas verify --repair --from PATH' takes good copies from a directory, a store or a bundle.")
        leave(StoreError.exit_code)


def gc(
    volt: Volt, *, dry_run: bool = False, grace: float | None = None, keep_last: int = 0, json: bool = False
) -> None:
    """Remove what no ref reaches; `grace` in seconds, None for what is configured."""
    if grace is None:
        grace = volt.config.values.gc_grace
    report = volt.store.gc(dry_run=dry_run, grace=grace, keep_last=keep_last)
    if json:
        print_json("cas-gc", report)
        return
    if dry_run:
        for line in report.removed:
            print(line)
    verb = "Would remove" if dry_run else "Removed"
    say(
        f"{verb} {report.objects} objects, {report.variants} variants, "
        f"{report.trees} tree records: {size(report.bytes)}"
        + (
            f"; kept {report.kept_young} that are younger than {grace:g} s, and what these reach"
            if report.kept_young
            else ""
        )
    )


def _opened(path: Path) -> contextlib.AbstractContextManager[ContentSource]:
    from volt_cas.copies import open_copies

    return open_copies(path)
