"""``verify``, ``lock`` and ``adopt`` as a user meets them: each mistake in a real cache has its code and remedy."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from weights import PIXART, T5, VAE_V1_2, VAE_V1_3, snapshot_of

from rewriter.cli import main

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
SARIF = Path(__file__).parent / "data" / "sarif-schema-2.1.0.json"
SAMPLE = "configs/opensora-v1-2/inference/sample.py"
REPOS = (T5, VAE_V1_2, PIXART)
RELEASES = {
    "v1.0": "configs/opensora/inference/16x256x256.py",
    "v1.1": "configs/opensora-v1-1/inference/sample.py",
    "v1.2": SAMPLE,
    "v1.3": "configs/opensora-v1-3/inference/t2v.py",
}
OTHER_COMMIT = "89abcdef0123456789abcdef0123456789abcdef"
Run = Callable[..., Result]
Checkout = Callable[[str], Path]

pytestmark = pytest.mark.torch


# --- a rewritten checkout and the cache that it names ------------------------------------------------


@dataclass(frozen=True)
class Place:
    """``root``: v1.2, rewritten to load from ``hub``, which is made anew for each test."""

    root: Path
    hub: Path


@pytest.fixture(scope="module")
def rewritten(tmp_path_factory: pytest.TempPathFactory) -> Place:
    base = tmp_path_factory.mktemp("verify")
    place = Place(base / "v1.2", base / "hub")
    place.hub.mkdir()
    shutil.copytree(FIXTURES / "v1.2", place.root)
    done = CliRunner().invoke(main, ["rewrite", str(place.root), "--cache-dir", str(place.hub), "--no-resolve"])
    assert done.exit_code == 0, done.output
    return place


@pytest.fixture
def place(rewritten: Place, hub_cache: Path) -> Iterator[Place]:
    remove(rewritten.hub)
    shutil.copytree(hub_cache, rewritten.hub, symlinks=True)
    yield rewritten
    remove(rewritten.hub)


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Told:
    """What ``verify`` said: errors and warnings as codes, the first remedy, and the repos that it found whole."""

    code: int
    errors: list[str]
    warnings: list[str]
    remedy: str
    ok: set[str]
    text: str


def told(done: Result) -> Told:
    assert done.exit_code in (0, 1), (done.output, done.exception)
    found = re.findall(r"^\S.*:\d+:\d+: (OSR\d+)( \(warning\))?.*\n((?:    .*\n)*)", done.stdout, re.MULTILINE)
    remedies = [re.search(r"-> (.*)", body) for _, mark, body in found if not mark]
    return Told(
        done.exit_code,
        [code for code, mark, _ in found if not mark],
        [code for code, mark, _ in found if mark],
        remedies[0][1] if remedies and remedies[0] else "",
        set(re.findall(r"ok: (\S+) at", done.stdout)),
        done.stdout,
    )


def tree(folder: Path) -> dict[str, tuple[str, int]]:
    """Every name below ``folder``: what it is or leads to, and when it was changed."""
    found = {}
    for path in [folder, *folder.rglob("*")]:
        info = path.lstat()
        content = os.readlink(path) if path.is_symlink() else "folder"
        if path.is_file() and not path.is_symlink():
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        found[str(path.relative_to(folder))] = content, info.st_mtime_ns
    return found


def repo(hub: Path, repo_id: str = T5) -> Path:
    return hub / ("models--" + repo_id.replace("/", "--"))


def file(hub: Path, name: str, repo_id: str = T5) -> Path:
    return snapshot_of(hub, repo_id) / name


SHARD = "pytorch_model-00002-of-00002.bin"
VAE_WEIGHTS = "model.safetensors"


@pytest.mark.parametrize("options", [(), ("--hash",)], ids=["plain", "hash"])
def test_an_intact_cache_is_whole_and_stays_untouched(place: Place, run: Run, options: tuple[str, ...]) -> None:
    before = tree(place.hub)
    found = told(run("verify", SAMPLE, *options, cwd=place.root))
    assert (found.code, found.errors, found.ok) == (0, [], set(REPOS))
    assert found.warnings == ["OSR117"]  # PixArt's VAE, which the loader's source alone names
    assert "everything asked for is there" in found.text
    assert ("hashed" in found.text) == bool(options)
    assert tree(place.hub) == before


# --- one mistake each ---------------------------------------------------------------------------


def is_file(hub: Path) -> None:
    remove(hub)
    hub.write_text("no cache")


def is_hf_home(hub: Path) -> None:
    hub.rename(hub.parent / "deeper")
    hub.mkdir()
    (hub.parent / "deeper").rename(hub / "hub")


def is_model_folder(hub: Path) -> None:
    inner = hub.parent / "inner"
    repo(hub).rename(inner)
    remove(hub)
    inner.rename(hub)


def is_flat(hub: Path) -> None:
    flat = hub.parent / "flat"
    shutil.copytree(snapshot_of(hub, T5), flat)
    remove(hub)
    flat.rename(hub)


@pytest.mark.parametrize(
    ("spoil", "code", "remedy"),
    [
        (remove, "OSR101", "mkdir -p {hub},"),
        (is_file, "OSR102", "name the directory"),
        (is_hf_home, "OSR104", "cache_dir='{hub}/hub'"),
        (is_model_folder, "OSR105", "cache_dir='{above}'"),
        (is_flat, "OSR106", "opensora-rewriter adopt {hub} --repo "),
    ],
    ids=["missing", "file", "hf-home", "model-folder", "flat"],
)
def test_a_directory_that_is_no_cache_is_told_once(
    place: Place, run: Run, spoil: Callable[[Path], None], code: str, remedy: str
) -> None:
    spoil(place.hub)
    for level in ("cache", "resolve", "load"):  # what is not there is not loaded either: no second finding for it
        found = told(run("verify", SAMPLE, "--level", level, cwd=place.root))
        assert (found.code, found.errors, found.ok) == (1, [code], set())
        assert remedy.format(hub=place.hub, above=place.hub.parent) in found.remedy


def absent(hub: Path) -> None:
    remove(repo(hub))


def hidden_absent(hub: Path) -> None:
    remove(repo(hub, PIXART))


def flat_inside(hub: Path) -> None:
    shutil.copytree(snapshot_of(hub, T5), hub / "t5-v1_1-xxl")
    remove(repo(hub))


def no_ref(hub: Path) -> None:
    (repo(hub) / "refs" / "main").unlink()


def newline(hub: Path) -> None:
    ref = repo(hub) / "refs" / "main"
    ref.write_text(ref.read_text() + "\n")


def other_commit(hub: Path) -> None:
    (repo(hub) / "refs" / "main").write_text(OTHER_COMMIT)


def links_dropped(hub: Path) -> None:
    for path in snapshot_of(hub, T5).rglob("*"):
        path.unlink()


def links_as_text(hub: Path) -> None:
    for path in list(snapshot_of(hub, T5).rglob("*")):
        target = os.readlink(path)
        path.unlink()
        path.write_text(target)


def broken_link(hub: Path) -> None:
    file(hub, SHARD).resolve().unlink()


def config_missing(hub: Path) -> None:
    file(hub, "config.json").unlink()


def shard_missing(hub: Path) -> None:
    file(hub, SHARD).unlink()


def flipped(hub: Path) -> None:
    blob = file(hub, SHARD).resolve()
    content = bytearray(blob.read_bytes())
    content[len(content) // 2] ^= 1
    blob.write_bytes(content)


def truncated(name: str, repo_id: str) -> Callable[[Path], None]:
    def spoil(hub: Path) -> None:
        blob = file(hub, name, repo_id).resolve()
        blob.write_bytes(blob.read_bytes()[:-100])

    return spoil


def pointer(hub: Path) -> None:
    size = file(hub, SHARD).stat().st_size
    text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize {size}\n"
    file(hub, SHARD).resolve().write_text(text)


def unfinished(hub: Path) -> None:
    blob = file(hub, SHARD).resolve()
    file(hub, SHARD).unlink()
    blob.rename(blob.with_name(blob.name + ".incomplete"))


MISTAKES: dict[str, tuple[Callable[[Path], None], str, str, str, tuple[str, ...]]] = {
    # name: what goes wrong, its code, the repo, a part of the remedy, options
    "repo-absent": (absent, "OSR107", T5, "hf download {repo} --cache-dir {hub}", ()),
    "hidden-repo-absent": (hidden_absent, "OSR107", PIXART, "hf download {repo} --cache-dir {hub}", ()),
    "flat-inside": (flat_inside, "OSR106", T5, "adopt {hub}/t5-v1_1-xxl --repo {repo} --cache-dir {hub}", ()),
    "no-ref": (no_ref, "OSR108", T5, "&& printf %s {commit} > {folder}/refs/main", ()),
    "ref-newline": (newline, "OSR109", T5, "printf %s {commit} > {folder}/refs/main", ()),
    "ref-elsewhere": (other_commit, "OSR110", T5, "hf download {repo} --cache-dir {hub}", ()),
    "links-dropped": (links_dropped, "OSR111", T5, "rsync -a ", ()),
    "links-as-text": (links_as_text, "OSR111", T5, "--force-download", ()),
    "broken-link": (broken_link, "OSR112", T5, "hf download {repo} --revision {commit}", ()),
    "file-missing": (config_missing, "OSR113", T5, "hf download {repo} config.json --revision {commit}", ()),
    "shard-missing": (shard_missing, "OSR113", T5, f"hf download {{repo}} {SHARD} --revision {{commit}}", ()),
    "altered": (
        flipped,
        "OSR114",
        T5,
        f"{SHARD} --revision {{commit}} --cache-dir {{hub}} --force-download",
        ("--hash",),
    ),
    "truncated-bin": (truncated(SHARD, T5), "OSR114", T5, "--force-download", ()),
    "truncated-safetensors": (truncated(VAE_WEIGHTS, VAE_V1_2), "OSR114", VAE_V1_2, "--force-download", ()),
    "lfs-pointer": (pointer, "OSR115", T5, f"hf download {{repo}} {SHARD} ", ()),
    "unfinished": (unfinished, "OSR116", T5, "hf download {repo} --cache-dir {hub}", ()),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_one_repo_has_its_code_and_the_others_are_whole(place: Place, run: Run, mistake: str) -> None:
    spoil, code, repo_id, remedy, options = MISTAKES[mistake]
    commit = snapshot_of(place.hub, repo_id).name
    spoil(place.hub)
    before = tree(place.hub)
    found = told(run("verify", SAMPLE, *options, cwd=place.root))
    assert (found.code, found.errors) == (1, [code]), found.text
    assert found.ok == set(REPOS) - {repo_id}
    told_remedy = remedy.format(repo=repo_id, hub=place.hub, commit=commit, folder=repo(place.hub, repo_id))
    assert told_remedy in found.remedy, found.remedy
    assert_can_be_pasted(found.remedy)
    assert tree(place.hub) == before


def assert_can_be_pasted(remedy: str) -> None:
    """A command that a remedy names is split by a shell as meant, and the command itself takes its options."""
    for start in re.finditer(r"(?:hf download|opensora-rewriter adopt) ", remedy):
        words = shlex.split(re.split(r", then | && ", remedy[start.start() :])[0])
        if words[0] == "hf":
            known = {"--revision", "--cache-dir", "--force-download"}
            assert known >= {word for word in words if word.startswith("--")}
            assert words[2] in REPOS
        else:
            from rewriter.cli.adopt import command

            command.make_context("adopt", words[2:], resilient_parsing=False)


@pytest.mark.parametrize("mistake", ["no-ref", "ref-newline"])
def test_the_remedy_of_a_ref_mends_it_when_pasted(place: Place, run: Run, mistake: str) -> None:
    MISTAKES[mistake][0](place.hub)
    found = told(run("verify", SAMPLE, cwd=place.root))
    subprocess.run(["sh", "-c", found.remedy], check=True)
    assert told(run("verify", SAMPLE, cwd=place.root)).errors == []


def test_two_broken_repos_are_both_told(place: Place, run: Run) -> None:
    no_ref(place.hub)
    hidden_absent(place.hub)
    found = told(run("verify", SAMPLE, cwd=place.root))
    assert sorted(found.errors) == ["OSR107", "OSR108"]
    assert found.ok == {VAE_V1_2}


# --- another user -------------------------------------------------------------------------------


@pytest.fixture
def as_nobody(place: Place, run: Run, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Call it to be another user than the cache's owner from then on (only root can)."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only root can become another user")
    # another user may not be able to start this interpreter or to read its modules: have them all by now
    run("verify", SAMPLE, "--hash", cwd=place.root)
    monkeypatch.setattr("rewriter.resolve.find_interpreter", lambda python: None)
    opened = {folder: folder.stat().st_mode & 0o777 for folder in place.hub.parents if folder != Path("/")}
    for folder in opened:
        if folder.stat().st_uid == 0 and "pytest" in str(folder):
            folder.chmod(0o755)

    yield lambda: os.seteuid(65534)
    os.seteuid(0)
    for folder, mode in opened.items():
        folder.chmod(mode)


def test_a_read_only_cache_of_another_user_is_verified(place: Place, run: Run, as_nobody: Callable[[], None]) -> None:
    for path in [place.hub, *place.hub.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o555 if path.is_dir() else 0o444)
    before = tree(place.hub)
    as_nobody()
    found = told(run("verify", SAMPLE, "--hash", cwd=place.root))
    assert (found.code, found.errors, found.ok) == (0, [], set(REPOS))
    assert tree(place.hub) == before


@pytest.mark.parametrize("what", ["cache", "repo", "blob"])
def test_what_this_user_may_not_read_is_told(place: Place, run: Run, as_nobody: Callable[[], None], what: str) -> None:
    closed = {"cache": place.hub, "repo": repo(place.hub), "blob": file(place.hub, SHARD).resolve()}[what]
    closed.chmod(0)
    as_nobody()
    found = told(run("verify", SAMPLE, cwd=place.root))
    assert (found.code, found.errors) == (1, ["OSR103"])
    assert found.ok == (set() if what == "cache" else set(REPOS) - {T5})
    assert "chmod -R a+rX" in found.remedy


# --- caches that the environment names -----------------------------------------------------------


@pytest.mark.parametrize(("variable", "below"), [("HF_HUB_CACHE", ""), ("HF_HOME", "hub")])
def test_without_cache_dir_the_environments_cache_is_verified_and_said_so(
    checkout: Checkout, run: Run, hub_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    variable: str, below: str,
) -> None:  # fmt: skip
    root = checkout("v1.2")
    if below:
        (tmp_path / "home").mkdir()
        hub_copy.rename(tmp_path / "home" / below)
    named = tmp_path / ("home" if below else "hub")
    monkeypatch.setenv(variable, str(named))
    found = told(run("verify", SAMPLE, cwd=root))
    assert (found.code, found.errors, found.ok) == (0, [], set(REPOS))
    assert f"no cache_dir reaches the loader: {named / below} (from {variable})" in found.text
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "nothing"))
    found = told(run("verify", SAMPLE, cwd=root))
    assert (found.code, found.errors) == (1, ["OSR101"])


# --- what the config says -----------------------------------------------------------------------


def test_a_cache_dir_that_its_loader_rejects_is_told(checkout: Checkout, run: Run, hub_cache: Path) -> None:
    root = checkout("v1.2")
    config = root / "configs" / "own.py"
    clip = f'dict(type="clip", from_pretrained="openai/clip-vit-base-patch32", cache_dir={str(hub_cache)!r})'
    config.write_text(f"text_encoder = {clip}\n")
    found = told(run("verify", config, cwd=root))
    assert (found.code, found.errors) == (1, ["OSR004"])
    assert found.ok == {"openai/clip-vit-base-patch32"}
    assert run(*shlex.split(found.remedy)[1:], cwd=root).exit_code == 0
    assert told(run("verify", config, cwd=root)).errors == []


def test_a_cache_dir_that_only_running_tells_is_not_passed_over(checkout: Checkout, run: Run) -> None:
    root = checkout("v1.2")
    config = root / "configs" / "own.py"
    config.write_text(
        'import os\nvae = dict(type="VideoAutoencoderKL", from_pretrained="stabilityai/sd-vae-ft-ema",\n'
        '           cache_dir=os.environ.get("MODELS", "/models"))\n'
    )
    found = told(run("verify", config, cwd=root))
    assert (found.code, found.errors) == (1, ["OSR007"])
    assert "`os.environ.get(" in found.text


def test_a_path_of_someone_elses_machine_is_cured_by_the_repo_id(checkout: Checkout, run: Run, hub_cache: Path) -> None:
    root = checkout("v1.3")
    config = root / "configs" / "opensora-v1-3" / "inference" / "t2v.py"
    run("rewrite", config, "--cache-dir", hub_cache, "--no-resolve", cwd=root)
    for _ in range(2):  # its vae, then its text_encoder
        found = told(run("verify", config, cwd=root))
        assert set(found.errors) == {"OSR006"}
        run(*shlex.split(found.remedy.replace("DIR", str(hub_cache)))[1:], "--no-resolve", cwd=root)
    assert told(run("verify", config, cwd=root)).errors == []


def test_relative_cache_dirs_are_told_at_both_first_levels(checkout: Checkout, run: Run) -> None:
    root = checkout("v1.2")
    config = root / "configs" / "own.py"
    config.write_text('vae = dict(type="VideoAutoencoderKL", from_pretrained="org/name", cache_dir="models/hub")\n')
    for level in ("resolve", "cache"):
        assert told(run("verify", config, "--level", level, cwd=root)).errors == ["OSR002"]


def test_each_component_is_looked_for_in_its_own_directory(
    checkout: Checkout, run: Run, hub_copy: Path, tmp_path: Path
) -> None:
    root = checkout("v1.2")
    texts = tmp_path / "tèxt encoders' “hub”"
    texts.mkdir()
    repo(hub_copy).rename(repo(texts))
    options = ("--cache-dir", f"text_encoder={texts}", "--cache-dir", f"vae={hub_copy}", "--no-resolve")
    assert run("rewrite", SAMPLE, *options, cwd=root).exit_code == 0
    found = told(run("verify", SAMPLE, cwd=root))
    assert (found.errors, found.ok) == ([], set(REPOS))
    (repo(texts) / "refs" / "main").unlink()
    found = told(run("verify", SAMPLE, cwd=root))
    assert found.errors == ["OSR108"]
    subprocess.run(["sh", "-c", found.remedy], check=True)
    assert told(run("verify", SAMPLE, cwd=root)).errors == []


# --- formats ------------------------------------------------------------------------------------


def test_findings_come_in_every_format(place: Place, run: Run) -> None:
    import jsonschema

    no_ref(place.hub)
    done = run("verify", SAMPLE, "--output-format", "json", cwd=place.root)
    report = json.loads(done.stdout)
    jsonschema.validate(report, json.loads(run("schema").stdout))
    assert done.exit_code == report["exit_code"] == 1
    assert "OSR108" in {finding["code"] for finding in report["findings"]}
    done = run("verify", SAMPLE, "--output-format", "sarif", cwd=place.root)
    log = json.loads(done.stdout)
    jsonschema.validate(log, json.loads(SARIF.read_text()))
    assert "OSR108" in {result["ruleId"] for result in log["runs"][0]["results"]}
    lines = run("verify", SAMPLE, "--output-format", "github", cwd=place.root).stdout.splitlines()
    assert any(line.startswith(f"::error file={SAMPLE},") and "OSR108" in line for line in lines), lines
    quiet = run("verify", SAMPLE, "-q", cwd=place.root)
    assert quiet.exit_code == 1
    assert "ok:" not in quiet.stdout
    assert "OSR108" in quiet.stdout


@pytest.mark.parametrize("python", ["/nonexistent/python", "."])
def test_a_python_that_is_none_is_wrong_usage(place: Place, run: Run, python: str) -> None:
    done = run("verify", SAMPLE, "--python", python, cwd=place.root)
    assert done.exit_code == 2
    assert "no such program" in done.stderr
    assert done.stdout == ""


# --- lock ---------------------------------------------------------------------------------------


def test_a_lock_says_what_changed_since(place: Place, run: Run, tmp_path: Path) -> None:
    lock = tmp_path / "opensora-models.lock"
    assert run("lock", SAMPLE, "--output-file", lock, cwd=place.root).exit_code == 0
    again = run("lock", SAMPLE, "--output-file", lock, cwd=place.root)
    assert "unchanged" in again.stdout
    verify = ("verify", SAMPLE, "--lock", lock)
    assert told(run(*verify, "--hash", cwd=place.root)).errors == []
    blob = file(place.hub, "config.json").resolve()
    blob.rename(blob.with_name("0" * 40))
    file(place.hub, "config.json").unlink()
    file(place.hub, "config.json").symlink_to("../../blobs/" + "0" * 40)
    assert told(run(*verify, cwd=place.root)).errors == ["OSR124"]
    snapshot_of(place.hub, VAE_V1_2).rename(snapshot_of(place.hub, VAE_V1_2).with_name(OTHER_COMMIT))
    (repo(place.hub, VAE_V1_2) / "refs" / "main").write_text(OTHER_COMMIT)
    assert sorted(told(run(*verify, cwd=place.root)).errors) == ["OSR121", "OSR124"]


def test_a_lock_of_a_broken_cache_is_not_written(place: Place, run: Run, tmp_path: Path) -> None:
    shard_missing(place.hub)
    done = run("lock", SAMPLE, "--output-file", tmp_path / "models.lock", cwd=place.root)
    assert done.exit_code == 2
    assert "OSR113" in done.stderr
    assert "no lock was written" in done.stderr
    assert not (tmp_path / "models.lock").exists()


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [('commit = "', 'commit = "x', 5), ("version = 1", "version = 2", 1), ("size = ", "size = -", 7), ("[[", "[", 0)],
)
def test_a_lock_edited_by_hand_names_file_and_line(
    place: Place, run: Run, tmp_path: Path, old: str, new: str, line: int
) -> None:
    lock = tmp_path / "models.lock"
    lock.write_text(
        f'version = 1\n[[repo]]\nid = "{T5}"\nrevision = "main"\ncommit = "{OTHER_COMMIT}"\n'
        '[[repo.file]]\npath = "a"\nsize = 1\n'.replace(old, new)
    )
    done = run("verify", SAMPLE, "--lock", lock, cwd=place.root)
    assert done.exit_code == 2
    assert f"{lock}:" in done.stderr
    assert "opensora-rewriter lock writes a new one" in done.stderr
    if line > 1:
        assert re.search(rf"{re.escape(str(lock))}:\d+", done.stderr)


# --- adopt, and the two levels that load -----------------------------------------------------------


def test_adopt_brings_a_flat_download_into_the_cache_and_changes_nothing_twice(
    place: Place, run: Run, tmp_path: Path
) -> None:
    flat = tmp_path / "t5-v1_1-xxl"
    shutil.copytree(snapshot_of(place.hub, T5), flat)
    remove(repo(place.hub))
    shutil.copytree(flat, place.hub / "t5-v1_1-xxl")
    found = told(run("verify", SAMPLE, cwd=place.root))
    assert found.errors == ["OSR106"]
    done = run(*shlex.split(found.remedy)[1:], cwd=place.root)  # as pasted
    assert done.exit_code == 0, done.output
    assert "synthetic" in done.stdout
    found = told(run("verify", SAMPLE, "--hash", cwd=place.root))
    assert (found.errors, found.ok) == ([], set(REPOS))
    before = tree(place.hub)
    again = run("adopt", flat, "--repo", T5, "--cache-dir", place.hub)
    assert (again.exit_code, "is there already" in again.stdout) == (0, True)
    assert tree(place.hub) == before


def test_an_adoption_that_is_killed_leaves_nothing_that_a_loader_would_take(tmp_path: Path, run: Run) -> None:
    flat, hub = tmp_path / "big", tmp_path / "hub"
    flat.mkdir()
    (flat / "config.json").write_text("{}")
    with (flat / "model.safetensors").open("wb") as stream:
        stream.truncate(1 << 34)  # sparse: hashing it takes long enough to be cut off
    command = [sys.executable, "-m", "rewriter", "adopt", str(flat), "--repo", "org/big", "--cache-dir", str(hub)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(1.5)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 2  # 1 would say that something was found
    assert err.split() == ["error:", "interrupted"]
    assert not hub.exists() or not list(hub.rglob("*"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, hub_cache: Path) -> Told:
    """``verify --level build`` of all four releases at once, the first from a cache that ``adopt`` made."""
    base = tmp_path_factory.mktemp("levels")
    runner = CliRunner()
    adopted = base / "adopted"
    shutil.copytree(hub_cache, adopted, symlinks=True)
    shutil.copytree(snapshot_of(adopted, T5), base / "flat")
    remove(repo(adopted))
    done = runner.invoke(main, ["adopt", str(base / "flat"), "--repo", T5, "--cache-dir", str(adopted)])
    assert done.exit_code == 0, done.output
    for tag, config in RELEASES.items():
        shutil.copytree(FIXTURES / tag, base / tag)
        hub = adopted if tag == "v1.0" else hub_cache
        sets = ("--set", f"vae.from_pretrained={VAE_V1_3}", "--set", f"text_encoder.from_pretrained={T5}")
        options = ("--cache-dir", str(hub), "--no-resolve", *(sets if tag == "v1.3" else ()))
        done = runner.invoke(main, ["rewrite", str(base / tag / config), *options])
        assert done.exit_code == 0, done.output
    before = tree(hub_cache)
    result = runner.invoke(
        main, ["verify", *(str(base / tag / config) for tag, config in RELEASES.items()), "--level", "build"]
    )
    assert tree(hub_cache) == before
    return told(result)


def test_every_release_loads_and_builds_what_its_configs_ask_for(built: Told) -> None:
    assert (built.code, built.errors) == (0, [])
    assert "load     failed" not in built.text
    assert len(re.findall(r"^load     ok", built.text, re.MULTILINE)) >= 8
    for tag in RELEASES:
        for component in ("text_encoder", "vae"):
            assert re.search(rf"^build    \S*/{tag}/configs/\S+ {component}: built", built.text, re.MULTILINE)


def test_transformers_builds_from_an_adopted_cache(built: Told) -> None:
    assert re.search(r"^cache    ok: DeepFloyd/\S+ at \w+ in \S*/adopted:", built.text, re.MULTILINE)
    assert re.search(r"^build    \S*/v1.0/configs/opensora/\S+ text_encoder: built", built.text, re.MULTILINE)
