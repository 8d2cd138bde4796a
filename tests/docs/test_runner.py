"""What runs the examples of the docs: it reads pages as they are written, and tells what is wrong in them."""

from __future__ import annotations

import importlib.metadata
import textwrap
from pathlib import Path

import pytest

from . import examples
from .examples import Block, Session, check, commands, matches, read, run, surroundings

PAGE = Path("docs/page.md")


def page(text: str) -> list[Session]:
    return list(read(PAGE, textwrap.dedent(text)))


def block(language: str, text: str, words: str = "") -> Block:
    return Block(PAGE, 1, language, text, words)


def session(text: str) -> Session:
    (found,) = page(text)
    return found


def test_a_page_is_read_into_sessions() -> None:
    first, second = page(
        """\
        # Title

        1. A list

           ```console
           $ one
           ```

        <!-- test: session containers -->
        <!-- test: setup mkdir here -->
        ```python
            x = 1
        ```

        <!-- test: parse (it needs a mirror) -->
        ```console
        $ two
            three
        ```
        """
    )
    assert [(it.line, it.language, it.text, it.words) for it in first.blocks] == [(5, "console", "$ one\n", "")]
    assert (first.kind, second.kind, str(second)) == ("", "containers", "docs/page.md:10")
    assert [(it.language, it.text, it.words) for it in second.blocks] == [
        ("console", "$ mkdir here\n", ""),
        ("python", "x = 1\n", ""),
        ("console", "$ two\n    three\n", "parse"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "Type:\n\n    volt ps\n",
        "Type:\n\n```console\n$ volt ps\n",
        "<!-- test: sometimes -->\n",
        "<!-- test: parse -->\n```console\n$ x\n```\n",
        "<!-- test: session parse -->\n",
    ],
)
def test_what_nobody_would_check_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"docs/page\.md:\d"):
        list(read(PAGE, text))


def test_a_command_goes_on_after_an_angle_bracket() -> None:
    assert list(commands("$ cat <<E\n> a\n> E\na\n$ true\n")) == [("cat <<E\na\nE", "a\n"), ("true", "")]


