"""What mmengine's answer proves: which differences are as asked, and which end the run with nothing written."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from rewriter import prove
from rewriter.resolve import resolve

Run = Callable[..., Result]

TYPE = 'type="VideoAutoencoderKL", from_pretrained="a/b"'
VAE = f"vae = dict({TYPE})\n"
SET = f'vae = dict({TYPE}, cache_dir="/c")\n'


def rewritten(run: Run, folder: Path, *words: str, **texts: str) -> tuple[Result, dict[str, str]]:
    """Rewrite configs of these texts with mmengine's proof: what was said, and every text after it."""
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text)
    words = words or ("--cache-dir", "/c")
    done = run("rewrite", *(f"{name}.py" for name in texts), *words, "--resolve", "always", cwd=folder)
    return done, {name: (folder / f"{name}.py").read_text() for name in texts}


# --- what is as asked ---------------------------------------------------------------------------

AS_ASKED = {
    "plain": VAE,
    "in_a_dict": VAE + "model = dict(type='STDiT3-XL/2', vae=vae)\n",
    "under_another_key": VAE + "model = dict(type='STDiT3-XL/2', first_stage=vae)\n",
    "in_a_list": VAE + "parts = [1, (2, vae), dict(a=[vae])]\n",
    "by_another_name": VAE + "first_stage = vae\n",
    "copied": VAE + "first_stage = dict(vae, subfolder='x')\n",
    "another loader that takes it": VAE + "first_stage = dict(vae, type='t5', from_pretrained='x/y')\n",
    "spread": VAE + "first_stage = dict(subfolder='x', **vae)\n",
    "nested": f"model = dict(type='STDiT3-XL/2', vae=dict({TYPE}))\n",
    "clock": "import time\nnow = time.time_ns()\n" + VAE,
    "clock_inside": f"import time\nvae = dict({TYPE}, micro_batch_size=time.time_ns())\n",
    "replaced_on_a_branch": VAE + "if 1 > 0:\n    vae = None\n",
    "changed_on_a_branch": VAE + "if 1 > 0:\n    vae['from_pretrained'] = 'c/d'\n",
    "on_a_branch": f"if 1 > 2:\n    {VAE}else:\n    vae = None\n",
    "replaced_unseen": VAE + "globals()['vae'] = dict(type='VideoAutoencoderKL', from_pretrained='c/d')\n",
    "computed_and_the_same": f"import os\nvae = dict({TYPE}, cache_dir=os.path.join('/', 'c'))\n",
    "spelled_otherwise": f"vae = dict({TYPE}, subfolder=f'{{1}}')\n",
}


