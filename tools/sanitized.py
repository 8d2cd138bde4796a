"""Makes a virtual environment whose C extension has sanitizers: ``python tools/sanitized.py DIR [SANITIZERS]``.

All else is that of the environment it is started from. ``DIR/bin/python -m pytest PATHS`` then runs tests in it.
"""

import contextlib
import io
import os
import runpy
import site
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SANITIZERS = "address,undefined"


def main(folder: Path, sanitizers: str) -> None:
    """Make the environment, or bring it up to date."""
    build = folder / "build"
    flags = [f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-O1", "-g"]
    include = f"-I{sysconfig.get_path('include')}"
    venv.create(folder, symlinks=True)
    build.mkdir(exist_ok=True)

    python = folder / "bin/python"
    fresh = build / "python"
    cc(*flags, include, "-o", fresh, ROOT / "csrc/tests/python.c", *libpython())
    fresh.replace(python)

    package = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}), "volt_core")
    package.mkdir(parents=True, exist_ok=True)
    for old in package.iterdir():
        old.unlink()
    for path in (ROOT / "volt_core").iterdir():
        if path.suffix != ".so" and path.name != "__pycache__":
            (package / path.name).symlink_to(path)
    outer = "; ".join(f"site.addsitedir({path!r})" for path in site.getsitepackages())
    (package.parent / "outer.pth").write_text(f"import site; {outer}\n")

    objects = f"CFLAGS=-O1 -g -fPIC -fvisibility=hidden {include} -DPy_LIMITED_API=0x030B0000"
    library = build / "libvolt.a"
    run(["make", "-s", "-j2", "-C", ROOT / "csrc", f"BUILD={build}", f"SANITIZE={sanitizers}", objects, library])
    glue = build / "glue.c"
    os.chdir(ROOT)
    with contextlib.redirect_stdout(io.StringIO()):
        runpy.run_path("csrc/build_ffi.py")["ffibuilder"].emit_c_code(str(glue))
    extension = ["-shared", "-fPIC", "-fvisibility=hidden", "-D_GNU_SOURCE", "-DPy_LIMITED_API=0x030B0000", "-Icsrc"]
    cc(*flags, *extension, include, "-o", package / "_native.abi3.so", glue, library, "-lcrypto", "-pthread")


def libpython() -> list[str]:
    """Return what links a program with this interpreter."""
    names = ("LIBDIR", "LIBPL", "LDVERSION", "LIBS", "SYSLIBS")
    library_dir, static_dir, version, libs, system_libs = (sysconfig.get_config_var(name) or "" for name in names)
    if sysconfig.get_config_var("Py_ENABLE_SHARED"):
        return [f"-L{library_dir}", f"-Wl,-rpath,{library_dir}", f"-lpython{version}"]
    return ["-Wl,--export-dynamic", f"{static_dir}/libpython{version}.a", *libs.split(), *system_libs.split(), "-lm"]


def cc(*arguments: str | Path) -> None:
    """Compile."""
    run([os.environ.get("CC", "cc"), *arguments])


def run(argv: list[str | Path]) -> None:
    """Run a program; end this one where that fails."""
    done = subprocess.run(argv, check=False)
    if done.returncode != 0:
        raise SystemExit(f"sanitized: {argv[0]} ended with {done.returncode}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        raise SystemExit("usage: python tools/sanitized.py DIR [SANITIZERS]")
    main(Path(sys.argv[1]).resolve(), sys.argv[2] if len(sys.argv) == 3 else SANITIZERS)
