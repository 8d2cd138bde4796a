"""What the authors of plugins test with: conformance kits, fakes in memory, probes of the host.

Needs pytest, for which :mod:`.entry` is a plugin; nothing else in :mod:`volt_core` imports this package.
"""

import pytest

# Before any of them is imported: without rewriting, an assertion of a kit that fails shows no values.
pytest.register_assert_rewrite(
    "volt_core.testing.backend_kit",
    "volt_core.testing.bundle_kit",
    "volt_core.testing.capability_kit",
    "volt_core.testing.concurrency_kit",
    "volt_core.testing.content_kit",
    "volt_core.testing.facet_kit",
    "volt_core.testing.failure_kit",
    "volt_core.testing.files_kit",
    "volt_core.testing.hook_kit",
    "volt_core.testing.hostile_kit",
    "volt_core.testing.leftover_kit",
    "volt_core.testing.lifecycle_kit",
    "volt_core.testing.option_kit",
    "volt_core.testing.pytest_plugin",
    "volt_core.testing.resource_kit",
    "volt_core.testing.samples",
    "volt_core.testing.section_kit",
    "volt_core.testing.source_kit",
    "volt_core.testing.store_cases",
    "volt_core.testing.store_kit",
    "volt_core.testing.trees",
    "volt_core.testing.workbench",
)
