"""Sources and flags of the extension module ``volt_core._native``."""

import os
from pathlib import Path

from cffi import FFI

# No __file__ here: cffi's setuptools hook executes this text from the root of the source tree.
SOURCES = sorted(str(path) for path in Path("csrc").glob("*.c"))
HEADERS = sorted(str(path) for path in Path("csrc").glob("*.h"))
FLAGS = ["-std=gnu11", "-Wall", "-Wextra", "-fvisibility=hidden"]
if os.environ.get("VOLT_BUILD_NATIVE") == "require":
    # Not for everybody: a compiler newer than ours may warn of more.
    FLAGS.append("-Werror")

ffibuilder = FFI()
ffibuilder.cdef(Path("csrc/volt_native.cdef.h").read_text(encoding="utf-8"))
ffibuilder.set_source(
    "volt_core._native",
    '#include "volt_native.h"',
    sources=SOURCES,
    depends=HEADERS,
    include_dirs=["csrc"],
    define_macros=[("_GNU_SOURCE", None), ("_FILE_OFFSET_BITS", "64"), ("Py_LIMITED_API", "0x030B0000")],
    extra_compile_args=FLAGS,
    libraries=["crypto", "pthread"],
    py_limited_api=True,
)
