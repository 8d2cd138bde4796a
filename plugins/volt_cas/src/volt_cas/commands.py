"""``volt cas``: the store by hand."""

from __future__ import annotations

import base64
import stat
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from volt_cas import below
from volt_core.cli.exits import leave
from volt_core.cli.lazy import new_app
from volt_core.cli.messages import say, warn
from volt_core.cli.options import seconds, some_path
from volt_core.cli.progress import shown_progress
from volt_core.cli.render import AsJson, moment, print_json, print_table, size
from volt_core.cli.session import volt_of
from volt_core.contracts import CheckoutMode, Entry, EntryType, MtimePolicy, Ref, Store
from volt_core.errors import InvalidName, RefNotFound, StoreError, UsageError
from volt_core.names import USE_PREFIX, is_digest, parse_image_name, shown

app = new_app(help="Work with the content-addressed store.")

RefName = Annotated[
    str, typer.Argument(metavar="REF", help="A ref, an image or a digest of a tree.", show_default=False)
]
_DIGEST_SHOWN = 19
_IMAGES = "images/"
_FORMATS = {
    EntryType.FILE: stat.S_IFREG,
    EntryType.DIRECTORY: stat.S_IFDIR,
    EntryType.SYMLINK: stat.S_IFLNK,
    EntryType.CHARACTER: stat.S_IFCHR,
    EntryType.BLOCK: stat.S_IFBLK,
    EntryType.FIFO: stat.S_IFIFO,
}


@app.callback()
def cas() -> None:
    """Work with the content-addressed store."""


