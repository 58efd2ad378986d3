"""Remedies cure: what a finding prints is run (or, where it is prose, done), and the same command finds nothing new.

``git`` and the environment's ``python -m pip`` are stand-ins; ``hf`` and ``download`` fetch from a small Hub.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from answering import WELL, interpreter, script
from caches import COMMIT, OTHER, SHARDS, T5, VAE, make_repo, safetensors, t5_files, vae_files
from cli_support import REPOSITORY, Run
from conftest import FIXTURES, Become
from deciding import write_checkout
from hub import Hub, Repo, serve
from loading import write_files

from rewriter.words import is_command

pytest.importorskip("huggingface_hub")

KL, MINE = "stabilityai/sd-vae-ft-ema", "acme/my-vae"
WEIGHTS = "diffusion_pytorch_model.safetensors"
KL_FILES = {"config.json": b"{}", WEIGHTS: safetensors()}
OPENSORA = [f"hpcai-tech/OpenSora-{name}" for name in ("VAE-v1.2", "VAE-v1.3", "STDiT-v3", "STDiT-v4")]
REPOS = {T5: t5_files(), VAE: vae_files(), **dict.fromkeys([KL, MINE, *OPENSORA], KL_FILES)}
UNREAD = "model_that_no_loader_reads.bin"
CONFIG, WHERE, LOCK = "configs/own.py", "opensora/loaders.py", "opensora-models.lock"

HUB = "from_pretrained=None, cache_dir=None"
BARE = "return AutoencoderKL.from_pretrained(from_pretrained)"
LOAD = BARE.replace("d)", "d, cache_dir=cache_dir)")
LOADERS = {
    "kl": (f"{HUB}, local_files_only=False", LOAD.replace("r)", "r, local_files_only=local_files_only)")),
    "t5": (HUB, f"AutoTokenizer{LOAD[20:]}\n    return T5EncoderModel{LOAD[20:]}"),
    "two": (f"{HUB}, second=None", f"AutoModel.from_pretrained(second, cache_dir=cache_dir)\n    {LOAD}"),
    "rejects": ("from_pretrained=None", BARE),
    "drops": (HUB, BARE),
    "pixart": ("cache_dir=None", LOAD.replace("(from_pretrained", f"('{VAE}', subfolder='vae'")),
    "lost": ("cache_dir=None", LOAD.replace("(from_pretrained", "('/x/sd-vae-ft-ema'")),
    "only": (f"{HUB}, wide=False", f"assert not wide\n    assert from_pretrained in ['{KL}']\n    {LOAD}"),
    "flag": (f"{HUB}, force_huggingface=False", f"""if force_huggingface or os.path.exists(from_pretrained):
        {LOAD}
    load_checkpoint(None, from_pretrained)"""),
    "spread": (HUB, BARE.replace("d)", "d, **options())")),
    "hidden": (HUB, "return getattr(nn, from_pretrained)"),
    "partly": (HUB, f"getattr(nn, from_pretrained)\n    {LOAD}"),
    "closed": ("from_pretrained=None", BARE.replace("d)", "d, cache_dir='/srv')")),
    "plain": ("from_pretrained=None", "return from_pretrained"),
    "idle": ("cache_dir=None", "return nn.Linear(1, 1)"),
    "needs": (f"width, {HUB}", LOAD),
}  # fmt: skip
"""Type -> the parameters and the body of its loader."""
CHECKPOINT = """
from transformers import T5EncoderModel

def load_checkpoint(model, path):  # as v1.2's, which takes no repo id
    if path.endswith(".pt"):
        return torch.load(path)
    elif not os.path.isdir(path):
        raise ValueError(f"Invalid checkpoint path: {path}")