def test_the_asked_key_may_arrive_wherever_the_dict_does(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("mmengine")
    done, after = rewritten(run, tmp_path, **AS_ASKED)
    assert done.exit_code == 0, done.output
    for name, text in AS_ASKED.items():
        if name == "computed_and_the_same":
            assert after[name] == text.replace("os.path.join('/', 'c')", '"/c"')
        else:
            assert after[name].replace(', cache_dir="/c"', "") == text
            assert ', cache_dir="/c"' in after[name], name


def test_an_heir_may_differ_by_what_was_asked_of_its_base(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("mmengine")
    texts = {"base": VAE, "heir": "_base_ = './base.py'\nx = 1\n", "changed": "_base_ = 'base.py'\nvae = dict(a=1)\n"}
    done, after = rewritten(run, tmp_path, "--cache-dir", "/c", "--force", **texts)
    assert done.exit_code in (0, 1), done.output
    assert after["base"] == SET
    assert after["heir"] == texts["heir"]


def test_a_key_may_go_wherever_the_dict_is(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("mmengine")
    texts = {
        "plain": SET,
        "copied": SET + "first_stage = dict(vae, subfolder='x')\n",
        "gone_already": SET + "globals()['vae'].pop('cache_dir', None)\n",
        "untyped_with_two_names": "other = dict(cache_dir='/c')\nvae = other\n",
    }
    done, after = rewritten(run, tmp_path, "--unset", "vae.cache_dir", **texts)
    assert done.exit_code == 0, done.output
    assert after == {
        "plain": VAE,
        "copied": texts["copied"].replace(', cache_dir="/c"', ""),
        "gone_already": texts["gone_already"].replace(', cache_dir="/c"', ""),
        "untyped_with_two_names": "other = dict()\nvae = other\n",
    }


# --- what is not ----------------------------------------------------------------------------------

CONTRADICTIONS = {
    "a count": (VAE + "n = len(vae)\n", "`n` resolves to 3, it was 2"),
    "another key": (
        VAE + "vae_kwargs = dict(hub=vae.get('cache_dir'))\n",
        "`vae_kwargs.hub` resolves to '/c', it was None",
    ),
    "another loader": (
        VAE + "stages = [dict(vae, type='Other')]\n",
        "`stages.0.cache_dir` resolves to '/c', it was nothing",
    ),
    "a copy without a type": (
        VAE + "stage = dict(vae)\ndel stage['type']\n",
        "`stage.cache_dir` resolves to '/c', it was nothing",
    ),
    "no loader": (
        VAE + "paths = dict(cache_dir=vae.get('cache_dir'))\n",
        "`paths.cache_dir` resolves to '/c', it was None",
    ),
    "another value": (
        VAE + "globals()['vae'].update(cache_dir=len(vae))\n",
        "`vae.cache_dir` resolves to 3, it was 2",
    ),
    "gone": (VAE + "globals()['x'] = 1 if 'cache_dir' in vae else None\nif x:\n    del x\n", "`x` resolves to nothing"),
    "never arrived": (VAE + "globals()['vae'].pop('cache_dir', None)\n", "vae `vae.cache_dir` did not arrive"),
    "an error": (
        VAE + "assert len(vae) == 2, 'too many'\n",
        "mmengine loads the old file but not the new one: AssertionError: too many",
    ),
}


def refused_alone(text: str, words: str, run: Run, folder: Path) -> str:
    """What is told where of two configs the one of this text is refused, in these words."""
    pytest.importorskip("mmengine")
    done, after = rewritten(run, folder, good=VAE, bad=text)
    assert done.exit_code == 1, done.output
    assert after == {"good": SET, "bad": text}
    told = " ".join(done.output.split())
    assert f"bad.py:1:1: OSR902 {words}" in told
    return told


@pytest.mark.parametrize(("text", "words"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_a_config_with_any_other_difference_is_refused_and_the_rest_goes_on(
    text: str, words: str, run: Run, tmp_path: Path
) -> None:
    told = refused_alone(text, words, run, tmp_path)
    assert "-> change what depends on the dict, or write the keyword by hand; if nothing does, please report" in told
    assert "components: 1 set, 1 refused" in told


@pytest.mark.parametrize("spoils", [
    "import mmengine.config as c; c.Config.fromfile = None; del c\n",
    "import sys; sys.path.clear(); sys.modules.clear(); del sys\n",
    "import mmengine.config as c; c.Config.fromfile = lambda *a, **k: dict(vae=dict(type='VideoAutoencoderKL', "
    "from_pretrained='a/b')); del c\n",
])  # fmt: skip
def test_a_config_that_spoils_its_process_takes_no_other_along(spoils: str, run: Run, tmp_path: Path) -> None:
    pytest.importorskip("mmengine")
    done, after = rewritten(run, tmp_path, a_good=VAE, b_spoils=spoils + VAE, c_good=VAE, d_good=VAE)
    assert done.exit_code == 0, done.output
    assert after == {"a_good": SET, "b_spoils": spoils + SET, "c_good": SET, "d_good": SET}


UNSEEN = "globals()['_base_'].vae['cache_dir'] = '/o'\n"
ABSENT = {
    "set": (
        f'vae = dict({TYPE}, cache_dir="/a")\nglobals()["vae"].update(cache_dir="/o")\n',
        "vae `vae.cache_dir` did not arrive: it resolves to '/o'",
    ),
    "already": (
        VAE + f'model = dict(vae=dict({TYPE}, cache_dir="/c"))\nglobals()["model"]["vae"]["cache_dir"] = "/o"\n',
        "model.vae `model.vae.cache_dir` did not arrive: it resolves to '/o'",
    ),
    "already, and gone with the edit": (
        VAE + f'model = dict(vae=dict({TYPE}, cache_dir="/c"))\nif len(globals()["vae"]) > 2:\n    '
        'globals()["model"]["vae"]["cache_dir"] = "/o"\n',
        "`model.vae.cache_dir` resolves to '/o', it was '/c'",
    ),
    "by its base": (
        f"_base_ = './good.py'\n{UNSEEN}vae = dict(subfolder='x')\n",
        "vae `vae.cache_dir` did not arrive: it resolves to '/o'",
    ),
    "inherited": (f"_base_ = './good.py'\n{UNSEEN}", "vae `vae.cache_dir` did not arrive: it resolves to '/o'"),
    "taken out of what is inherited": (
        "_base_ = './good.py'\nglobals()['_base_'].vae.pop('cache_dir', None)\n",
        "vae `vae.cache_dir` did not arrive: it resolves to nothing",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "words"), ABSENT.values(), ids=ABSENT)
def test_a_config_in_which_a_key_is_not_what_it_is_said_to_be_is_refused_alone(
    text: str, words: str, run: Run, tmp_path: Path
) -> None:
    told = refused_alone(text, words, run, tmp_path)
    assert "good.py:1:1" not in told
    assert "components: 1 set, " in told
    assert ("already" in told) is ("it was" in words)


def test_what_an_heir_has_of_its_own_need_not_be_what_was_asked_of_its_base(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("mmengine")
    heir = f"_base_ = './base.py'\nif 1:\n    vae = dict({TYPE}, cache_dir='/o', _delete_=True)\n"
    texts = {"base": VAE, "none": "_base_ = './base.py'\nglobals()['vae'] = None\n"}
    done, after = rewritten(run, tmp_path, **texts)
    assert done.exit_code == 0, done.output
    assert after == {**texts, "base": SET}
    done, after = rewritten(run, tmp_path, "--set", "vae.subfolder=x", base=VAE, heir=heir)
    assert after["heir"] == heir.replace('a/b"', 'a/b", subfolder="x"')


OPTIONS = "opts = dict(a=1)\n"
SET_OPTIONS = "opts = dict(a=1, b=2)\n"


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("heir", ["base", "mid"])
def test_a_base_goes_with_the_heir_that_contradicts(heir: str, first: bool, run: Run, tmp_path: Path) -> None:
    pytest.importorskip("mmengine")
    texts = {
        "mid": "_base_ = './base.py'\n",
        "base": OPTIONS,
        "other": "_base_ = './base.py'\nx = dict(opts=dict(a=1))\n",
        "bad": f"_base_ = './{heir}.py'\nhub = {{{{_base_.opts}}}}\n",
        "good": OPTIONS,
    }
    texts = texts if first else dict(reversed(texts.items()))
    done, after = rewritten(run, tmp_path, "--set", "opts.b=2", **texts)
    assert done.exit_code == 1, done.output
    told = " ".join(done.output.split())
    assert "bad.py:1:1: OSR902 `hub.b` resolves to 2, it was nothing" in told
    assert "base.py:1:1: OSR902 bad.py inherits from it, and `hub.b` resolves to 2, it was nothing" in told
    assert after == {**texts, "good": SET_OPTIONS, "other": texts["other"].replace("a=1", "a=1, b=2")}


def test_a_contradiction_that_stays_ends_the_run_with_nothing_written(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("mmengine")
    bad = "_base_ = './' + 'base.py'\nhub = {{_base_.opts}}\nx = dict(opts=dict(a=1))\n"
    texts = {"base": OPTIONS, "bad": bad}
    done, after = rewritten(run, tmp_path, "--set", "opts.b=2", **texts)
    assert done.exit_code == 2, done.output
    assert " it was nothing" in " ".join(done.output.split())
    assert f"OSR902 {tmp_path / 'bad.py'}: " in done.output
    assert "nothing was written; please report this with the file" in done.output
    assert after == texts


def test_an_heir_of_a_config_that_does_not_load_is_proved_without_it(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("mmengine")
    texts = {"base": VAE + "n = len(vae)\n", "heir": "_base_ = './base.py'\nvae = dict(subfolder='x')\n", "good": VAE}
    done, after = rewritten(run, tmp_path, **texts)
    assert done.exit_code == 1, done.output
    assert "OSR902" in done.output
    assert "components: 1 set, 2 refused" in done.output
    assert after == {**texts, "good": SET}


def test_a_config_that_does_not_load_twice_is_judged_by_its_first_answers(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("mmengine")
    count = "import os\nos.mkdir(f'{len(os.listdir())}.d')\nassert len(os.listdir()) < 4, 'full'\n"
    done, after = rewritten(run, tmp_path, bad=VAE + "n = len(vae)\n" + count)
    assert done.exit_code == 1, done.output
    assert "`n` resolves to 3, it was 2" in done.output
    assert after == {"bad": VAE + "n = len(vae)\n" + count}


def test_what_the_time_is_over_for_is_left_as_it_is(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mmengine")
    monkeypatch.setattr(prove, "processors", lambda: 1)
    monkeypatch.setattr(prove, "resolve", functools.partial(resolve, timeout=4.0))
    texts = {"a_good": VAE, "b_slow": VAE + "while True: pass\n", "c_good": VAE}
    done, after = rewritten(run, tmp_path, **texts)
    assert done.exit_code == 1, done.output
    assert after == {**texts, "a_good": SET}
    assert "b_slow.py:1:1: OSR901\n    mmengine cannot load it as it is: the config took too long" in done.output
    asked = (
        "c_good.py:1:1: OSR901\n    mmengine was not asked about it: the time limit of 4 s for all configs was reached"
    )
    assert asked in done.output
    assert "run again for what is left, or rewrite it with --no-resolve" in done.output


# --- what may be changed after it is written ------------------------------------------------------

NONE = f"vae = dict({TYPE}, cache_dir=None)\n"
CHANGED = {
    "by_a_loop": NONE + "for m in (vae,):\n    m['cache_dir'] = None\n",
    "in_a_list": NONE + "a = [vae]\na[0]['cache_dir'] = None\n",
    "by_a_function": "def g(d):\n    d['cache_dir'] = None\n" + NONE + "g(vae)\n",
}


def test_a_dict_that_may_be_changed_later_is_refused_and_the_others_are_written(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("mmengine")
    done, after = rewritten(run, tmp_path, good=VAE, **CHANGED)
    assert done.exit_code == 1, done.output
    assert f"refused by: OSR007 x{len(CHANGED)}" in done.output
    assert after == {"good": SET, **CHANGED}


# --- no mmengine ----------------------------------------------------------------------------------


@pytest.fixture
def _no_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    monkeypatch.delenv("CONDA_PREFIX", raising=False)
    monkeypatch.setattr(sys, "executable", "")


@pytest.mark.usefixtures("_no_interpreter")
def test_without_mmengine_there_is_a_note_or_an_error_as_asked(run: Run, tmp_path: Path) -> None:
    done, after = rewritten(run, tmp_path, a=VAE)
    assert done.exit_code == 2
    assert "no interpreter with mmengine is found" in done.output
    assert "pip install 'opensora-rewriter[resolve]', or name one with --python" in done.output
    assert after == {"a": VAE}
    done = run("rewrite", "a.py", "--cache-dir", "/c", cwd=tmp_path)
    assert done.exit_code == 0, done.output
    assert "mmengine was not asked (none found)" in done.output
    assert (tmp_path / "a.py").read_text() == SET


def test_an_interpreter_without_mmengine_is_an_error_only_where_there_is_something_to_prove(
    run: Run, tmp_path: Path
) -> None:
    bare = tmp_path / "python"
    bare.write_text("#!/bin/sh\nexit 3\n")
    bare.chmod(0o755)
    done, after = rewritten(run, tmp_path, "--cache-dir", "/c", "--python", str(bare), a=VAE)
    assert done.exit_code == 2
    assert "mmengine is not installed there" in done.output
    assert "pip install 'opensora-rewriter[resolve]', or name another --python" in done.output
    assert after == {"a": VAE}
    done, _ = rewritten(run, tmp_path, "--cache-dir", "/c", "--python", str(bare), a=SET)
    assert done.exit_code == 0, done.output
