"""Benchmarks: hot paths with pytest-benchmark, whole processes by the scripts of :mod:`benchmarks.compare`."""