"""
MADE = CHECKPOINT + "".join(
    f'\n@MODELS.register_module("{name}")\ndef {name}({parameters}):\n    {body}\n'
    for name, (parameters, body) in LOADERS.items()
)
NAMES = {"kl": KL, "t5": T5, "commit": COMMIT, "weights": WEIGHTS, "lock": f"opensora-rewriter lock {CONFIG}",
         "repo": "{hub}/models--stabilityai--sd-vae-ft-ema", "snapshot": "{repo}/snapshots/{commit}",
         "text": "{hub}/models--DeepFloyd--t5-v1_1-xxl/snapshots/{commit}",
         "rewrite": f"opensora-rewriter rewrite {CONFIG}", "cure": "{rewrite} --cache-dir {hub}",
         "ref": "mkdir -p {repo}/refs && printf %s {commit} >",
         "adopt": "opensora-rewriter adopt {flat} --repo {kl} --cache-dir {hub}"}  # fmt: skip
"""What stands in braces in the commands, configs and remedies below; beside them ``{root}``, ``{hub}``..."""


@dataclass
class Scene:
    """A small checkout, a cache that holds all of REPOS, and the Hub."""

    folder: Path
    server: Hub
    run: Run
    as_nobody: Become
    environment: dict[str, str] = field(default_factory=dict)
    user: Become = nullcontext

    def __post_init__(self) -> None:
        self.root, self.hub, self.flat = self.folder / "checkout", self.folder / "hub", self.folder / "flat"

    def fill(self, text: str) -> str:
        """The text with the names in braces replaced."""
        known = NAMES | {name: str(getattr(self, name)) for name in ("root", "hub", "flat", "folder")}
        while (new := re.sub(r"\{(\w+)\}", lambda found: known.get(found[1], found[0]), text)) != text:
            text = new
        return text

    def write(self, text: str, name: str = CONFIG) -> None:
        write_files(self.root, {name: self.fill(text)})

    def act(self, act: Do) -> None:
        """Do what a person does, or make the fault."""
        if isinstance(act, str):
            done = self.shell(self.fill(act))
            assert done.returncode == 0, done
        elif isinstance(act, tuple):
            for each in act:
                self.act(each)
        else:
            act(self)

    def shell(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run it under bash in the checkout; what it exports holds for later commands."""
        kept = self.folder / "environment"
        words = ["bash", "-c", f"set -e; {command}\nenv -0 > {kept}"]
        environment = {**os.environ, **self.environment, "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}"}
        kept.unlink(missing_ok=True)
        done = subprocess.run(words, cwd=self.root, env=environment, capture_output=True, text=True, check=False)
        if kept.exists():
            new = dict(line.split("=", 1) for line in kept.read_text().split("\0") if "=" in line)
            self.environment |= {name: new[name] for name in new if name.startswith("HF_")}
        return done

    def find(self, command: str) -> tuple[int, list[dict[str, Any]]]:
        """The exit code of a command of this program and its findings."""
        command = self.fill(command)
        if command.startswith(("lock", "trace")):
            done = self.shell(f"opensora-rewriter {command}")
            return done.returncode, read_findings(done.stderr)
        if command.startswith("download"):
            done = self.shell(f"opensora-rewriter {command} --output-format json")
            return done.returncode, json.loads(done.stdout)["findings"]
        with self.user(), pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            made = self.run(*command.split(), "--output-format", "json", cwd=self.root)
        assert made.exit_code < 2, made.output
        return made.exit_code, json.loads(made.stdout)["findings"]


def read_findings(output: str) -> list[dict[str, Any]]:
    """The findings of the full text."""
    found: list[dict[str, Any]] = []
    for line in output.splitlines():
        head = re.fullmatch(r"(\S+?):\d+:\d+: (OSR\d+)(?: \(warning\))? ?(.*)", line)
        if head:
            found.append({"path": head[1], "code": head[2], "component": head[3], "remedy": ""})
        elif found and line.startswith("    "):
            found[-1]["remedy"] = line.strip().removeprefix("-> ")
    return found


# --- what a person does, and how a fault is made ---------------------------------------------------

Do = str | tuple[Any, ...] | Callable[[Scene], object]
"""A command, several steps, or a function."""


def tail(scene: Scene) -> None:
    """The command that ends the prose is run."""


def edit(old: str, new: str, name: str = CONFIG) -> Do:
    """In an editor."""

    def act(scene: Scene) -> None:
        text = (scene.root / name).read_text()
        assert scene.fill(old) in text
        (scene.root / name).write_text(text.replace(scene.fill(old), scene.fill(new)))

    return act


def put(path: str, content: bytes | str) -> Do:
    """Write a file, in the place of a link where there is one."""

    def act(scene: Scene) -> None:
        place = Path(scene.fill(path))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        place.write_bytes(content if isinstance(content, bytes) else content.encode())

    return act


def lay(path: str) -> Do:
    """Put a flat download of KL there."""
    return tuple(put(f"{path}/{name}", content) for name, content in KL_FILES.items())


def more(repo_id: str, files: dict[str, bytes], commit: str = COMMIT) -> Do:
    return lambda scene: make_repo(scene.hub, repo_id, files, commit)


def install(scene: Scene) -> None:
    """``pip install .`` into the environment that VIRTUAL_ENV names, and a change of the checkout after it."""
    site = scene.folder / "env/lib/python3.11/site-packages"
    shutil.copytree(scene.root / "opensora", site / "opensora")
    scene.environment["VIRTUAL_ENV"] = str(scene.folder / "env")
    script(scene.folder / "env/bin/python", f'#!/bin/sh\n[ "$*" = "-m pip install -e {scene.root}" ] || exit 9\n'
           f"rm -r {site}/opensora; echo {scene.root} > {site}/__editable__.pth\n")  # fmt: skip
    edit("import os", "import os, sys", WHERE)(scene)