@app.command()
def build(
    ctx: typer.Context,
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="What to store.", show_default=False, parser=some_path)
    ],
    ref: Annotated[str, typer.Option("--ref", metavar="NAME", help="Name to give the tree.")] = "",
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", metavar="PATTERN", help="Leave out: a name, or a path with a slash in it."),
    ] = None,
    one_file_system: Annotated[bool, typer.Option("--one-file-system", "-x", help="Stay on one file system.")] = False,
    mtime: Annotated[
        MtimePolicy | None,
        typer.Option("--mtime", help="Keep modification times, or set all to 0; else as configured."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Store a directory as a tree and print its digest."""
    if ref:
        _check_own_ref(ref)
    volt = volt_of(ctx, mtime=mtime)
    with shown_progress() as progress:
        result = volt.store.put_directory(
            directory,
            ref=Ref(name=ref, digest="") if ref else None,
            exclude=exclude or (),
            one_file_system=one_file_system,
            mtime=MtimePolicy(volt.config.values.mtime),
            progress=progress,
        )
    _say_notes(result.notes)
    if as_json:
        print_json("cas-put", result)
        return
    print(result.digest)
    say(
        f"{result.files} files, {size(result.bytes)}; new: {result.new_objects} objects, {size(result.new_bytes)}"
        + ("" if ref else "; no ref names it, so the next gc may remove it")
    )


@app.command()
def checkout(
    ctx: typer.Context,
    name: RefName,
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="New or empty directory.", show_default=False, parser=some_path)
    ],
    copy: Annotated[bool, typer.Option("--copy", help="Copy even where blocks could be shared.")] = False,
    link: Annotated[bool, typer.Option("--link", help="Hard links into the store: never write to them.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a stored tree on disk, by reflink where the file system can, else by copy."""
    if copy and link:
        raise UsageError("--copy and --link contradict each other", hint="Choose one.")
    if link:
        warn("the files are links into the store: whoever writes to them damages it, treat them as read-only")
    mode = CheckoutMode.LINK if link else CheckoutMode.COPY if copy else CheckoutMode.AUTO
    store = volt_of(ctx).store
    digest = find_digest(store, name)
    with shown_progress() as progress:
        result = store.checkout(digest, directory, mode=mode, progress=progress)
    _say_notes(result.notes)
    if as_json:
        print_json("cas-checkout", result)
        return
    copied = result.files - result.linked - result.reflinked
    say(
        f"{result.files} files, {size(result.bytes)}: "
        f"{result.reflinked} reflinked, {result.linked} linked, {copied} copied"
    )


@app.command()
def status(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Show what the store holds."""
    store = volt_of(ctx).store
    usage, refs = store.usage(), list(store.refs())
    if as_json:
        print_json("cas-status", {"usage": usage, "refs": refs})
        return
    stored = usage.object_bytes + usage.variant_bytes + usage.tree_bytes
    rows = [
        ("objects", str(usage.objects), size(usage.object_bytes)),
        ("variants", str(usage.variants), size(usage.variant_bytes)),
        ("tree records", str(usage.trees), size(usage.tree_bytes)),
        ("linked trees", str(usage.links), "-"),
        ("together, what gc would remove included", "", size(stored)),
        ("what refs name, if nothing were shared", "", size(usage.referenced_bytes)),
        ("free", "", size(usage.free_bytes)),
    ]
    print_table(("WHAT", "COUNT", "SIZE"), rows)
    if refs:
        print()
        print_table(("REF", "DIGEST", "UPDATED"), [(r.name, r.digest[:_DIGEST_SHOWN], moment(r.updated)) for r in refs])


@app.command()
def verify(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Read everything and compare it with its digest; ends with 6 if something is damaged."""
    store = volt_of(ctx).store
    begun = time.monotonic()
    with shown_progress() as progress:
        report = store.verify(progress=progress)
    if as_json:
        print_json("cas-verify", report)
    else:
        for line in report.damaged:
            print(line)
        say(
            f"{report.objects} objects, {size(report.bytes)}, {report.trees} tree records: "
            f"{len(report.damaged) or 'nothing'} damaged ({time.monotonic() - begun:.1f} s)"
        )
    if report.damaged:
        leave(StoreError.exit_code)


@app.command()
def gc(
    ctx: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Say what would go and why; remove nothing.")
    ] = False,
    grace: Annotated[
        float | None,
        typer.Option("--grace", metavar="SECONDS", parser=seconds, help="Keep what is younger; else as configured."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Remove what no ref reaches."""
    volt = volt_of(ctx, gc_grace=grace)
    grace = volt.config.values.gc_grace
    report = volt.store.gc(dry_run=dry_run, grace=grace)
    if as_json:
        print_json("cas-gc", report)
        return
    if dry_run:
        for line in report.removed:
            print(line)
    verb = "Would remove" if dry_run else "Removed"
    say(
        f"{verb} {report.objects} objects, {report.variants} variants, "
        f"{report.trees} tree records: {size(report.bytes)}"
        + (f"; kept {report.kept_young} that are younger than {grace:g} s" if report.kept_young else "")
    )


@app.command("ls")
def list_(
    ctx: typer.Context,
    name: RefName,
    path: Annotated[str, typer.Argument(metavar="PATH", help="What to list in the tree.")] = "",
    long: Annotated[bool, typer.Option("--long", "-l", help="With type, mode, owner, size and time.")] = False,
    recursive: Annotated[bool, typer.Option("--recursive", "-R", help="Also what is below directories.")] = False,
    as_json: AsJson = False,
) -> None:
    """List what a stored tree holds."""
    store = volt_of(ctx).store
    top = path.strip("/").encode("utf-8", "surrogateescape")
    entries = list(store.entries(find_digest(store, name), top, recursive=recursive))
    if entries[0].type is EntryType.DIRECTORY:
        del entries[0]
    if as_json:
        print_json("cas-entries", [_summary(entry) for entry in entries])
    elif long:
        print_table(("MODE", "OWNER", "SIZE", "MODIFIED", "PATH"), map(_row, entries))
    else:
        for entry in entries:
            print(below.shown(entry.path))


@app.command()
def log(ctx: typer.Context, name: RefName, as_json: AsJson = False) -> None:
    """Show the former values of a ref, the newest first."""
    changes = volt_of(ctx).store.ref_log(name)
    if not changes:
        raise RefNotFound(f"The store has no ref {shown(name)}", hint="'volt cas status' lists the refs.")
    if as_json:
        print_json("cas-log", changes[::-1])
        return
    rows = [(moment(change.time), change.digest or "deleted", change.previous or "-") for change in changes[::-1]]
    print_table(("TIME", "DIGEST", "BEFORE"), rows)


def _check_own_ref(name: str) -> None:
    """Raise :class:`InvalidName` for a ref that would mean something to Volt, and not what it means by it."""
    if name.startswith(USE_PREFIX):
        raise InvalidName(f"Ref {shown(name)} is in the place of what workloads use", hint="Choose another name.")
    if name.startswith(_IMAGES):
        text = name.removeprefix(_IMAGES)
        hint = "Make an image: volt image import DIR NAME:TAG."
        try:
            image = parse_image_name(text)
        except InvalidName as error:
            raise InvalidName(f"Ref {shown(name)} is no image's: {error.brief}", hint=hint) from error
        if image.ref != name:
            raise InvalidName(f"Ref {shown(name)} is no image's: it has no tag", hint=hint)


def find_digest(store: Store, name: str) -> str:
    """Return the digest that a user's word means: a digest, a ref, or an image. Raises :class:`RefNotFound`."""
    if is_digest(name):
        return name
    ref = store.find_ref(name)
    if ref is None:
        try:
            image = parse_image_name(name)
        except InvalidName:
            pass
        else:
            ref = store.find_ref(image.ref) if image.tag else None
    if ref is None:
        raise RefNotFound(f"The store has no ref {shown(name)}", hint="'volt cas status' lists the refs.")
    return ref.digest


def _say_notes(notes: Sequence[str]) -> None:
    for note in notes:
        say(f"Note: {note}")


def _row(entry: Entry) -> tuple[str, ...]:
    extent = f"{entry.device[0]}, {entry.device[1]}" if entry.device else str(entry.size)
    arrow = f" -> {below.shown(entry.target)}" if entry.target else ""
    mode = stat.filemode(_FORMATS[entry.type] | entry.mode)
    return mode, f"{entry.uid}:{entry.gid}", extent, _moment(entry.mtime_ns), below.shown(entry.path) + arrow


def _moment(mtime_ns: int) -> str:
    try:
        return moment(mtime_ns)
    except (OverflowError, ValueError, OSError):
        return str(mtime_ns)  # beyond the years that a calendar has


def _summary(entry: Entry) -> dict[str, Any]:
    """An entry for JSON, which has no bytes: where a path is no text, the exact one is beside it in base64."""
    seconds, nanoseconds = divmod(entry.mtime_ns, 10**9)
    document: dict[str, Any] = {
        "path": entry.path.decode("utf-8", "backslashreplace"),
        "type": entry.type,
        "mode": f"{entry.mode:04o}",
        "uid": entry.uid,
        "gid": entry.gid,
        "size": entry.size,
        "mtime": {"seconds": seconds, "nanoseconds": nanoseconds},
        "digest": entry.digest,
        "hardlink_group": entry.hardlink_group,
    }
    if not _is_text(entry.path):
        document["path_base64"] = base64.b64encode(entry.path).decode()
    if entry.target:
        document["target"] = entry.target.decode("utf-8", "backslashreplace")
        if not _is_text(entry.target):
            document["target_base64"] = base64.b64encode(entry.target).decode()
    if entry.device:
        document["device"] = entry.device
    if entry.xattrs:
        document["xattrs"] = {
            name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"): base64.b64encode(
                value
            ).decode()
            for name, value in entry.xattrs.items()
        }
    return document


def _is_text(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
