"""One wheel of the core, built once, serves every Python that is supported."""

from __future__ import annotations

import json
import platform
import re
import sys
import tomllib
from pathlib import Path

import pytest

from volt_core.testing.pythons import VERSIONS

from .conftest import ROOT, call
from .pythons import find_python

pytestmark = [pytest.mark.packaging, pytest.mark.needs_native]
PLATFORMS = ("linux", "manylinux_2_28", "manylinux_2_17", "manylinux2014")


def test_these_are_the_versions_that_are_promised():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", line) for line in project["classifiers"]]
    assert tuple(found[1] for found in named if found) == VERSIONS
    assert project["requires-python"] == f">={VERSIONS[0]}"


def test_only_the_stable_interface_is_used(dist):
    report = call([Path(sys.executable).with_name("abi3audit"), "--strict", "--report", dist.wheel("volt_core")])
    (spec,) = json.loads(report[report.index('{"specs"') :])["specs"].values()
    (extension,) = spec["wheel"]
    assert extension["name"] == "_native.abi3.so"
    assert extension["result"]["is_abi3"]
    assert extension["result"]["baseline"] == VERSIONS[0]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_wheel_works_under(version, dist, tmp_path):
    python = find_python(version, tmp_path)
    target = tmp_path / "site"
    call(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--target", target]
        + ["--only-binary=:all:", "--implementation=cp", f"--python-version={version}"]
        + [f"--platform={name}_{platform.machine()}" for name in PLATFORMS]
        + [dist.wheel("volt_core"), dist.wheel("volt_cas")]
    )
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "deep/file").write_bytes(b"content" * 1000)
    (source / "link").symlink_to("deep/file")

    def volt(*words: str | Path) -> str:
        environment = {"PYTHONPATH": str(target), "VOLT_ROOT": str(tmp_path / "root"), "VOLT_NATIVE": "c"}
        return python.run("-P", "-m", "volt_core", *words, **environment)

    assert json.loads(volt("info", "--json"))["native"] == "c"
    volt("cas", "build", source, "--ref", "tree")
    volt("cas", "checkout", "tree", tmp_path / "checkout")
    assert (tmp_path / "checkout/deep/file").read_bytes() == b"content" * 1000
    assert (tmp_path / "checkout/link").readlink() == Path("deep/file")
    assert "nothing damaged" in volt("cas", "verify")
