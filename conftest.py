"""For all tests of the repository; pytest takes plugins from the topmost conftest alone."""

pytest_plugins = ["pytester", "volt_core.testing.pytest_plugin"]
