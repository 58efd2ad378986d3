"""Leading cache_dir through loaders to every hub call, and what is left alone because an edit would break something."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import FIXTURES
from deciding import CACHE, HEAD, check, codes, messages, outcomes, plan_rewrite, rewrite, wanted, write_checkout
from loading import trace, write_files

from rewriter.api import needed_repos
from rewriter.decide.request import Request
from rewriter.model import Plan

Checkout = Callable[[str], Path]

VAE = 'vae = dict(type="loader", from_pretrained="org/name")\n'
SET = f'vae = dict(type="loader", from_pretrained="org/name", cache_dir="{CACHE}")\n'
REGISTER = '@MODELS.register_module("loader")\n'


def write(root: Path, loaders: str, **configs: str) -> Path:
    """A checkout with these loaders and ``configs/NAME.py``; without any, one that uses "loader"."""
    texts = configs or {"a": VAE}
    return write_checkout(root, textwrap.dedent(loaders), {f"{name}.py": text for name, text in texts.items()})


def sources(made: Plan) -> dict[str, str]:
    """The new text of each loader source that is edited, without ``HEAD``."""
    return {Path(edit.path).name: edit.new.decode().removeprefix(HEAD) for edit in made.sources}


def configs(made: Plan) -> dict[str, str]:
    """The new text of each config that is edited."""
    return {Path(edit.path).stem: edit.new.decode() for edit in made.config_edits}


# --- what is threaded ------------------------------------------------------------------------------

THREADED = {
    "a function": (
        """
        @MODELS.register_module("loader")
        def loader(from_pretrained=None):
            return AutoModel.from_pretrained(from_pretrained)
        """,
        """
        @MODELS.register_module("loader")
        def loader(from_pretrained=None, cache_dir=None):
            return AutoModel.from_pretrained(from_pretrained, cache_dir=cache_dir)
        """,
    ),
    "a class with a helper, before **kwargs": (
        """
        class Embedder(nn.Module):
            def __init__(self, path, device="cpu", **kwargs):
                super().__init__()
                self.tokenizer = AutoTokenizer.from_pretrained(path)
                self.model = AutoModel.from_pretrained(path)

        @MODELS.register_module("loader")
        class Encoder:
            def __init__(self, from_pretrained):
                self.embedder = Embedder(from_pretrained, "cpu")
        """,
        """
        class Embedder(nn.Module):
            def __init__(self, path, device="cpu", cache_dir=None, **kwargs):
                super().__init__()
                self.tokenizer = AutoTokenizer.from_pretrained(path, cache_dir=cache_dir)
                self.model = AutoModel.from_pretrained(path, cache_dir=cache_dir)

        @MODELS.register_module("loader")
        class Encoder:
            def __init__(self, from_pretrained, cache_dir=None):
                self.embedder = Embedder(from_pretrained, "cpu", cache_dir=cache_dir)
        """,
    ),
    "a component dict that the loader builds, and not the one that rejects it": (
        """
        @MODELS.register_module()
        def inner(from_pretrained, cache_dir=None):
            return AutoModel.from_pretrained(from_pretrained, cache_dir=cache_dir)

        @MODELS.register_module()
        def plain(n=1):
            return n

        @MODELS.register_module("loader")
        def loader(from_pretrained):
            one = dict(type="inner", from_pretrained="org/hidden")
            two = dict(type="plain", n=2)
            return build_module(one, MODELS), build_module(two, MODELS)
        """,
        """
        @MODELS.register_module()
        def inner(from_pretrained, cache_dir=None):
            return AutoModel.from_pretrained(from_pretrained, cache_dir=cache_dir)

        @MODELS.register_module()
        def plain(n=1):
            return n

        @MODELS.register_module("loader")
        def loader(from_pretrained, cache_dir=None):
            one = dict(type="inner", from_pretrained="org/hidden", cache_dir=cache_dir)
            two = dict(type="plain", n=2)
            return build_module(one, MODELS), build_module(two, MODELS)
        """,
    ),
    "an inherited __init__": (
        """
        class Base:
            def __init__(self, path):
                self.model = AutoModel.from_pretrained(path)

        @MODELS.register_module("loader")
        class Loader(Base):
            def __init__(self, from_pretrained):
                super().__init__(from_pretrained)
        """,
        """
        class Base:
            def __init__(self, path, cache_dir=None):
                self.model = AutoModel.from_pretrained(path, cache_dir=cache_dir)

        @MODELS.register_module("loader")
        class Loader(Base):
            def __init__(self, from_pretrained, cache_dir=None):
                super().__init__(from_pretrained, cache_dir=cache_dir)
        """,
    ),
    "None in the way": (
        """
        def load(path, cache_dir=None):
            return AutoModel.from_pretrained(path, cache_dir=None)

        @MODELS.register_module("loader")
        def loader(from_pretrained):
            return load(from_pretrained, cache_dir=None)
        """,
        """
        def load(path, cache_dir=None):
            return AutoModel.from_pretrained(path, cache_dir=cache_dir)

        @MODELS.register_module("loader")
        def loader(from_pretrained, cache_dir=None):
            return load(from_pretrained, cache_dir=cache_dir)
        """,
    ),
    "one of two calls lacks it": (
        """
        @MODELS.register_module("loader")
        def loader(from_pretrained, cache_dir=None):
            AutoTokenizer.from_pretrained(from_pretrained, cache_dir=cache_dir)
            return AutoModel.from_pretrained(from_pretrained)
        """,
        """
        @MODELS.register_module("loader")
        def loader(from_pretrained, cache_dir=None):
            AutoTokenizer.from_pretrained(from_pretrained, cache_dir=cache_dir)
            return AutoModel.from_pretrained(from_pretrained, cache_dir=cache_dir)
        """,
    ),
    "**kwargs that carry it to one of two calls: the parameter takes it out of there": (
        """
        @MODELS.register_module("loader")
        def loader(from_pretrained, **kwargs):
            AutoTokenizer.from_pretrained(from_pretrained)
            return AutoModel.from_pretrained(from_pretrained, **kwargs)
        """,
        """
        @MODELS.register_module("loader")
        def loader(from_pretrained, cache_dir=None, **kwargs):
            AutoTokenizer.from_pretrained(from_pretrained, cache_dir=cache_dir)
            return AutoModel.from_pretrained(from_pretrained, cache_dir=cache_dir, **kwargs)
        """,
    ),
}


@pytest.mark.parametrize("name", THREADED)
def test_every_function_on_the_path_passes_the_key_on(name: str, tmp_path: Path) -> None:
    before, after = map(textwrap.dedent, THREADED[name])
    made = rewrite(write(tmp_path, before))
    assert sources(made) == {"loaders.py": after}
    assert (outcomes(made), codes(made), configs(made)) == ({"vae": "set"}, [], {"a": SET})


def test_local_files_only_defaults_to_false(tmp_path: Path) -> None:
    root = write(tmp_path, THREADED["a function"][0])
    made = rewrite(root, request=wanted(local_files_only=True))
    assert "def loader(from_pretrained=None, cache_dir=None, local_files_only=False):" in sources(made)["loaders.py"]


def test_no_source_edits_nothing_of_a_loader(tmp_path: Path) -> None:
    root = write(tmp_path, THREADED["a function"][0])
    made = plan_rewrite(root, request=wanted(edit_source=False))
    assert (made.edits, codes(made)) == ((), ["OSR004"])
    assert made.all_findings[0].remedy.startswith("let rewrite edit the loader, from files: opensora-rewriter rewrite ")


def test_a_loader_that_no_component_needs_is_not_edited(tmp_path: Path) -> None:
    root = write(tmp_path, THREADED["a function"][0], a='vae = dict(type="loader", from_pretrained=None)\n')
    assert plan_rewrite(root).edits == ()


def test_a_default_directory_is_written_into_the_parameter(tmp_path: Path) -> None:
    root = write(tmp_path, THREADED["a function"][0])
    made = plan_rewrite(root, request=wanted(source_default="/shared"))
    assert 'cache_dir="/shared"' in sources(made)["loaders.py"]


# --- what is refused -------------------------------------------------------------------------------

REFUSED = {
    "the name means something else inside": (
        """
        def load(path):
            cache_dir = path + "/cache"
            os.makedirs(cache_dir)
            return AutoModel.from_pretrained(path)

        @MODELS.register_module("loader")
        def loader(from_pretrained):
            return load(from_pretrained)
        """,
        "load uses the name cache_dir for something else",
    ),
    "another value at the call": (
        """
        @MODELS.register_module("loader")
        def loader(from_pretrained):
            return AutoModel.from_pretrained(from_pretrained, cache_dir="/mine")
        """,
        "cache_dir is given another value there: `'/mine'`",
    ),
    "another value in the dict that is built": (
        """
        @MODELS.register_module()
        def inner(from_pretrained, cache_dir=None):
            return AutoModel.from_pretrained(from_pretrained, cache_dir=cache_dir)

        @MODELS.register_module("loader")
        def loader(from_pretrained, folder="x"):
            return build_module(dict(type="inner", from_pretrained=from_pretrained, cache_dir=folder), MODELS)
        """,
        "cache_dir is given another value there: `folder`",
    ),
    "a spread that is not known": (
        """
        @MODELS.register_module("loader")
        def loader(from_pretrained, extra=None):
            return AutoModel.from_pretrained(from_pretrained, **extra)
        """,
        "what `**` gives AutoModel.from_pretrained cannot be known",
    ),
    "a model that the library makes (wangbei1/experiment's jingkai_vae)": (
        """
        class Video(PreTrainedModel):
            def __init__(self, config):
                super().__init__(config)
                self.spatial = AutoencoderKL.from_pretrained(config.spatial)

        @MODELS.register_module("loader")
        def loader(from_pretrained, **kwargs):
            return Video.from_pretrained(from_pretrained, **kwargs)
        """,
        "edit the loader by hand: Video.from_pretrained passes no cache_dir on to Video.__init__",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_stands_in_the_way_is_named_and_nothing_is_written(name: str, tmp_path: Path) -> None:
    loaders, reason = REFUSED[name]
    root = write(tmp_path, loaders)
    made = plan_rewrite(root)
    assert (made.edits, outcomes(made)) == ((), {"vae": "cannot"})
    assert reason in messages(made)


def test_a_refused_loader_leaves_the_others_alone(tmp_path: Path) -> None:
    loaders = REFUSED["another value at the call"][0].replace("loader", "bad")
    both = textwrap.dedent(loaders) + textwrap.dedent(THREADED["a function"][0])
    root = write(tmp_path, both, a=VAE.replace("vae", "text_encoder").replace("loader", "bad") + VAE)
    made = rewrite(root)
    assert outcomes(made) == {"text_encoder": "cannot", "vae": "set"}
    assert 'cache_dir="/mine"' in sources(made)["loaders.py"]


def test_a_source_behind_a_link_out_of_the_checkout_is_not_written(tmp_path: Path) -> None:
    root = write(tmp_path / "checkout", THREADED["a function"][0])
    away = tmp_path / "away.py"
    (root / "opensora/loaders.py").rename(away)
    (root / "opensora/loaders.py").symlink_to(away)
    made = plan_rewrite(root)
    assert (made.edits, codes(made)) == ((), ["OSR004"])
    assert "edit the loader by hand: opensora/loaders.py:1 cannot be edited: it is a link that leads" in messages(made)


# --- v1.0's t5 -------------------------------------------------------------------------------------

T5 = 'text_encoder = dict(type="t5", from_pretrained="./pretrained_models/t5_ckpts"{})\n'


@pytest.mark.parametrize("local_cache", ["", ", local_cache=True", ", local_cache=False"])
@pytest.mark.parametrize("company", ["", ", local_cache=True", ", local_cache=False"])
def test_v1_0_t5_is_decided_the_same_alone_and_in_company(local_cache: str, company: str, checkout: Checkout) -> None:
    root = checkout("v1.0")
    shutil.rmtree(root / "configs")
    files = {"configs/a.py": T5.format(local_cache), "configs/b.py": T5.format(company)}
    write_files(root, files)
    made = rewrite(root)
    assert (outcomes(made), codes(made)) == ({"a:text_encoder": "set", "b:text_encoder": "set"}, [])
    assert configs(made)["a"] == T5.format(f', cache_dir="{CACHE}"{local_cache}')
    for edit in made.sources:
        assert edit.new.decode() == (root / "opensora/models/text_encoder/t5.py").read_text()


@pytest.mark.parametrize("local_cache", [True, False])
def test_v1_0_t5_reads_its_repo_with_a_cache_and_its_folder_without_one(local_cache: bool, checkout: Checkout) -> None:
    root = checkout("v1.0")
    rewrite(root)
    given = {"from_pretrained": "./pretrained_models/t5_ckpts", "local_cache": local_cache}
    with_cache = trace(root, "t5", cache_dir=CACHE, **given)
    assert {(call.repo_id, call.reached) for call in with_cache.calls} == {
        ("DeepFloyd/t5-v1_1-xxl", frozenset({"cache_dir"}))
    }
    without = trace(root, "t5", **given)
    before = trace(FIXTURES / "v1.0", "t5", **given)
    assert {call.repo_id for call in without.calls} == {call.repo_id for call in before.calls}
    assert not without.rejections


@pytest.mark.parametrize("local_cache", ["", ", local_cache=False"])
def test_v1_0_t5_with_another_repo_says_which_one_is_loaded(
    local_cache: str, checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = checkout("v1.0")
    shutil.rmtree(root / "configs")
    write_files(root, {"configs/a.py": T5.format(local_cache).replace("./pretrained_models/t5_ckpts", "google/t5")})
    monkeypatch.chdir(root)
    assert needed_repos(["."]) == ("DeepFloyd/t5-v1_1-xxl",), "google/t5/t5-v1_1-xxl is no repo"
    made = rewrite(root)
    assert outcomes(made) == {"text_encoder": "set"}
    (finding,) = made.all_findings
    assert (finding.code, finding.severity) == ("OSR006", "warning")
    assert "does not load google/t5: its source names DeepFloyd/t5-v1_1-xxl" in finding.message
    cured = wanted(sets=(("text_encoder", "from_pretrained", "DeepFloyd/t5-v1_1-xxl"),))
    assert codes(rewrite(root, request=cured)) == []


# --- harm ------------------------------------------------------------------------------------------

HARMED = {
    "a call that had it from **kwargs": (
        """
        def load(path, **options):
            if path == "org/name":
                AutoModel.from_pretrained(path)
            else:
                AutoTokenizer.from_pretrained(path, **options)

        @MODELS.register_module("loader")
        def loader(from_pretrained):
            return load(from_pretrained)

        @MODELS.register_module("second")
        def second(from_pretrained, cache_dir=None):
            return load(from_pretrained, cache_dir=cache_dir)
        """,
        'vae = dict(type="second", from_pretrained="org/x", cache_dir="/o")\n',
        "cache_dir would not reach AutoTokenizer.from_pretrained any more",
    ),
}


@pytest.mark.parametrize("selected", [True, False], ids=["selected", "not selected"])
@pytest.mark.parametrize("name", HARMED)
def test_an_edit_that_would_break_another_config_is_dropped_and_said(name: str, selected: bool, tmp_path: Path) -> None:
    loaders, other, reason = HARMED[name]
    root = write(tmp_path, loaders, a=VAE, b=other)
    made = plan_rewrite(root, *([] if selected else ["configs/a.py"]))
    assert made.sources == ()
    assert configs(made).keys() <= {"b"}
    assert "an edit would break `vae` of" in messages(made)
    assert reason in messages(made)
    assert (outcomes(made)["a:vae"] if selected else outcomes(made)["vae"]) == "cannot"


def test_a_base_file_whose_change_breaks_a_config_that_inherits_is_left(tmp_path: Path) -> None:
    """`b` makes another type of the dict, whose loader rejects the key that would come with the base."""
    plain = """
        @MODELS.register_module("plain")
        def plain(from_pretrained=None):
            return from_pretrained
    """
    child = '_base_ = "./a.py"\nvae = dict(type="plain")\n'
    for loaders, code in ((TAKES, "OSR004"), (THREADED["one of two calls lacks it"][0], "OSR005")):
        root = write(tmp_path / code, textwrap.dedent(loaders) + textwrap.dedent(plain), a=VAE, b=child)
        for paths in ([], ["configs/a.py"]):
            made = plan_rewrite(root, *paths)
            assert (made.edits, {*codes(made)}) == ((), {code}), paths
            assert "would break `vae` of" in messages(made)
        (root / "configs/b.py").write_text('_base_ = "./a.py"\nvae = dict(_delete_=True, type="plain")\n')
        assert configs(rewrite(root)) == {"a": SET}


def test_a_config_of_the_checkout_that_is_not_selected_is_not_broken_either(tmp_path: Path) -> None:
    """The positional call of `b`'s loader still binds as before: a trailing parameter breaks nothing."""
    loaders = """
        class Embedder:
            def __init__(self, path, *rest):
                self.model = AutoModel.from_pretrained(path)

        @MODELS.register_module("loader")
        def loader(from_pretrained):
            return Embedder(from_pretrained)

        @MODELS.register_module("second")
        def second(from_pretrained, **kwargs):
            return Embedder(from_pretrained, "x", "y")
    """
    root = write(tmp_path, loaders, a=VAE, b='model = dict(type="second", from_pretrained="org/x")\n')
    made = rewrite(root, "configs/a.py")
    assert outcomes(made) == {"vae": "set"}
    assert "def __init__(self, path, *rest, cache_dir=None):" in sources(made)["loaders.py"]


