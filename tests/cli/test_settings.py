"""Settings and ignores: what holds, where it comes from, and what a mistake in a settings file says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rewriter.decide.ignores import hide_findings
from rewriter.model import FileResult, Finding, Ignore
from rewriter.rules import NEVER_IGNORED
from rewriter.settings import Settings, explain, load, with_cache_dirs

WHOLE = """\
[project]
name = "mine"

[tool.opensora-rewriter]
cache-dir = "hub"
components = ["vae", "text_encoder", "model"]
include = ["configs/**/inference/*.py"]
exclude = [
    "configs/old/**",
]
ignore = ["OSR010"]
local-files-only = true
all_configs = true
opensora_source = "~/Open-Sora"

[tool.opensora-rewriter.cache-dirs]
vae = "/models/vae"
text_encoder = "../te"

[tool.opensora-rewriter.per-file-ignores]
"configs/vae*/**" = ["OSR001", "OSR006"]
"""


def wrong(tmp_path: Path, text: str, name: str = "opensora-rewriter.toml") -> str:
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=name) as caught:
        load(str(tmp_path), {})
    return str(caught.value).replace(str(tmp_path) + os.sep, "")


# --- which file ---


def test_every_key_is_read_and_knows_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    file = tmp_path / "pyproject.toml"
    file.write_text(WHOLE)
    (tmp_path / "configs" / "a").mkdir(parents=True)
    found = load(str(tmp_path / "configs" / "a" / "x.py"), {})
    assert found == Settings(
        cache_dir=str(tmp_path / "hub"),
        cache_dirs=(("vae", "/models/vae"), ("text_encoder", str(tmp_path.parent / "te"))),
        components=("vae", "text_encoder", "model"),
        include=("configs/**/inference/*.py",),
        exclude=("configs/old/**",),
        ignore=("OSR010",),
        per_file_ignores=(("configs/vae*/**", ("OSR001", "OSR006")),),
        local_files_only=True,
        all_configs=True,
        opensora_source="/home/someone/Open-Sora",
        path=str(file),
        origins=found.origins,
    )
    assert {name: int(origin.removeprefix(f"{file}:")) for name, origin in found.origins.items()} == {
        "cache_dir": 5, "components": 6, "include": 7, "exclude": 8, "ignore": 11, "local_files_only": 12,
        "all_configs": 13, "opensora_source": 14, "cache_dirs.vae": 17, "cache_dirs.text_encoder": 18,
        "per_file_ignores.configs/vae*/**": 21,
    }  # fmt: skip


def test_the_nearest_file_wins_and_in_one_folder_the_own_one(tmp_path: Path) -> None:
    (tmp_path / "opensora-rewriter.toml").write_text('cache-dir = "/a"\nlocal-files-only = true\n')
    (tmp_path / "pyproject.toml").write_text('[tool.opensora-rewriter]\ncache-dir = "/c"\n')
    (tmp_path / "inner").mkdir()
    assert load(str(tmp_path / "inner"), {}).cache_dir == "/a"
    (tmp_path / "inner" / "pyproject.toml").write_text('[tool.opensora-rewriter]\ncache-dir = "/b"\n')
    found = load(str(tmp_path / "inner"), {})
    assert (found.cache_dir, found.local_files_only) == ("/b", False)


@pytest.mark.parametrize(
    "text", ["", "[tool.black]\n", 'dependencies = ["opensora-rewriter"]\n', "# [tool.opensora-rewriter]\n"]
)
def test_a_pyproject_without_the_table_is_passed_over(tmp_path: Path, text: str) -> None:
    (tmp_path / "opensora-rewriter.toml").write_text('cache-dir = "/a"\n')
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "pyproject.toml").write_text(text)
    assert load(str(tmp_path / "inner"), {}).cache_dir == "/a"


# --- mistakes ---


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('ignore = []\ncache-dirr = "/x"\n', ":2: unknown key `cache-dirr`; did you mean `cache-dir`?"),
        ("cache-dir = 1\n", ":1: `cache-dir`: Input should be a valid string"),
        ("\nlocal_files_only = 'yes'\n", ":2: `local_files_only`: Input should be a valid boolean"),
        ("components = 'vae'\n", ":1: `components`: Input should be a valid tuple"),
        ("components = ['a-b']\n", ":1: `components`: String should match pattern '^[^\\W\\d]\\w*$'"),
        ("cache-dirs = '/x'\n", ":1: `cache-dirs`: Input should be a valid dictionary"),
        ("[cache-dirs]\nvae = '/x'\nmodel = 2\n", ":3: `cache-dirs.model`: Input should be a valid string"),
        ("cache-dir = ' '\n", ":1: `cache-dir`: ' ' names no directory"),
        ("ignore = ['osr004']\n",
         ":1: `ignore`: no finding 'osr004' that can be ignored; did you mean `OSR004`?"),
        ("cache-dir = \n", ": Invalid value (at line 1, column 13)"),
    ],
)  # fmt: skip
def test_a_wrong_value_names_file_line_and_what_is_right(tmp_path: Path, text: str, told: str) -> None:
    assert wrong(tmp_path, text) == "opensora-rewriter.toml" + told


# --- precedence ---


def test_the_environment_wins_over_the_file_and_the_command_line_over_both(tmp_path: Path) -> None:
    (tmp_path / "opensora-rewriter.toml").write_text('cache-dir = "/file"\n[cache-dirs]\nvae = "/file-vae"\n')
    from_file = load(str(tmp_path), {})
    assert (from_file.cache_dir, dict(from_file.cache_dirs)) == ("/file", {"vae": "/file-vae"})
    both = load(str(tmp_path), {"OPENSORA_CACHE_DIR": "/env"})
    assert (both.cache_dir, both.cache_dirs) == ("/env", ())
    assert both.origins == {"cache_dir": "environment OPENSORA_CACHE_DIR"}
    last = with_cache_dirs(both, ["vae=/line-vae"])
    assert (last.cache_dir, dict(last.cache_dirs)) == ("/env", {"vae": "/line-vae"})
    assert last.origins["cache_dirs.vae"] == "command line"
    assert with_cache_dirs(last, ["/line"]).cache_dirs == ()


def test_the_dir_of_a_remedy_is_no_directory() -> None:
    for given in ("DIR", "vae=DIR"):
        with pytest.raises(ValueError, match="command line: DIR stands for a directory; write its path"):
            with_cache_dirs(Settings(), [given])


def test_the_environment_takes_several_directories_separated_like_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.chdir(tmp_path)
    found = load(str(tmp_path), {"OPENSORA_CACHE_DIR": os.pathsep.join(["~/hub", "vae=rel"])})
    assert (found.cache_dir, found.cache_dirs) == ("/home/someone/hub", (("vae", str(tmp_path / "rel")),))
    assert load(str(tmp_path), {"OPENSORA_CACHE_DIR": "/a=b"}).cache_dir == "/a=b"
    assert load(str(tmp_path), {"OPENSORA_CACHE_DIR": ""}) == Settings()


def test_explain_says_what_holds_and_from_where(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(WHOLE)
    lines = explain(with_cache_dirs(load(str(tmp_path), {}), ['vae=/a"b\x1b']), str(tmp_path))
    assert f'cache-dir = "{tmp_path}/hub"  # pyproject.toml:5' in lines
    assert 'cache-dirs.vae = "/a\\"b\\u001b"  # command line' in lines
    assert "local-files-only = true  # pyproject.toml:12" in lines
    assert 'per-file-ignores."configs/vae*/**" = ["OSR001", "OSR006"]  # pyproject.toml:21' in lines
    assert "all-configs = false  # default" in explain(Settings(), "/")


# --- ignores ---

PATH = "/r/configs/a.py"
ANY = Settings(cache_dir="/c", local_files_only=True)  # so that every code of `check` is looked for


def finding(code: str = "OSR001", line: int = 1, component: str = "vae", path: str = PATH) -> Finding:
    return Finding(code, path, line, 0, component, "m")


def hide(findings: list[Finding], *comments: Ignore, skipped: tuple[int, ...] = (), settings: Settings = ANY) -> list:
    """What is left, and what the comments that hide nothing say."""
    results = [FileResult(PATH, None, ignores=comments, skipped_lines=skipped)]
    kept = hide_findings(findings, results, settings, report_unused=True)
    return [(each.line, each.message) if each.code == "OSR012" else each for each in kept]


def test_a_comment_hides_the_findings_of_its_line() -> None:
    other = finding(line=5, component="text_encoder")
    assert hide([finding(), finding("OSR003"), other], Ignore(1, ("OSR001", "OSR003"))) == [other]
    assert hide([finding(), finding("OSR004")], Ignore(1, ())) == [], "a bare comment hides every code"


def test_a_comment_that_hides_nothing_is_a_finding() -> None:
    comments = (Ignore(1, ("OSR001", "OSR004")), Ignore(7, ()), Ignore(8, ("OSR1",)), Ignore(9, ("OSR101",)))
    assert hide([finding()], *comments) == [
        (1, "`ignore[OSR004]` hides nothing on this line"),
        (7, "`ignore` hides nothing on this line"),
        (8, "`ignore[OSR1]`: there is no finding OSR1"),
    ]
    result = FileResult(PATH, None, ignores=comments[:2])
    remedies = [each.remedy for each in hide_findings([finding()], [result], ANY, report_unused=True)]
    assert remedies == ["take OSR004 out of the comment on line 1", "remove the comment on line 7"]


def test_comments_that_this_run_cannot_judge_are_left_alone() -> None:
    comments = (Ignore(1, ("OSR003",)), Ignore(4, ("OSR001",)))
    assert hide([], *comments, skipped=(4,), settings=Settings()) == []


@pytest.mark.parametrize("code", sorted(NEVER_IGNORED))
def test_a_file_that_cannot_be_read_or_proved_cannot_be_ignored(code: str) -> None:
    kept = hide([finding(code)], Ignore(1, (code,)), Ignore(1, ()))
    assert kept[:2] == [finding(code), (1, f"`ignore[{code}]`: {code} cannot be ignored")]


def test_settings_hide_codes_everywhere_or_in_matching_files() -> None:
    other = "/r/configs/vae/b.py"
    outside = "/elsewhere/configs/vae/b.py"
    findings = [finding("OSR010"), finding(), finding(path=other), finding("OSR004", path=other), finding(path=outside)]
    ignores = (("configs/vae/**", ("OSR001",)),)
    kept = hide(findings, settings=Settings(ignore=("OSR010",), per_file_ignores=ignores, path="/r/x.toml"))
    assert [(f.code, f.path) for f in kept] == [("OSR001", PATH), ("OSR004", other), ("OSR001", outside)]