def fails(message: str, until: str, repo: str = "", kind: str = "", cache: str = "", stage: str = "weights") -> Do:
    """An interpreter that answers with an error ``until`` this holds; its ``-m pip`` makes ``{folder}/fixed``.

    ``kind``: of a problem of level load; else the error is one of level build. Without a message the process ends.
    """
    error = {"chain": [{"type": "E", "bases": ["E"], "message": message}], "text": "", "where": "", "repo": repo}
    error["stage"] = stage
    failed = {**WELL, "problems": [error | {"kind": kind, "message": message}]}
    if kind == "deferred":
        failed = WELL | {"deferred": "its loader makes it"}
    if not kind:
        failed = {**error, "status": "failed", "cache_dir": cache, "loader": "kl", "seconds": 0.1}
        until = f"'config' not in task or {until}"  # tasks of level load, which comes before

    def act(scene: Scene) -> None:
        wrong = scene.fill(repr(failed)) if message else "os._exit(3)"
        answer = f"send(**({WELL!r} if {scene.fill(until)} else {wrong}))"
        python = interpreter(scene.folder / "real", answer)
        text = f'#!/bin/sh\ncase "$*" in "-m pip "*) touch {scene.folder}/fixed;; *) exec {python} "$@";; esac\n'
        script(scene.folder / "python", text)

    return act


def as_another_user(scene: Scene) -> None:
    """Who may not read the repo, from now on."""
    scene.find(VERIFY)
    scene.act("chmod 700 {repo}" if os.getuid() == 0 else "chmod 000 {repo}")
    scene.user = scene.as_nobody


def vae(kind: str = "kl", cache: str | None = "{hub}", **more: object) -> str:
    values = {"type": kind, "from_pretrained": KL, "cache_dir": cache, **more}
    return f"vae = dict({', '.join(f'{key}={value!r}' for key, value in values.items() if value is not None)})\n"


def computed(old: str) -> str:
    return "import os\n" + vae().replace(repr(old), 'os.environ.get("K")')


known = {old: edit('os.environ.get("K")', f"'{old}'") for old in (KL, "kl")}

# --- the templates ---------------------------------------------------------------------------------


class Case(NamedTuple):
    """One template of a remedy.

    ``remedy``: where the printed text starts. ``do``: what a person does, where it is prose. ``first``: how the fault
    is made, beside ``config``. ``again``: the command afterwards. ``tag``: the release, in place of the small checkout.
    """

    code: str
    command: str
    config: str
    remedy: str
    do: Do | None = None
    first: Do = "true"
    again: str = ""
    tag: str = ""