def test_what_was_broken_before_is_no_reason_to_leave_a_loader_alone(tmp_path: Path) -> None:
    root = write(tmp_path, THREADED["a function"][0], a=VAE, b=VAE.replace("org/name", 'org/x", colour="red'))
    made = rewrite(root)
    assert outcomes(made) == {"a:vae": "set", "b:vae": "cannot"}


def test_a_key_that_never_arrived_is_not_lost(tmp_path: Path) -> None:
    """JavisDiT with ``--set vae.force_huggingface=True``: local_files_only reaches nothing before and after."""
    loaders = """
        @MODELS.register_module("loader")
        def loader(from_pretrained, force_huggingface=False, local_files_only=False):
            if force_huggingface:
                return AutoModel.from_pretrained(from_pretrained)
            return AutoTokenizer.from_pretrained(from_pretrained, local_files_only=local_files_only)
    """
    root = write(tmp_path, loaders, a='vae = dict(type="loader", from_pretrained="org/name", local_files_only=True)\n')
    made = rewrite(root, request=wanted(sets=(("vae", "force_huggingface", True),)))
    assert outcomes(made) == {"vae": "set"}


# --- _base_ files ----------------------------------------------------------------------------------

TAKES = """
@MODELS.register_module("loader")
def loader(from_pretrained=None, cache_dir=None, size=1):
    return AutoModel.from_pretrained(from_pretrained, cache_dir=cache_dir)
"""


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")], ids=["base first", "base last"])
def test_a_component_that_is_only_inherited_is_set_where_it_is_written(names: tuple[str, str], tmp_path: Path) -> None:
    base, child = names
    text = f'_base_ = "./{base}.py"\nseed = 1\n'
    made = rewrite(write(tmp_path, TAKES, **{base: VAE, child: text}))
    assert configs(made) == {base: SET}
    assert outcomes(made) == {f"{base}:vae": "set", f"{child}:vae": "inherited"}


