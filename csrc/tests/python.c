/* SPDX-License-Identifier: Apache-2.0
 *
 * A Python with a sanitizer's runtime in it, for an extension that was built with one. Preloaded, the runtime would also
 * come into every program that the tests start, and would not survive their cleaned environments.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* The interpreter itself never frees all of its memory. What C alone leaks is seen by "make asan". */
const char *__asan_default_options(void);
const char *__asan_default_options(void) {
        return "detect_leaks=0";
}

int main(int argc, char **argv) {
        /* With its own allocator, a byte too many would still be in the interpreter's arena. */
        setenv("PYTHONMALLOC", "malloc", 1);
        /* The working directory may have an extension without sanitizers. */
        setenv("PYTHONSAFEPATH", "1", 1);
        return Py_BytesMain(argc, argv);
}
