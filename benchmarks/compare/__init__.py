"""Whole processes beside a yardstick: scripts to run by hand, which print Markdown tables and assert no time."""
