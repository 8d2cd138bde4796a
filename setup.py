"""The optional C build: the extension volt_core._native and the static programs in volt_core/_bin.

VOLT_BUILD_NATIVE=0 leaves it out, VOLT_BUILD_NATIVE=require makes its failure fatal, and the compiler's warnings too;
otherwise a failure costs one warning and the part it concerns. All else is in pyproject.toml.
"""

import os
import shlex
import sys
import sysconfig
import textwrap
from pathlib import Path
from typing import ClassVar

from setuptools import Command, Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, CCompilerError

MODE = os.environ.get("VOLT_BUILD_NATIVE", "")
PROGRAMS = {
    "enter": ["enter.c", "command.c", "confinement.c", "pump.c", "session.c"],
    "guard": ["guard.c"],
    "init": ["init.c", "command.c", "pump.c", "session.c"],
    "outcome": ["outcome.c"],
    "rootfs": ["rootfs.c", "machine.c", "overlay.c"],
}
PROGRAM_FLAGS = ["-std=gnu11", "-D_GNU_SOURCE", "-Os", "-Wall", "-Wextra", "-fstack-protector-strong", "-static", "-s"]
if MODE == "require":
    PROGRAM_FLAGS.append("-Werror")


def give_up(lost: str, error: object) -> None:
    """Warn that a part of the build was left out, or fail where it is required."""
    if MODE == "require":
        raise SystemExit(f"volt-core: VOLT_BUILD_NATIVE=require, but the build failed: {error}")
    print(f"volt-core: warning: {lost} ({textwrap.shorten(str(error), 160)})", file=sys.stderr)


def find_cffi_modules() -> list[str]:
    """Return the cffi build scripts, none if cffi cannot work here."""
    if MODE == "0":
        return []
    try:
        from cffi import FFI

        FFI()  # needs cffi's own C backend
    except ImportError as error:
        give_up("building without the C extension, the slower Python code will serve", error)
        return []
    return ["csrc/build_ffi.py:ffibuilder"]


class OptionalBuildExt(build_ext):
    """Builds the extension, or leaves it out of the distribution."""

    def build_extension(self, ext: Extension) -> None:
        try:
            super().build_extension(ext)
        except (BaseError, CCompilerError, OSError) as error:
            give_up("building without the C extension, the slower Python code will serve", error)
            self.extensions = self.distribution.ext_modules = [kept for kept in self.extensions if kept is not ext]

    def build_extensions(self) -> None:
        for ext in self.extensions:
            self.build_extension(ext)


class BuildPrograms(Command):
    """Builds the static programs: into the wheel, or into the source tree for an editable install."""

    user_options: ClassVar = [("build-lib=", "b", "directory to build into")]

    def initialize_options(self) -> None:
        self.build_lib = None
        self.editable_mode = False
        self.built: list[str] = []

    def finalize_options(self) -> None:
        self.set_undefined_options("build_py", ("build_lib", "build_lib"))

    def run(self) -> None:
        directory = Path("" if self.editable_mode else self.build_lib, "volt_core/_bin")
        directory.mkdir(parents=True, exist_ok=True)
        for name, sources in PROGRAMS.items():
            target = directory / name
            # What lies there is from an earlier build, or was copied from the tree of an editable install.
            target.unlink(missing_ok=True)
            if MODE == "0":
                continue
            try:
                paths = [f"csrc/programs/{source}" for source in sources]
                self.spawn([*compiler(), *PROGRAM_FLAGS, "-o", str(target), *paths])
            except (BaseError, CCompilerError, OSError) as error:
                # A dynamic program would look for its libraries inside the workload's root file system.
                give_up(f"building without the static program {name!r}, 'volt doctor' says what that costs", error)
            else:
                self.built.append(str(target))

    def get_source_files(self) -> list[str]:
        return sorted({f"csrc/programs/{source}" for sources in PROGRAMS.values() for source in sources})

    def get_outputs(self) -> list[str]:
        return self.built

    def get_output_mapping(self) -> dict[str, str]:
        return {}


def compiler() -> list[str]:
    """Return the C compiler's command, as distutils would choose it but without Python's own flags."""
    return shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")


class Build(build):
    sub_commands: ClassVar = [*build.sub_commands, ("build_programs", None)]


class Wheel(bdist_wheel):
    """Tags the wheel by what was really built, which is known only after the build."""

    def finalize_options(self) -> None:
        self.py_limited_api = "cp311"
        super().finalize_options()

    def run_command(self, command: str) -> None:
        super().run_command(command)
        if command == "build":
            self.root_is_pure = not self.distribution.has_ext_modules()
            if self.get_finalized_command("build_programs").get_outputs():
                # Programs alone: any Python will do (py3-none), but not any machine (any).
                self.plat_name_supplied = True


setup(
    cffi_modules=find_cffi_modules(),
    cmdclass={
        "bdist_wheel": Wheel,
        "build": Build,
        "build_ext": OptionalBuildExt,
        "build_programs": BuildPrograms,
    },
)