CHECK, REWRITE, VERIFY = f"check {CONFIG}", f"rewrite {CONFIG} --cache-dir {{hub}}", f"verify {CONFIG}"
CHECKED, BY_LOCK = f"{CHECK} --cache-dir {{hub}}", f"{VERIFY} --lock {LOCK}"
ALL = f"verify . --all-configs --lock {LOCK}"
BUILD, LEVEL_LOAD = (f"{VERIFY} --level {level} --python {{folder}}/python" for level in ("build", "load"))
FIXED, WHOLE = "os.path.exists('{folder}/fixed')", "os.path.exists('{snapshot}/{weights}')"
THERE = "'{kl}' in open(task['config']).read()"
T2V = "configs/opensora-v1-3/inference/t2v.py"
SCRIPT = f'from diffusers import A\nA.from_pretrained("{KL}")\n'
BASE = '_base_ = "./base.py"\n'
SET = "{cure} --set vae.from_pretrained="
CONFIGS = [
    Case("OSR001", CHECKED, vae(cache=None), "{cure}"),
    Case("OSR001", CHECK, vae(cache=None), "{rewrite} --cache-dir DIR"),
    Case("OSR002", CHECKED, vae(cache="./hub"), "{cure}"),
    Case("OSR003", CHECKED, vae(cache="/old/hub"), "{cure}"),
    Case("OSR004", CHECKED, vae("rejects", None), "{cure}"),
    Case("OSR004", f"{REWRITE} --no-source", vae("rejects", None), "let rewrite edit the loader, from files: {cure}",
         lambda scene: scene.find(REWRITE)),
    Case("OSR004", REWRITE, vae("closed", None), "edit the loader by hand",
         (edit("closed(from_pretrained", "closed(cache_dir=None, from_pretrained", WHERE),
          edit("'/srv'", "cache_dir", WHERE))),
    Case("OSR004", REWRITE, vae(cache=None), "write the dict of the other config with `_delete_=True`",
         edit("dict(", "dict(_delete_=True, ", "configs/b.py"),
         lambda scene: scene.write('_base_ = "./own.py"\nvae = dict(type="plain")\n', "configs/b.py")),
    Case("OSR004", f"{REWRITE} --unset vae.width", vae("needs", width=1), "leave out --unset", "true", again=REWRITE),
    Case("OSR004", f"{REWRITE} --set vae.foo=1", vae(), "leave out --set vae.foo", "true", again=REWRITE),
    Case("OSR004", CHECK, vae(foo=1), "the loader has no parameter", edit("foo=1", "local_files_only=True")),
    Case("OSR004", CHECK, vae("only", wide=True), "correct the keywords", edit("wide=True", "wide=False")),
    Case("OSR005", CHECKED, vae("drops"), "{cure}"),
    Case("OSR006", REWRITE, vae(from_pretrained=f"/x/{KL}"), SET + KL),
    Case("OSR006", f"{REWRITE} --local-files-only", vae(from_pretrained=f"/x/{KL}"), "{cure} --local-files-only --set"),
    Case("OSR006", REWRITE, vae(from_pretrained="/x/my-vae"), SET + MINE),
    Case("OSR006", REWRITE, vae("OpenSoraVAE_V1_2", None, from_pretrained="pretrained_models/vae"), SET + OPENSORA[0],
         tag="v1.2"),
    Case("OSR006", REWRITE, vae(from_pretrained="/data/new"), SET + "ORG/new"),
    Case("OSR006", REWRITE, vae("two", from_pretrained="/x/sd-vae-ft-ema", second="/x/my-vae"), "{cure} --set vae."),
    Case("OSR006", REWRITE, vae("lost", from_pretrained=None), "the loader's source names it (opensora/loaders.py:",
         edit("/x/sd-vae-ft-ema", KL, WHERE)),
    Case("OSR006", REWRITE, vae("only", from_pretrained="/x/sd-vae"), SET + KL),
    Case("OSR006", REWRITE, vae("flag"), "{cure} --set vae.force_huggingface=True"),
    Case("OSR006", REWRITE, vae("flag", from_pretrained="/x/sd-vae-ft-ema"),
         f"{SET}{KL} --set vae.force_huggingface=True"),
    Case("OSR006", f"rewrite {T2V} --cache-dir {{hub}} --all-components", "",
         f"opensora-rewriter rewrite {T2V} --cache-dir {{hub}}", tag="v1.3"),
    Case("OSR006", CHECK, vae(cache="{folder}/new"), "create it", "mkdir {folder}/new"),
    Case("OSR006", REWRITE, 'text_encoder = dict(type="t5", from_pretrained="acme/t5")\n', "write from_pretrained=",
         edit("acme/t5", T5), tag="v1.0"),
    Case("OSR007", CHECKED, 'more = {}\nvae = dict(type="kl", **more)\n', "write `vae` as one dict",
         edit(", **more", f', from_pretrained="{KL}", cache_dir="{{hub}}"')),
    Case("OSR007", CHECKED, computed("kl"), "write the type as a string", known["kl"]),
    Case("OSR007", CHECKED, f'vae = dict(from_pretrained="{KL}")\n', "look at the script",
         edit("dict(", 'dict(type="kl", cache_dir="{hub}", ')),
    Case("OSR007", f"{REWRITE} --unset vae.local_files_only", BASE + vae(), "remove it in its base",
         edit("local_files_only=True", "", "configs/base.py"),
         lambda scene: scene.write("vae = dict(local_files_only=True)\n", "configs/base.py")),
    Case("OSR007", CHECKED, vae("other"), "name the package", "true",
         lambda scene: write_checkout(scene.folder / "other", MADE.replace('("kl")', '("other")')),
         again=f"{CHECKED} --opensora-source {{folder}}/other"),
    Case("OSR007", CHECKED, vae("hidden"), "look at its loader; to leave `vae` out", "true",
         again=f"{CHECKED} --component text_encoder"),
    Case("OSR007", CHECKED, vae("partly"), "look at its loader, and try",
         edit("    getattr(nn, from_pretrained)\n", "", WHERE)),
    Case("OSR007", CHECKED, computed("{hub}"), "{cure}"),
    Case("OSR007", REWRITE, BASE, "opensora-rewriter rewrite configs/base.py --cache-dir {hub}",
         first=lambda scene: scene.write(vae(cache=None), "configs/base.py")),
    Case("OSR007", REWRITE, BASE.replace('"./base.py"', 'str("./base.py")'), "write `_base_` as a plain path",
         edit('str("./base.py")', '"./base.py"'), lambda scene: scene.write(vae(), "configs/base.py")),
    Case("OSR007", CHECKED, vae("spread"), "write cache_dir there", edit("**options()", "cache_dir=cache_dir", WHERE)),
    Case("OSR007", CHECKED, computed(KL), "write a repo id (ORG/NAME)", known[KL]),
    Case("OSR007", CHECKED, vae(from_pretrained="my vae???"), "write a repo id (ORG/NAME)", edit("my vae???", KL)),
    Case("OSR008", REWRITE, vae(cache=None) + 'vae["cache_dir"] = "/old"\n', "change or remove line 2",
         edit('vae["cache_dir"] = "/old"\n', "")),
    Case("OSR009", CHECKED, vae("idle", from_pretrained=None), "{cure}"),
    Case("OSR010", CHECKED, vae() + vae(cache=None).replace("vae", "model", 1), "{cure} --component model"),
    Case("OSR011", f"{CHECKED} --local-files-only", vae(), "{rewrite} --local-files-only"),
    Case("OSR012", CHECK, vae().strip() + "  # opensora-rewriter: ignore\n", "remove the comment on line 1",
         edit("  # opensora-rewriter: ignore", "")),
    Case("OSR012", CHECK, vae(cache=None).strip() + "  # opensora-rewriter: ignore[OSR001, OSR002]\n",
         "take OSR002 out of", edit(", OSR002]", "]")),
    Case("OSR013", "check --scripts .", vae(), "opensora-rewriter rewrite --scripts demo.py --cache-dir DIR",
         first=lambda scene: scene.write(SCRIPT, "demo.py")),
    Case("OSR013", "check --scripts .", vae(), "edit it by hand", edit('")', '", cache_dir="/hub")', "demo.py"),
         lambda scene: scene.write(SCRIPT.replace("A\n", "A\nclass A(A): ...\n"), "demo.py")),
    Case("OSR014", CHECKED, vae(), "{folder}/env/bin/python -m pip install -e {root}", first=install),
    Case("OSR900", CHECK, vae() + "x = (\n", "correct", edit("x = (\n", "")),
    Case("OSR900", "check --scripts .", vae(), "correct it", edit("(", "1", "demo.py"),
         lambda scene: scene.write("x = (\n", "demo.py")),
]  # fmt: skip
TEXT = f'text_encoder = dict(type="t5", from_pretrained="{T5}", cache_dir="{{hub}}")\n'
LOCKED = "{lock}"
SHARD_FILE = f"{{text}}/{SHARDS[0]}"
GONE = f"rm {SHARD_FILE}"
ADOPTED = ("rm -r {repo}", lay("{flat}"), "{adopt}")
SHARD = f"hf download {T5} {SHARDS[0]} --revision {{commit}} --cache-dir {{hub}}"
AGAIN = f"hf download {KL} config.json --revision {{commit}} --cache-dir {{hub}}"
NEWER = "opensora-rewriter lock . --all-configs"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
CACHES = [
    Case("OSR002", VERIFY, vae(cache="./hub"), "write '{root}/hub' if", edit("./hub", "{root}/hub"),
         "ln -s {hub} {root}/hub"),
    Case("OSR101", VERIFY, vae(cache="{folder}/new"), "mkdir -p {folder}/new, then download",
         f"opensora-rewriter download {CONFIG}"),
    Case("OSR102", VERIFY, vae(cache="{folder}/a"), "name the directory of", edit("{folder}/a", "{hub}"),
         "touch {folder}/a"),
    Case("OSR104", VERIFY, vae(cache=None), "export HF_HUB_CACHE={hub}",
         first=lambda scene: scene.environment.update(HF_HUB_CACHE=str(scene.folder))),
    Case("OSR104", VERIFY, vae(cache="{folder}/e/hub"), "cache_dir='{folder}/e'", edit("/e/hub", "/e"),
         ("mv {hub} {folder}/e", "mkdir {folder}/e/hub")),
    Case("OSR105", VERIFY, vae(cache="{repo}/snapshots"), "cache_dir='{hub}'", edit("{repo}/snapshots", "{hub}")),
    Case("OSR106", VERIFY, vae(cache="{flat}"),
         "opensora-rewriter adopt {flat} --repo {kl} --cache-dir {folder}, then cache_dir='{folder}'",
         ("{adopt}/..", edit("{flat}", "{folder}")), lay("{flat}")),
    Case("OSR106", VERIFY, vae(), "opensora-rewriter adopt {hub}/sd-vae-ft-ema --repo {kl}",
         first=("rm -r {repo}", lay("{hub}/sd-vae-ft-ema"))),
    Case("OSR107", VERIFY, vae(from_pretrained="my vae???"), "give ORG/NAME", edit("my vae???", KL)),
    Case("OSR107", VERIFY, vae(), "mv {folder}/models--stabilityai--sd-vae-ft-ema {hub}", first="mv {repo} {folder}"),
    Case("OSR107", VERIFY, vae(from_pretrained="hpcaitech/OpenSora-VAE-v1.2"),
         "{rewrite} --set vae.from_pretrained=" + OPENSORA[0]),
    Case("OSR107", VERIFY, TEXT, f"opensora-rewriter download {CONFIG} --component text_encoder",
         first="rm -r {hub}/models--DeepFloyd--t5-v1_1-xxl"),
    Case("OSR107", VERIFY, vae("pixart", from_pretrained=None),
         f"hf download {VAE} --include 'vae/*' --cache-dir {{hub}}",
         first="rm -r {hub}/models--PixArt-alpha--pixart_sigma_sdxlvae_T5_diffusers"),
    Case("OSR108", VERIFY, vae(), "{ref}", first="rm {repo}/refs/main"),
    Case("OSR108", VERIFY, vae(), "opensora-rewriter download",
         first=("rm {repo}/refs/main", "rm {snapshot}/{weights}")),
    Case("OSR109", VERIFY, vae(), "{ref}", first=put("{repo}/refs/main", COMMIT + "\n")),
    Case("OSR110", VERIFY, vae(), "{ref}", first=put("{repo}/refs/main", OTHER)),
    Case("OSR110", VERIFY, vae(), "opensora-rewriter download",
         first=("rm -r {repo}", more(KL, {UNREAD: b""}, "a" * 40), put("{repo}/refs/main", OTHER))),
    Case("OSR111", VERIFY, vae(), "copy it again with its links", tail,
         ("rm {snapshot}/{weights}", "rm {snapshot}/config.json")),
    Case("OSR111", VERIFY, vae(), "copy it again with its links", tail,
         put("{snapshot}/{weights}", "../../blobs/" + "a" * 64)),
    Case("OSR112", VERIFY, TEXT, SHARD, first=f"rm $(realpath {SHARD_FILE})"),
    Case("OSR112", VERIFY, vae(), "ln -sfn ../../blobs/",
         first=f"ln -sfn /old/hub/blobs/{hashlib.sha256(KL_FILES[WEIGHTS]).hexdigest()} {{snapshot}}/{{weights}}"),
    Case("OSR113", VERIFY, TEXT, SHARD, first=GONE),
    Case("OSR113", VERIFY, vae(),
         f"opensora-rewriter download {CONFIG} --component vae --cache-dir {{hub}} --revision {{kl}}={{commit}}",
         first="rm {snapshot}/{weights}"),
    Case("OSR114", VERIFY, vae(), "rm {snapshot}/{weights} && hf download {kl} {weights}",
         first=put("{snapshot}/{weights}", safetensors()[:-1])),
    Case("OSR114", f"{VERIFY} --hash", vae(), "rm {repo}/blobs/", first="echo > {snapshot}/config.json"),
    Case("OSR115", VERIFY, vae(), "rm {snapshot}/{weights} && hf download {kl} {weights}",
         first=put("{snapshot}/{weights}", POINTER)),
    Case("OSR116", VERIFY, TEXT, f"opensora-rewriter download {CONFIG} --component text_encoder",
         first=f"mv $(realpath {SHARD_FILE}){{,.incomplete}}"),
    Case("OSR118", f"{VERIFY} --hash", vae(), "opensora-rewriter lock on a cache", LOCKED,
         put("{snapshot}/{weights}", safetensors()), again=f"{BY_LOCK} --hash"),
    Case("OSR114", VERIFY, vae(), "rm {repo}/blobs/", first=(ADOPTED, "truncate -s 9 {repo}/snapshots/*/{weights}")),
    Case("OSR113", VERIFY, vae(), "opensora-rewriter download", first=(ADOPTED, "rm {repo}/snapshots/*/{weights}")),
    Case("OSR006", VERIFY, vae(from_pretrained="/x/sd-vae-ft-ema"), SET + KL),
    Case("OSR004", VERIFY, TEXT.replace(T5, "./pretrained_models/t5_ckpts"), "{cure}", tag="v1.0"),
    Case("OSR004", VERIFY, vae("rejects"), "{cure}"),
    Case("OSR005", VERIFY, vae("drops"), "{cure}"),
    Case("OSR121", BY_LOCK, vae(), "{ref}", first=(LOCKED, more(KL, KL_FILES, OTHER))),
    Case("OSR121", BY_LOCK, vae(), "hf download {kl} config.json {weights} --revision {commit}",
         first=(LOCKED, "rm -r {repo}", more(KL, KL_FILES, OTHER))),
    Case("OSR121", BY_LOCK, vae(), "adopt the files again that were locked", "{adopt} --replace-ref",
         (ADOPTED, LOCKED, "rm -r {repo}", more(KL, KL_FILES))),
    Case("OSR122", BY_LOCK, TEXT, "if that is wanted: {lock}", tail, (LOCKED, more(T5, {"tokenizer.json": b"{}"}))),
    Case("OSR123", ALL, TEXT, f"hf download {T5} tokenizer.json",
         first=(more(T5, {"tokenizer.json": b"{}"}), LOCKED, "rm {text}/tokenizer.json")),
    Case("OSR124", f"{BY_LOCK} --hash", vae(), f"rm {{snapshot}}/config.json && {AGAIN}",
         first=(LOCKED, put("{snapshot}/config.json", "[]"))),
    Case("OSR125", ALL, vae() + TEXT, NEWER, first=(LOCKED, edit(TEXT, ""))),
    Case("OSR126", ALL, vae(), NEWER, first=(LOCKED, edit(KL, MINE))),
    Case("OSR126", ALL, vae(), NEWER, first=(LOCKED, lambda scene: scene.write(vae(), "configs/b.py"))),
    Case("OSR126", BY_LOCK, vae() + TEXT, NEWER,
         first=(lambda scene: scene.write(vae(), "configs/b.py"), "opensora-rewriter lock configs/b.py")),
    Case("OSR126", f"download {CONFIG} --lock {LOCK}", vae(), "run it with --write-lock in the place of --lock",
         f"opensora-rewriter download {CONFIG} --write-lock {LOCK}", (LOCKED, edit(KL, MINE))),
    Case("OSR135", f"download {CONFIG} --revision {KL}={COMMIT}", vae(), "{ref}", first=put("{repo}/refs/main", OTHER)),
    Case("OSR133", f"download {CONFIG}", vae(), "unset HF_HUB_OFFLINE",
         lambda scene: scene.environment.pop("HF_HUB_OFFLINE"),
         ("rm -r {repo}", lambda scene: scene.environment.update(HF_HUB_OFFLINE="1"))),
    Case("OSR132", f"download {CONFIG}", vae(), "see https://huggingface.co/{kl}/tree/{commit}", edit(KL, MINE),
         ("rm -r {repo}", lambda scene: scene.server.repos.update({KL: Repo({})}))),
    Case("OSR132", f"download {CONFIG}", vae(from_pretrained="acme/none"), "see https://huggingface.co/acme/none",
         edit("acme/none", KL)),
    Case("OSR131", f"download {CONFIG}", vae(), "see https://huggingface.co/{kl}, then set HF_TOKEN",
         lambda scene: setattr(scene.server.repos[KL], "status", 200),
         ("rm -r {repo}", lambda scene: setattr(scene.server.repos[KL], "status", 403))),
    Case("OSR302", BUILD, vae(cache=None), "{rewrite} --component vae --cache-dir DIR",
         first=fails("unexpected keyword argument 'cache_dir'", "'cache_dir' in open(task['config']).read()")),
    Case("OSR303", BUILD, TEXT.replace(T5, "/x/t5"),
         "{rewrite} --component text_encoder --cache-dir DIR --set text_encoder.from_pretrained={t5}",
         first=fails("AssertionError: from_pretrained in", "'{t5}' in open(task['config']).read()")),
    Case("OSR304", BUILD, vae(), f"opensora-rewriter download {CONFIG} --component vae --cache-dir {{hub}}",
         first=("rm {snapshot}/{weights}", fails("no file named", WHOLE, cache="{hub}"))),
    Case("OSR305", BUILD, vae(from_pretrained="/x/sd-vae-ft-ema"),
         "{rewrite} --component vae --cache-dir DIR --set vae.from_pretrained={kl}",
         first=fails("Repo id must", THERE, "/x/sd-vae-ft-ema")),
    Case("OSR306", BUILD, vae(from_pretrained="/x/sd-vae-ft-ema"),
         "{rewrite} --component vae --cache-dir DIR --set vae.from_pretrained={kl}",
         first=fails("Invalid checkpoint path", THERE, "/x/sd-vae-ft-ema")),
    Case("OSR308", BUILD, vae(), '{folder}/python -m pip install "transformers<5"',
         first=fails("all_tied_weights_keys", FIXED)),
    Case("OSR309", BUILD, vae(), '{folder}/python -m pip install "torch>=2.6"',
         first=fails("upgrade torch to at least v2.6", FIXED)),
    Case("OSR310", BUILD, vae(), '{folder}/python -m pip install "huggingface_hub<0.26", or newer',
         "{folder}/python -m pip install new", fails("cached_download", FIXED)),
    Case("OSR316", BUILD, vae(), "verify it with --hash, which says", "touch {folder}/fixed",
         fails("UnpicklingError", FIXED)),
    Case("OSR205", LEVEL_LOAD, vae(), "delete that file, then fetch it again: opensora-rewriter download",
         put("{folder}/fixed", ""), fails("cut", FIXED, kind="load weights")),
    *(Case(code, BUILD, vae(), remedy, "touch {folder}/fixed", fails(message, FIXED)) for code, message, remedy in (
        ("OSR301", "the network is blocked", "fetch that file where there is a network"),
        ("OSR301", "something else", "run opensora-rewriter verify"),
        ("OSR307", "No module named 'apex'", "install it there, or name your Open-Sora environment"),
        ("OSR311", "Cannot allocate memory", "use a machine with more memory"),
        ("OSR312", "", "look whether {folder}/python runs Open-Sora at all"),
        ("OSR314", "No CUDA GPUs are available", "run verify on a machine of the kind"),
        ("OSR315", "X is not in the mmengine::model registry", "correct the type: opensora-rewriter trace"))),
    Case("OSR313", BUILD, vae(), "verify it with --level resolve", "touch {folder}/fixed",
         fails("a name", FIXED, stage="config")),
    Case("OSR212", LEVEL_LOAD, vae(), f"opensora-rewriter verify {CONFIG} --component vae --level build", "true",
         fails("later", "'config' in task", kind="deferred"), again=BUILD),
    *(Case(code, LEVEL_LOAD, vae(), remedy, "touch {folder}/fixed", fails(message, FIXED, kind="exception"))
      for code, message, remedy in (
        ("OSR201", "No module named 'apex'", "install it there, or name your Open-Sora environment"),
        ("OSR210", "upgrade torch to at least v2.6", '{folder}/python -m pip install "torch>=2.6"'),
        ("OSR211", "Cannot allocate memory", "use a machine with more memory"),
        ("OSR211", "", "look whether {folder}/python runs Open-Sora at all"),
        ("OSR213", "all_tied_weights_keys", '{folder}/python -m pip install "transformers<5"'),
        ("OSR204", "Torch not compiled with CUDA enabled", "run verify on a machine of the kind"),
        ("OSR212", "X is not in the a registry", "correct the type: opensora-rewriter trace"))),
    *(Case(code, LEVEL_LOAD, vae(), remedy, "touch {folder}/fixed", fails("a fault", FIXED, kind=kind))
      for code, kind, remedy in (
        ("OSR202", "no_weights", "opensora-rewriter download"),
        ("OSR203", "load tokenizer", "opensora-rewriter download"),
        ("OSR206", "unsafe", "do not load this file; fetch the weights from their author again"),
        ("OSR207", "missing", ""), ("OSR208", "shape", ""),
        ("OSR209", "unexpected", "nothing, if the outputs are right"))),
    Case("OSR901", f"rewrite {CONFIG} --cache-dir {{hub}}", "seed = unknown\n" + vae(cache=None), "",
         edit("seed = unknown", "seed = 1")),
    Case("OSR902", f"rewrite {CONFIG} --cache-dir {{hub}}", vae(cache=None) + "size = len(globals()['vae'])\n",
         "change what depends on the dict", edit("size = len(globals()['vae'])\n", "")),
    Case("OSR103", VERIFY, vae(), "ask its owner: chmod -R a+rX {repo}", tail, as_another_user),
    Case("OSR134", f"download {CONFIG}", vae(), "free space, or give another directory with --cache-dir", "true",
         ("rm -r {repo}/*", "touch {repo}/blobs"), again=f"download {CONFIG} --cache-dir {{folder}}/new"),
    Case("OSR113", f"lock {CONFIG}", TEXT, SHARD, first=GONE),
    Case("OSR007", f"trace {CONFIG} --repos", computed(KL), "write a repo id (ORG/NAME)", known[KL]),
]  # fmt: skip


