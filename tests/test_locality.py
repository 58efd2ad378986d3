"""What is a repo id and what is meant as a path."""

from __future__ import annotations

from pathlib import Path

import pytest

from rewriter.locality import folded, locality, looks_local


@pytest.mark.parametrize(
    ("text", "local"),
    [
        ("DeepFloyd/t5-v1_1-xxl", False),
        ("gpt2", False),
        ("", False),
        ("models", False),  # a repo id may be one word
        ("weights.pth", False),
        ("models/t5", True),
        ("./pretrained_models/t5_ckpts", True),
        ("../t5", True),
        (".", True),
        ("~/t5", True),
        ("/", True),
        ("\\\\server\\t5", True),
        ("C:\\t5", True),
        ("d:/t5", True),
        ("é:/t5", False),
        ("1:/t5", False),
        ("C:t5", False),
        ("outputs/run/ckpt", True),
        ("my-outputs/run", False),
    ],
)
def test_what_can_only_be_meant_as_a_path(text: str, local: bool) -> None:
    assert looks_local(text) is local
    assert locality(text if text != "/" else "/no/such", None) == ("missing" if local else "repo")


def test_what_exists_is_local_below_the_checkout_or_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "checkout"
    (root / "org" / "name").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(root)
    assert locality("org/name", str(root)) == "local"
    assert locality("./org/name", str(root)) == "local"
    assert locality(str(root), None) == "local"
    assert locality("~/checkout/org", None) == "local"
    assert locality("~/gone", str(root)) == "missing"
    assert locality("org/other", str(root)) == "repo"
    assert locality("org/name", None) == "repo"  # without a checkout nobody knows where it would be looked for
    assert locality("./org/name", None) == "missing"
    assert locality("", str(root)) == "repo"


@pytest.mark.parametrize("text", ["a\0b", "/a\0b", "./\ud800"])
def test_a_name_that_no_file_can_have_is_none_that_exists(text: str) -> None:
    assert locality(text, "/") == ("missing" if looks_local(text) else "repo")


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("lnk", "lnk"),  # a link stays one
        ("lnk/hub", "lnk/hub"),
        (".//lnk/./hub/", "lnk/hub"),
        ("lnk/../hub", "far/hub"),
        ("a/../lnk/sub/../../hub", "far/hub"),
        ("lnk/sub/../hub", "lnk/hub"),
        ("a/../hub", "hub"),
        ("gone/../hub", "hub"),
        ("loop/../hub", "hub"),
        ("/../hub", "/hub"),
    ],
)
def test_two_dots_behind_a_link_lead_where_the_system_takes_them(tmp_path: Path, path: str, place: str) -> None:
    (tmp_path / "far" / "target" / "sub").mkdir(parents=True)
    (tmp_path / "a").mkdir()
    (tmp_path / "lnk").symlink_to("far/target")
    (tmp_path / "loop").symlink_to("loop")
    assert folded(str(tmp_path) + "/" + path if path[0] != "/" else path) == (
        str(tmp_path / place) if place[0] != "/" else place
    )