def test_a_config_that_changes_a_component_of_its_base_sees_what_the_base_will_say(tmp_path: Path) -> None:
    made = rewrite(write(tmp_path, TAKES, a='_base_ = "b.py"\nvae = dict(size=2)\n', b=VAE))
    assert configs(made) == {"b": SET}
    assert outcomes(made) == {"a:vae": "already", "b:vae": "set"}


def test_a_component_of_a_base_that_the_run_does_not_cover_is_refused(tmp_path: Path) -> None:
    root = write(tmp_path, TAKES, a='_base_ = "b.py"\n', b=VAE)
    made = plan_rewrite(root, "configs/a.py")
    assert (made.edits, codes(made)) == ((), ["OSR007"])
    assert "written in configs/b.py, which this run does not cover" in messages(made)
    assert str(root / "configs/b.py") in made.all_findings[0].remedy


def test_a_base_that_only_running_tells_is_said(tmp_path: Path) -> None:
    root = write(tmp_path, TAKES, a='import os\n_base_ = os.environ["BASE"]\n' + VAE)
    found = check(root)
    (finding,) = [each for each in found.all_findings if each.code == "OSR007"]
    assert finding.message.startswith("`text_encoder` may come from a base file that cannot be read: line 2: `_base_`")


@pytest.mark.parametrize("text", ['_base_ = "a.py"\n', '_base_ = "b.py"\n', '_base_ = ["b.py", "./no.py"]\n'])
def test_circles_and_missing_bases_end(text: str, tmp_path: Path) -> None:
    made = plan_rewrite(write(tmp_path, TAKES, a=text + VAE, b='_base_ = "a.py"\n'))
    assert outcomes(made)["a:vae"] == "set"


def test_two_bases_that_say_the_same_component(tmp_path: Path) -> None:
    configs_ = {"a": '_base_ = ["b.py", "c.py"]\nvae = dict(size=2)\n', "b": VAE, "c": "vae = dict(size=3)\n"}
    made = plan_rewrite(write(tmp_path, TAKES, **configs_))
    assert outcomes(made)["b:vae"] == "set"


# --- a request without any key ---------------------------------------------------------------------


def test_sets_alone_need_no_edit_of_a_loader(tmp_path: Path) -> None:
    root = write(tmp_path, THREADED["a function"][0])
    made = plan_rewrite(root, request=Request(sets=(("vae", "from_pretrained", "org/new"),)))
    assert (made.sources, configs(made)) == ((), {"a": VAE.replace("org/name", "org/new")})
