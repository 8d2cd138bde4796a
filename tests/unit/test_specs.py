"""From an image and options to what a container runs: Docker's rules, and what is refused."""

from __future__ import annotations

import math

import pytest

from volt_core.errors import InvalidSpec
from volt_core.models.image import Image, ImageConfig
from volt_core.models.mount import Mount
from volt_core.models.network import PublishedPort
from volt_core.models.resources import Resources
from volt_core.workloads.specs import (
    DEFAULT_PATH,
    ContainerOptions,
    build_container_spec,
    parse_env,
    parse_labels,
    parse_port,
    parse_size,
)


def image(**config):
    return Image(name="app:latest", digest="sha256:" + "1" * 64, config=ImageConfig(**config))


def build(options=None, **config):
    return build_container_spec(image(**config), ContainerOptions(**(options or {})))


@pytest.mark.parametrize(
    ("config", "given", "command"),
    [
        ({"cmd": ("sh",)}, (), ("sh",)),
        ({"cmd": ("sh",)}, ("ls", "-l"), ("ls", "-l")),
        ({"entrypoint": ("init",), "cmd": ("a",)}, (), ("init", "a")),
        ({"entrypoint": ("init",), "cmd": ("a",)}, ("b", "c"), ("init", "b", "c")),
        ({"entrypoint": ("init",)}, (), ("init",)),
    ],
)
def test_the_command(config, given, command):
    assert build({"command": given}, **config).command == command


def test_what_is_not_said_comes_from_the_image():
    config = {"cmd": ("x",), "user": "www", "working_dir": "/srv", "stop_signal": "SIGQUIT", "env": ("A=1", "B=2")}
    spec = build({"env": {"B": "3"}}, **config)
    assert (spec.user, spec.working_dir, spec.stop_signal) == ("www", "/srv", "SIGQUIT")
    assert spec.env == {"PATH": DEFAULT_PATH, "A": "1", "B": "3"}
    spec = build({"user": "root", "working_dir": "//a/../b", "stop_signal": "9"}, **config)
    assert (spec.user, spec.working_dir, spec.stop_signal) == ("root", "/b", "9")
    assert (spec.image, spec.root) == ("app:latest", image().digest)


def test_the_images_path_wins_over_the_default():
    assert build({}, cmd=("x",), env=("PATH=/bin",)).env["PATH"] == "/bin"


MOUNTS = (Mount(source="/a", target="/data"), Mount(source="/b", target="/data"))


@pytest.mark.parametrize(
    ("options", "config", "message"),
    [
        ({}, {}, r"Image 'app:latest' has no default command\. \(Name one behind the image\.\)"),
        ({"command": ("a\0b",)}, {}, "NUL"),
        ({"working_dir": "srv"}, {"cmd": ("x",)}, "Working directory 'srv' is not absolute"),
        ({"mounts": MOUNTS}, {"cmd": ("x",)}, "Two mounts have the target '/data'"),
        ({"stop_signal": "SIGNOPE"}, {"cmd": ("x",)}, "Unknown signal 'SIGNOPE'"),
        ({}, {"cmd": ("x",), "stop_signal": "99"}, "Unknown signal '99'"),
        ({"stop_timeout": -1.0}, {"cmd": ("x",)}, "The stop timeout -1 is not in the range 0 to 1e"),
        ({"stop_timeout": math.inf}, {"cmd": ("x",)}, "The stop timeout inf is not"),
        ({"stop_timeout": math.nan}, {"cmd": ("x",)}, "The stop timeout nan is not"),
        ({"resources": Resources(cpu_quota=math.inf)}, {"cmd": ("x",)}, "The limit of CPU time is no number"),
        ({}, {"cmd": ("x",), "env": ("=x",)}, "Invalid environment variable ''"),
    ],
)
def test_what_is_refused(options, config, message):
    with pytest.raises(InvalidSpec, match=message):
        build(options, **config)


@pytest.mark.parametrize("name", ["a", "Web-1", "a.b.example", "1", "x" * 63, ".".join(["x" * 49] * 5)])
def test_host_names(name):
    assert build({"hostname": name}, cmd=("x",)).hostname == name


@pytest.mark.parametrize("name", ["a\n1.2.3.4 b", "a\n", "a b", "-a", "a-", "a.", "a..b", "ä", "x" * 64, "a." * 127])
def test_bad_host_names(name):
    with pytest.raises(InvalidSpec, match="Invalid host name"):
        build({"hostname": name}, cmd=("x",))


def test_env_words():
    words = ["A=1", "B=", "C", "D", "E=a=b", "A=2", "x.y-z=ok"]
    environ = {"C": "from here"}
    assert parse_env(words, environ) == {"A": "2", "B": "", "C": "from here", "E": "a=b", "x.y-z": "ok"}


@pytest.mark.parametrize("word", ["", "=", "1A=x", "A B=x", "A\n=x", "A=\0", "ä=1"])
def test_bad_env_words(word):
    with pytest.raises(InvalidSpec, match="Write it as NAME=VALUE"):
        parse_env([word], {})


def test_the_value_of_a_bad_variable_is_not_shown():
    for word in ("MY TOKEN=s3cr3t", "TOKEN=s3cr3t\0"):
        with pytest.raises(InvalidSpec) as caught:
            parse_env([word], {})
        assert "TOKEN'" in str(caught.value)
        assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1", 1),
        ("1b", 1),
        ("1k", 1024),
        ("512M", 512 << 20),
        ("1.5G", 3 << 29),
        ("2GiB", 2 << 30),
        ("1tb", 1 << 40),
    ],
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1", "1x", "1e3", " 1", "1\n", "9" * 400, "٣", "1.G", "inf"])
def test_bad_sizes(text):
    with pytest.raises(InvalidSpec, match="Invalid size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("80", PublishedPort(host_port=80, port=80)),
        ("8080:80", PublishedPort(host_port=8080, port=80)),
        (":80", PublishedPort(host_port=80, port=80)),
        ("53:53/udp", PublishedPort(host_port=53, port=53, protocol="udp")),
        ("127.0.0.1:8080:80/tcp", PublishedPort(host_port=8080, port=80, host_address="127.0.0.1")),
        ("[::1]:8080:80", PublishedPort(host_port=8080, port=80, host_address="::1")),
        ("127.0.0.1::80", PublishedPort(host_port=80, port=80, host_address="127.0.0.1")),
    ],
)
def test_ports(text, port):
    assert parse_port(text) == port


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "65536",
        "80/sctp",
        "a:80",
        "1:2:3:4",
        "999.1.1.1:80:80",
        "[::g]:1:1",
        "[:::::]:1:1",
        "80 ",
        "80\n",
        "-1",
        "٣",
    ],
)
def test_bad_ports(text):
    with pytest.raises(InvalidSpec, match="Invalid port"):
        parse_port(text)


def test_labels():
    assert parse_labels(["a=1", "b", "c=x=y", "a=2"]) == {"a": "2", "b": "", "c": "x=y"}
    with pytest.raises(InvalidSpec, match="Invalid label '=x'"):
        parse_labels(["=x"])