@pytest.mark.parametrize(
    "wrong",
    [
        block("console", "volt ps\n"),
        block("console", "$ echo 'open\n"),
        block("console", "$ volt nothing\n"),
        block("console", "$ A=1 sudo volt image nothing\n"),
        block("console", "$ volt ps --nothing\n"),
        block("console", "$ true && volt run --rm=no box | cat\n"),
        block("console", "$ volt create\n"),
        block("python", "from volt_core.contracts import Nothing\n"),
        block("python", "import volt_nothing\n"),
        block("python", "def f(:\n", "parse"),
        block("json", "{a: 1}"),
        block("toml", "a = [1"),
        block("yaml", "a: [1"),
        block("sh", "if true\n"),
        block("", "anything\n"),
        block("cobol", "anything\n"),
    ],
    ids=lambda it: f"{it.language}: {it.text.strip()}",
)
def test_a_block_that_is_not_its_language_is_found(
    wrong: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOLT_ROOT", str(tmp_path))
    with pytest.raises(Exception):  # noqa: B017, PT011  -- whatever the parser of the language raises
        check(wrong)


@pytest.mark.parametrize(
    "right",
    [
        block("console", "$ sudo volt --root DIR run -it --rm box sh -c 'volt no option' >out; A=1 volt ps -q | wc\n"),
        block("console", "$ volt cas build . --ref x # not --this\nvolt nothing\n$ volt --version\n$ volt ps --help\n"),
        block(
            "python", "from volt_core.contracts import Backend\nfrom volt_core import errors\nimport os.path\nNAME\n"
        ),
        block("python", "import volt_nothing\n", "parse"),
        block("python", "import volt_nothing\n", "file=a.py"),
        block("yaml", "a: [1]"),
        block("text", "anything\n"),
    ],
    ids=lambda it: f"{it.language}: {it.text.strip()}",
)
def test_a_block_that_is_its_language_is_left_alone(
    right: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOLT_ROOT", str(tmp_path))
    check(right)


def test_a_session_is_one_shell(tmp_path: Path) -> None:
    shown = """\
        <!-- test: setup mkdir there -->
        <!-- test: file=there/pkg/mine.py -->
        ```python
        WORD = "it's"
        ```
        <!-- test: run -->
        ```python
        print("not shown")
        ```
        ```console
        $ cd there/pkg; word=kept
        $ python -c 'import mine; print(mine.WORD)'
        it's
        $ sh -c 'echo out; echo err >&2; exit 3'
        out
        err
        $ echo $?
        3
        $ echo $word
        kept
        ```
        """
    run(session(shown), tmp_path, surroundings(tmp_path))


def test_a_session_has_an_instance_and_a_python_of_its_own(tmp_path: Path) -> None:
    shown = """\
        ```console
        $ volt info --json | grep -c "$VOLT_ROOT/lib"
        1
        $ volt plugin list --quiet | grep -x cas
        cas
        $ pip list --format freeze | grep -c volt-core
        1
        ```
        """
    environment = surroundings(tmp_path)
    run(session(shown), tmp_path, environment)
    where = Block(PAGE, 1, "console", "$ python -c 'import sysconfig; print(sysconfig.get_path(\"purelib\"))'\n…\n")
    run(Session(PAGE, blocks=[where]), tmp_path, environment)
    assert (tmp_path / "said.0").read_text().startswith(str(tmp_path))


@pytest.mark.packaging
def test_a_plugin_that_a_session_installs_is_there_for_it_alone(tmp_path: Path) -> None:
    shown = """\
        <!-- test: file=volt-mine/pyproject.toml -->
        ```toml
        [build-system]
        requires = ["setuptools>=77"]
        build-backend = "setuptools.build_meta"

        [project]
        name = "volt-mine"
        version = "1.0"
        dependencies = ["volt-core"]

        [project.entry-points.volt]
        mine = "volt_mine"
        ```
        <!-- test: file=volt-mine/volt_mine.py -->
        ```python
        VOLT_API_VERSION = (0, 1)
        ```
        ```console
        $ pip install --quiet --editable volt-mine
        $ volt plugin list
        …
        mine  volt-mine 1.0  ok
        …
        ```
        """
    run(session(shown), tmp_path, surroundings(tmp_path))
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version("volt-mine")


def test_a_session_installs_no_packages_on_this_machine(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"apt install proot"):
        run(Session(PAGE, blocks=[block("console", "$ apt install proot\n")]), tmp_path, surroundings(tmp_path))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("$ true\n$ false\n$ true\n", r"docs/page.md:1: \$ false\n\(status 1\)"),
        ("$ echo a\nb\n", r"\$ echo a\na\n\(status 0\)\nThe page shows:\nb\n"),
        ("$ echo a\na\n$ sleep 20\n", r"\$ sleep 20\n\(status not within 1 s\)"),
    ],
)
def test_a_session_that_goes_otherwise_is_found(
    text: str, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examples, "SECONDS", 1.0)
    environment = surroundings(tmp_path)
    with pytest.raises(AssertionError, match=complaint):
        run(Session(PAGE, blocks=[block("console", text)]), tmp_path, environment)


@pytest.mark.parametrize(
    ("shown", "said", "same"),
    [
        ("a  b\n", "a      b   \n", True),
        ("a … c\n", "a b b c\n", True),
        ("…\nlast\n", "one\ntwo\nlast\n", True),
        ("first\n…\n", "first\n", True),
        ("a …\n", "a b\nc\n", False),
        ("a.c\n", "abc\n", False),
        ("a\n", "a\nb\n", False),
        ("b\n", " b\n", False),
    ],
)
def test_what_a_page_shows_is_compared(shown: str, said: str, same: bool) -> None:
    assert matches(shown, said) is same
