"""``volt cas log``, ``undo``, ``tag`` and ``rm``."""

from __future__ import annotations

import json

import pytest

from volt_core.contracts import Ref


def test_undo_goes_back_and_undo_again_returns(call, shop, grow):
    first, second = grow("one", "a"), grow("two", "a")
    out, said = call("undo", "a")
    assert out == ""
    assert first in said
    assert shop.find_ref("a").digest == first
    call("undo", "a")
    assert shop.find_ref("a").digest == second
    assert [change.digest for change in shop.ref_log("a")] == [first, second, first, second]


def test_undo_sets_kind_and_meta_too(call, shop, grow):
    digest = grow("one")
    shop.set_ref(Ref(name="images/x:1", digest=digest, kind="image", meta={"entrypoint": "a"}))
    shop.set_ref(Ref(name="images/x:1", digest=digest, kind="image", meta={"entrypoint": "b"}))
    assert json.loads(call("undo", "x:1", "--json")[0])["meta"] == {"entrypoint": "a"}
    assert shop.find_ref("images/x:1").meta == {"entrypoint": "a"}


def test_undo_to_a_number_of_the_log(call, shop, grow):
    digests = [grow(text, "a") for text in ("one", "two", "three")]
    listed = call("log", "a")[0].splitlines()
    assert listed[0].split() == ["N", "TIME", "DIGEST", "BEFORE"]
    assert [line.split()[0] for line in listed[1:]] == ["0", "1", "2"]
    assert digests[0] in listed[3]
    call("undo", "a", "--to", 2)
    assert shop.find_ref("a").digest == digests[0]


def test_undo_brings_a_deleted_ref_back(call, shop, grow):
    digest = grow("one", "a")
    call("rm", "a")
    assert shop.find_ref("a") is None
    call("undo", "a")
    assert shop.find_ref("a").digest == digest
    assert "was deleted then" in call("undo", "a", "--to", 1, ok=4)[1]


def test_undo_after_gc_says_what_would_have_helped(call, shop, grow):
    grow("one", "a")
    second = grow("two", "a")
    call("gc", "--grace", 0, "--keep-last", 1)
    call("undo", "a")
    call("undo", "a")
    call("gc", "--grace", 0)
    assert "--keep-last" in call("undo", "a", ok=6)[1]
    assert shop.find_ref("a").digest == second


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (("undo", "nothing"), 3, "no ref 'nothing'"),
        (("undo", "a"), 3, "no former value"),
        (("undo", "a", "--to", "7"), 3, "no value 7"),
        (("undo", "a", "--to", "0"), 2, "--to"),
        (("undo", "sha256:" + "0" * 64), 2, "not a name"),
        (("undo", "use/container/web"), 4, "container 'web' uses"),
        (("rm", "use/container/web"), 4, "volt delete web"),
        (("rm", "use/mount/0123"), 4, "volt cas umount"),
        (("rm", "sha256:" + "0" * 64), 2, "not a name"),
        (("tag", "a", "use/me"), 2, "what workloads use"),
        (("tag", "a", "../x"), 2, "Invalid ref"),
        (("tag", "nothing", "b"), 3, "no ref 'nothing'"),
        (("tag", "a", "taken"), 4, "--force"),
        (("tag", "sha256:" + "0" * 64, "b"), 6, "no tree"),
        (("log", "sha256:" + "0" * 64), 2, "not a name"),
    ],
)
def test_mistakes_change_nothing(call, shop, grow, words, status, text):
    digest = grow("one", "a")
    for name in ("use/container/web", "use/mount/0123"):
        shop.set_ref(Ref(name=name, digest=digest))
    grow("two", "taken")
    before = list(shop.refs())
    out, said = call(*words, ok=status)
    assert out == ""
    assert text in said
    assert list(shop.refs()) == before


def test_tag_takes_what_an_image_says_of_itself(call, shop, grow):
    digest = grow("one")
    shop.set_ref(Ref(name="images/x:1", digest=digest, kind="image", meta={"entrypoint": "a"}))
    call("tag", "x:1", "images/y:2")
    made = shop.find_ref("images/y:2")
    assert (made.digest, made.kind, made.meta) == (digest, "image", {"entrypoint": "a"})
    call("tag", digest, "mine")
    assert (shop.find_ref("mine").kind, shop.find_ref("mine").digest) == ("tree", digest)


def test_tag_replaces_with_force_alone_and_again_is_no_error(call, shop, grow):
    first, second = grow("one", "a"), grow("two", "b")
    call("tag", "a", "b", ok=4)
    assert shop.find_ref("b").digest == second
    call("tag", "a", "b", "--force")
    call("tag", "a", "b")
    assert shop.find_ref("b").digest == first


def test_the_new_name_of_what_is_in_use_is_not_in_use(call, shop, grow):
    shop.set_ref(Ref(name="use/container/web", digest=grow("one"), kind="use", meta={"a": "b"}))
    call("tag", "use/container/web", "mine")
    assert (shop.find_ref("mine").kind, shop.find_ref("mine").meta) == ("tree", {})


def test_rm_goes_on_after_a_failure_and_ends_with_it(call, shop, grow):
    grow("one", "a")
    grow("one", "images/x:latest")
    out, said = call("rm", "nothing", "a", "x", "--json", ok=3)
    assert json.loads(out)["items"] == ["a", "images/x:latest"]
    assert "'nothing'" in said
    assert list(shop.refs()) == []


def test_rm_drops_a_damaged_ref(call, shop, grow):
    grow("one", "a")
    (shop.path / "refs/a.json").write_text("{")
    call("rm", "a")
    assert shop.find_ref("a") is None