@pytest.fixture
def scene(tmp_path: Path, run: Run, as_nobody: Become, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setattr("rewriter.cli.verify.resolve_configs", lambda targets, python: [])
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    extra = {UNREAD: b"x" * 99}
    repos = {repo_id: Repo({**files, **extra}) for repo_id, files in REPOS.items()}
    repos[T5].files["tokenizer.json"] = b"{}"
    with serve(repos) as server:
        made = Scene(tmp_path, server, run, as_nobody)
        made.environment = {"HF_ENDPOINT": server.endpoint, "HF_HUB_DISABLE_XET": "1", "PYTHONPATH": str(REPOSITORY)}
        script(tmp_path / "bin/opensora-rewriter", f'#!/bin/sh\nexec {sys.executable} -m rewriter "$@"\n')
        script(tmp_path / "bin/hf", f"#!{sys.executable}\nfrom huggingface_hub.cli.hf import main\nmain()\n")
        for repo_id, files in REPOS.items():
            make_repo(made.hub, repo_id, files)
        yield made


@pytest.mark.parametrize("case", [*CONFIGS, *CACHES], ids=lambda case: f"{case.code}: {case.remedy[:40]}")
def test_a_remedy_cures(case: Case, scene: Scene) -> None:
    if case.tag:
        shutil.copytree(FIXTURES / case.tag, scene.root, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        write_checkout(scene.root, MADE)
    if case.config:
        scene.write(case.config)
    scene.act(case.first)
    code, before = scene.find(case.command)
    remedies = dict.fromkeys(each["remedy"] for each in before if each["code"] == case.code)
    assert remedies, before
    for remedy in remedies:
        assert remedy.startswith(scene.fill(case.remedy)), remedy
        assert "--revision ad09ed00" not in remedy, "a commit that adopt made up"
        if case.do not in (None, tail):
            scene.act(case.do)
            continue
        assert case.do is tail or is_command(remedy), remedy
        command = remedy.rpartition(": ")[2] if case.do is tail else remedy
        done = scene.shell(re.sub(r"\bDIR\b", str(scene.hub), command).replace("ORG/", "acme/"))
        # where several paths are lost, each command sets one, and says of the others that they are
        assert done.returncode <= (len(remedies) > 1), (command, done.stdout, done.stderr)
    assert UNREAD not in scene.server.fetched
    code_after, after = scene.find(case.again or case.command)
    assert case.code not in [each["code"] for each in after], after
    # OSR117 is no fault: a repo that no config names is there now
    old, new = ({(each["path"], each["component"], each["code"]) for each in found} for found in (before, after))
    assert {each for each in new if each[2] != "OSR117"} <= old, after
    assert code_after <= code
