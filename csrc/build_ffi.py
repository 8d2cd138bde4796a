"""Sources and flags of the extension module ``volt_core._native``."""

from pathlib import Path

from cffi import FFI

# No __file__ here: cffi's setuptools hook executes this text from the root of the source tree.
SOURCES = sorted(str(path) for path in Path("csrc").glob("*.c"))
HEADERS = sorted(str(path) for path in Path("csrc").glob("*.h"))

ffibuilder = FFI()
ffibuilder.cdef(Path("csrc/volt_native.cdef.h").read_text(encoding="utf-8"))
ffibuilder.set_source(
    "volt_core._native",
    '#include "volt_native.h"',
    sources=SOURCES,
    depends=HEADERS,
    include_dirs=["csrc"],
    define_macros=[("_GNU_SOURCE", None), ("_FILE_OFFSET_BITS", "64"), ("Py_LIMITED_API", "0x030B0000")],
    extra_compile_args=["-std=gnu11", "-Wall", "-Wextra", "-fvisibility=hidden"],
    libraries=["crypto", "pthread"],
    py_limited_api=True,
)
