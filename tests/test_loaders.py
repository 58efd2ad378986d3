"""What is read from loaders' sources: which Hub calls remain for given keywords, and what reaches them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest import FIXTURES
from loading import only, repos, sources, trace, values

from rewriter.frozen import Frozen
from rewriter.loaders import Sources
from rewriter.types import HubCall, Value

BOTH = {"cache_dir", "local_files_only"}


# --- the four releases, by their fixtures: FACTS of each type -------------------------------------


@pytest.mark.parametrize(
    ("tag", "type_name", "keywords", "expected", "rejected"),
    [
        ("v1.0", "t5", {"from_pretrained": "./pretrained_models/t5_ckpts"},
         [("./pretrained_models/t5_ckpts/t5-v1_1-xxl", set())] * 2, True),
        ("v1.0", "VideoAutoencoderKL", {"from_pretrained": "o/n"}, [("o/n", set())], True),
        ("v1.0", "VideoAutoencoderKLTemporalDecoder", {"from_pretrained": "o/n"}, [("o/n", set())], True),
        ("v1.0", "clip", {"from_pretrained": "o/n"}, [("o/n", set())] * 2, True),
        ("v1.0", "classes", {"num_classes": 3}, [], True),
        ("v1.1", "t5", {"from_pretrained": "DeepFloyd/t5-v1_1-xxl"}, [("DeepFloyd/t5-v1_1-xxl", BOTH)] * 2, False),
        ("v1.1", "VideoAutoencoderKL", {"from_pretrained": "o/n"}, [("o/n", BOTH)], False),
        ("v1.1", "STDiT2-XL/2", {"from_pretrained": "o/n"}, [("o/n", set())], False),
        ("v1.2", "OpenSoraVAE_V1_2", {"from_pretrained": "o/n"},
         [("o/n", set()), ("PixArt-alpha/pixart_sigma_sdxlvae_T5_diffusers", {"local_files_only"})], True),
        ("v1.2", "STDiT3-XL/2", {"from_pretrained": "o/n"}, [("o/n", BOTH)], False),
        ("v1.3", "t5", {"from_pretrained": "o/n"}, [("o/n", BOTH)] * 2, False),
        ("v1.3", "OpenSoraVAE_V1_3", {"from_pretrained": "o/n"}, [("o/n", set())], True),
        ("v1.3", "OpenSoraVAE_V1_3", {"from_pretrained": "/home/someone/x", "force_huggingface": True},
         [("/home/someone/x", set())], True),
        ("v1.3", "classes", {"num_classes": 3}, [], True),
    ],
)  # fmt: skip
def test_each_release_loads_what_its_loaders_say(
    tag: str, type_name: str, keywords: dict[str, object], expected: list[tuple[str, set[str]]], rejected: bool
) -> None:
    given = values(**keywords, cache_dir="/models", local_files_only=True)
    result = Sources(str(FIXTURES / tag)).trace(type_name, given)
    assert result.found
    assert [(call.repo_id, set(call.reached)) for call in result.calls] == expected
    assert any(each.key == "cache_dir" and not each.chain for each in result.rejections) == rejected
    assert ("cache_dir" in result.accepts) != rejected
    assert not result.unknown


def test_the_hidden_repo_is_named_with_its_subfolder_and_the_way_to_it() -> None:
    result = Sources(str(FIXTURES / "v1.2")).trace("OpenSoraVAE_V1_2", values(from_pretrained=None))
    hidden = only(result)
    assert hidden.repo_id == "PixArt-alpha/pixart_sigma_sdxlvae_T5_diffusers"
    assert (hidden.subfolder, hidden.hard_coded, hidden.library) == ("vae", True, "diffusers")
    functions = ["OpenSoraVAE_V1_2", "VideoAutoencoderPipeline.__init__", "VideoAutoencoderKL.__init__"]
    assert [step.function for step in hidden.chain] == functions
    assert hidden.chain[-1].line == hidden.line


@pytest.mark.parametrize("tag", ["v1.1", "v1.2"])
def test_t5_of_v1_1_takes_one_repo_id_and_nothing_else(tag: str) -> None:
    loaders = Sources(str(FIXTURES / tag))
    wrong = loaders.trace("t5", values(from_pretrained="./t5"))
    assert [failure.text for failure in wrong.failures] == ["from_pretrained in self.available_models"]
    assert not loaders.trace("t5", values(from_pretrained="DeepFloyd/t5-v1_1-xxl")).failures


def test_an_existing_checkpoint_is_read_from_disk(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    loaders = Sources(str(FIXTURES / "v1.2"))
    there = loaders.trace("STDiT3-XL/2", values(from_pretrained=str(tmp_path / "weights")))
    assert there.calls == ()
    assert repos(loaders.trace("STDiT3-XL/2", values(from_pretrained=str(tmp_path / "gone")))) == [
        str(tmp_path / "gone")
    ]


def test_load_checkpoint_of_v1_3_downloads_one_file_of_a_repo() -> None:
    call = only(Sources(str(FIXTURES / "v1.3")).trace("PixArt-XL/2", values(from_pretrained="org/name/model.pth")))
    assert (call.kind, call.repo_id, call.filename) == ("hf_hub_download", "org/name", "model.pth")
    assert (call.library, call.class_name) == ("huggingface_hub", "")


def test_the_keywords_that_a_nested_factory_forwards_are_rejected_further_in() -> None:
    given = values(from_pretrained="o/n/f.pt", cache_dir="/models")
    result = Sources(str(FIXTURES / "v1.3")).trace("VAE_Temporal_SD", given)
    rejection = next(each for each in result.rejections if each.key == "cache_dir")
    assert rejection.function == "VAE_Temporal.__init__"
    assert [step.function for step in rejection.chain] == ["VAE_Temporal_SD"]


# --- registering ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ('@MODELS.register_module("a-b")\nclass C:\n    def __init__(self): pass\n', "a-b"),
        ("@MODELS.register_module(name='a-b')\ndef f(): pass\n", "a-b"),
        ("@MODELS.register_module()\nclass Cls:\n    def __init__(self): pass\n", "Cls"),
        ("@MODELS.register_module(force=True)\ndef func(): pass\n", "func"),
        ('@other\n@MODELS.register_module("x")\n@torch.no_grad()\ndef func(): pass\n', "x"),
        ('@MODELS.register_module(name=["one", "two"])\ndef func(): pass\n', "two"),
        ('@MODELS.register_module(\n    "long",\n)\ndef func(): pass\n', "long"),
        ('def func(): pass\nMODELS.register_module(name="x", module=func)\n', "x"),
        ('def func(): pass\nMODELS.register_module("y")(func)\n', "y"),
        ("def func(): pass\nMODELS.register_module()(func)\n", "func"),
    ],
)
def test_every_way_of_registering_is_seen(tmp_path: Path, source: str, name: str) -> None:
    loaders = sources(tmp_path, loaders="from opensora.registry import MODELS\n" + source)
    assert name in loaders.index()
    assert loaders.trace(name, {}).found


def test_a_registry_may_have_another_name_here(tmp_path: Path) -> None:
    text = "from opensora.registry import MODELS as M\n@M.register_module('x')\ndef f(): pass\n"
    assert sorted(sources(tmp_path, loaders=text).index()) == ["x"]


@pytest.mark.parametrize(
    "source",
    [
        "from opensora.registry import DATASETS\n@DATASETS.register_module('x')\ndef f(): pass\n",
        "from opensora.registry import MODELS\n# @MODELS.register_module('x')\ndef f(): pass\n",
    ],
)
def test_other_registries_and_comments_register_no_model(tmp_path: Path, source: str) -> None:
    assert sorted(sources(tmp_path, loaders=source).index()) == []


def test_an_unregistered_type_is_not_found(tmp_path: Path) -> None:
    assert not sources(tmp_path).trace("nothing", values(from_pretrained="o/n")).found


def test_a_definition_shown_in_a_docstring_is_not_taken_for_one(tmp_path: Path) -> None:
    source = '''
    NOTE = """
def f(from_pretrained):
    return None
"""

    @MODELS.register_module("x")
    def f(from_pretrained, cache_dir=None):
        from transformers import AutoModel

        return AutoModel.from_pretrained(from_pretrained, cache_dir=cache_dir)
    '''
    source = "\n".join(line[4:] if line.startswith("    ") else line for line in source.splitlines())
    result = trace(tmp_path, source, "x", from_pretrained="o/n", cache_dir="/c")
    assert only(result).reached == {"cache_dir"}


# --- odd files --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b'@MODELS.register_module("bad")\ndef f(:\n', "not Python"),
        (b'x = "\0"\n@MODELS.register_module("bad")\ndef f(): pass\n', "NUL"),
        (b'# register_module \xff\n@MODELS.register_module("bad")\ndef f(): pass\n', "utf-8"),
        (b"# coding: none-such\n# register_module\n", "none-such"),
        (b'@MODELS.register_module("bad")\ndef f(): return ' + b"(" * 5000 + b")" * 5000, ""),
    ],
)
def test_a_broken_file_is_reported_and_passed_over(tmp_path: Path, data: bytes, word: str) -> None:
    loaders = sources(tmp_path, good="from opensora.registry import MODELS\n@MODELS.register_module()\ndef g(): pass\n")
    (tmp_path / "opensora" / "bad.py").write_bytes(data)
    assert loaders.trace("g", {}).found
    loaders.trace("bad", values(from_pretrained="o/n"))
    assert [os.path.basename(path) for path, _, _ in loaders.problems] == ["bad.py"]
    assert word in loaders.problems[0][2]


@pytest.mark.parametrize("newline", ["\r\n", "\r"])
def test_line_ends_and_a_byte_order_mark_change_nothing(tmp_path: Path, newline: str) -> None:
    text = (
        "from transformers import AutoModel\nfrom opensora.registry import MODELS\n\n\n@MODELS.register_module()\n"
        "def f(path):\n    return AutoModel.from_pretrained(path)\n"
    )
    loaders = sources(tmp_path)
    (tmp_path / "opensora" / "f.py").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", newline).encode())
    call = only(loaders.trace("f", values(path="o/n")))
    assert (call.line, call.column) == (7, 11)


def test_no_package_at_all_is_no_error(tmp_path: Path) -> None:
    assert sorted(Sources(str(tmp_path)).index()) == []


def test_a_cyclic_import_and_endless_recursion_come_to_an_end(tmp_path: Path) -> None:
    loaders = sources(
        tmp_path,
        a="from opensora.b import g\nfrom opensora.registry import MODELS, build_module\n"
        "@MODELS.register_module()\ndef f(x):\n    build_module\n    return g(x)\n",
        b="from opensora.a import f\ndef g(x):\n    return f(x)\n",
    )
    result = loaders.trace("f", values(x=1))
    assert any("calls itself" in note for note in result.unknown)


# --- following --------------------------------------------------------------------------------


def test_calls_are_followed_through_modules_and_packages(tmp_path: Path) -> None:
    loaders = sources(
        tmp_path,
        **{"models/__init__": "from .inner import *\n"},
        **{
            "models/inner": "from huggingface_hub import snapshot_download as fetch\n"
            "def get(repo, **kw):\n    return fetch(repo, **kw)\n"
        },
        loaders="import opensora.models.inner as m\nfrom opensora.models import get\n"
        "from opensora.registry import MODELS\n"
        "@MODELS.register_module()\ndef f(a, b, cache_dir=None):\n"
        "    get(a, cache_dir=cache_dir)\n    m.get(b, cache_dir='/elsewhere')\n",
    )
    result = loaders.trace("f", values(a="o/a", b="o/b", cache_dir="/c"))
    assert [(call.kind, call.repo_id, set(call.reached)) for call in result.calls] == [
        ("snapshot_download", "o/a", {"cache_dir"}),
        ("snapshot_download", "o/b", set()),
    ]


def test_a_key_counts_as_reached_only_if_the_config_gives_it(tmp_path: Path) -> None:
    source = """
    from transformers import AutoModel
    @MODELS.register_module()
    def f(path, cache_dir=None):
        AutoModel.from_pretrained(path, cache_dir=cache_dir)
    """
    assert only(trace(tmp_path, source, "f", path="o/n")).reached == frozenset()
    assert only(trace(tmp_path, source, "f", path="o/n", cache_dir=None)).reached == {"cache_dir"}


@pytest.mark.parametrize(
    ("expression", "arrives"),
    [
        ("cache_dir", True),
        ("os.path.expanduser(cache_dir)", True),
        ("cache_dir or None", True),
        ("str(cache_dir)", True),
        ("os.path.join(cache_dir, 'sub')", False),
        ("None", False),
        ("path", False),
    ],
)
def test_only_the_same_directory_counts_as_reached(tmp_path: Path, expression: str, arrives: bool) -> None:
    source = f"""
    import os
    from transformers import AutoModel
    @MODELS.register_module()
    def f(path, cache_dir=None):
        where = {expression}
        AutoModel.from_pretrained(path, cache_dir=where)
    """
    assert bool(only(trace(tmp_path, source, "f", path="o/n", cache_dir="/c")).reached) == arrives


def test_keywords_travel_in_dicts_and_on_objects(tmp_path: Path) -> None:
    source = """
    from transformers import AutoModel, PretrainedConfig
    class Config(PretrainedConfig):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
    class Model:
        def __init__(self, config):
            self.config = config
            self.load()
        def load(self):
            AutoModel.from_pretrained(self.config.path, **self.config.rest)
    @MODELS.register_module()
    def f(path, **kwargs):
        name = kwargs.pop("subfolder", None)
        rest = {**kwargs, "subfolder": name}
        rest.update(revision="abc")
        return Model(Config(path=path, rest=rest))
    """
    call = only(trace(tmp_path, source, "f", path="o/n", subfolder="s", cache_dir="/c"))
    assert (call.subfolder, call.revision, call.reached) == ("s", "abc", {"cache_dir"})


def test_a_dict_that_is_merged_in_place_keeps_its_keywords(tmp_path: Path) -> None:
    source = """
    from transformers import AutoModel
    @MODELS.register_module()
    def f(path, **kwargs):
        kwargs |= {"subfolder": "s"}
        AutoModel.from_pretrained(path, **kwargs)
    """
    call = only(trace(tmp_path, source, "f", path="o/n", cache_dir="/c"))
    assert (call.subfolder, call.reached) == ("s", {"cache_dir"})


def test_a_comprehension_over_known_items_is_followed_item_by_item(tmp_path: Path) -> None:
    source = """
    from transformers import AutoModel
    @MODELS.register_module("one")
    def one(path, cache_dir=None):
        AutoModel.from_pretrained(path, cache_dir=cache_dir)
    @MODELS.register_module()
    def f(cache_dir=None):
        parts = dict(type="one", path="o/a", cache_dir=cache_dir), dict(type="one", path="o/b")
        first, second = [build_module(part, MODELS) for part in parts]
    """
    result = trace(tmp_path, source, "f", cache_dir="/c")
    assert [(call.repo_id, set(call.reached), call.certain) for call in result.calls] == [
        ("o/a", {"cache_dir"}, True),
        ("o/b", set(), True),
    ]
    assert not result.unknown


def test_a_condition_that_cannot_be_decided_makes_calls_uncertain(tmp_path: Path) -> None:
    source = """
    import torch
    from transformers import AutoModel
    @MODELS.register_module()
    def f(path):
        if torch.cuda.is_available():
            AutoModel.from_pretrained("o/gpu")
        else:
            AutoModel.from_pretrained("o/cpu")
        AutoModel.from_pretrained(path)
    """
    result = trace(tmp_path, source, "f", path="o/n")
    assert [(call.repo_id, call.certain) for call in result.calls] == [
        ("o/gpu", False),
        ("o/cpu", False),
        ("o/n", True),
    ]


def test_what_follows_a_possible_return_is_uncertain_and_what_follows_a_possible_raise_is_not(tmp_path: Path) -> None:
    source = """
    import torch
    from transformers import AutoModel
    @MODELS.register_module()
    def f():
        if torch.a():
            raise ValueError
        AutoModel.from_pretrained("o/first")
        if torch.b():
            return
        AutoModel.from_pretrained("o/second")
    """
    result = trace(tmp_path, source, "f")
    assert [(call.repo_id, call.certain) for call in result.calls] == [("o/first", True), ("o/second", False)]


def test_branches_do_not_see_each_other_and_are_joined_after(tmp_path: Path) -> None:
    source = """
    import torch
    from transformers import AutoModel
    @MODELS.register_module()
    def f(path, cache_dir=None):
        kwargs = dict(cache_dir=cache_dir)
        if torch.a():
            kwargs["cache_dir"] = None
        else:
            AutoModel.from_pretrained("o/else", **kwargs)
        AutoModel.from_pretrained("o/after", **kwargs)
    """
    result = trace(tmp_path, source, "f", path="o/n", cache_dir="/c")
    assert [(call.repo_id, set(call.reached)) for call in result.calls] == [
        ("o/else", {"cache_dir"}),
        ("o/after", set()),
    ]


def test_one_of_two_repos_is_listed_as_both(tmp_path: Path) -> None:
    source = """
    import torch
    from transformers import AutoModel
    @MODELS.register_module()
    def f(path):
        AutoModel.from_pretrained("o/large" if torch.a() else path)
    """
    result = trace(tmp_path, source, "f", path="o/n")
    assert [(c.repo_id, c.hard_coded, c.certain) for c in result.calls] == [
        ("o/large", True, False),
        ("o/n", False, False),
    ]


@pytest.mark.parametrize(
    ("condition", "taken"),
    [
        ("path is not None", True),
        ("not path", False),
        ("path == 'o/n' and flag", True),
        ("flag and path is None", False),
        ("path in ['o/n', 'x']", True),
        ("'zzz' in path", False),
        ("isinstance(path, str)", True),
        ("path.endswith('.pt') or path.endswith('.pth')", False),
        ("os.path.exists(path)", False),
        ("len(path) > 2", True),
        ("path.split('/')[-1] == 'n'", True),
        ("f'{path}.bin' != 'o/n.bin'", False),
    ],
)
def test_conditions_on_known_values_are_decided(tmp_path: Path, condition: str, taken: bool) -> None:
    source = f"""
    import os
    from transformers import AutoModel
    @MODELS.register_module()
    def f(path, flag=True):
        if {condition}:
            AutoModel.from_pretrained(path)
    """
    result = trace(tmp_path, source, "f", path="o/n")
    assert [call.certain for call in result.calls] == ([True] if taken else [])


def test_a_config_value_that_is_no_literal_decides_nothing_and_is_shown_as_written(tmp_path: Path) -> None:
    source = """
    from transformers import AutoModel
    @MODELS.register_module()
    def f(path, cache_dir=None):
        AutoModel.from_pretrained(path, cache_dir=cache_dir)
    """
    open_value = Value(False, None, 'os.environ["REPO"]')
    call = only(trace(tmp_path, source, "f", path=open_value, cache_dir=Value(False, None, "DIR")))
    assert (call.repo_id, call.repo_text, call.reached) == (None, 'os.environ["REPO"]', {"cache_dir"})


def test_a_nested_config_dict_is_built_and_answers_for_itself(tmp_path: Path) -> None:
    source = """
    from transformers import AutoModel
    @MODELS.register_module()
    class Inner:
        def __init__(self, path, cache_dir=None):
            self.model = AutoModel.from_pretrained(path, cache_dir=cache_dir)
    @MODELS.register_module()
    class Outer:
        def __init__(self, inner):
            self.inner = build_module(inner, MODELS)
    """
    inner = {"type": "Inner", "path": "o/n", "cache_dir": "/c", "wrong": 1}
    result = trace(tmp_path, source, "Outer", inner=inner)
    assert (only(result).via, only(result).reached) == (("inner",), {"cache_dir"})
    assert [(each.key, each.via) for each in result.rejections] == [("wrong", ("inner",))]


@pytest.mark.parametrize(
    ("rest", "reached"),
    [
        ({"cache_dir": "/old"}, set()),
        ({"inner": {"cache_dir": "/old"}}, set()),
        ({"type": "x", "cache_dir": "/old"}, {"cache_dir"}),
        ({"inner": {"type": "x", "cache_dir": "/old"}}, {"cache_dir"}),
    ],
)
def test_a_key_in_a_nested_dict_is_that_of_what_it_builds_and_never_the_loaders_own(
    tmp_path: Path, rest: dict[str, object], reached: set[str]
) -> None:
    source = """
    from transformers import AutoModel
    @MODELS.register_module("x")
    def x(cache_dir=None):
        return AutoModel.from_pretrained("o/x", cache_dir=cache_dir)
    @MODELS.register_module()
    def f(path, cache_dir=None, rest=None):
        rest = rest.get("inner", rest)
        if "type" in rest:
            return build_module(rest, MODELS)
        return AutoModel.from_pretrained(path, **rest)
    """
    assert only(trace(tmp_path, source, "f", path="o/n", cache_dir="/m", rest=rest)).reached == reached


@pytest.mark.parametrize(
    ("helper", "arrives"),
    [
        ("def reset():\n    S.dir = None", False),
        ("def reset():\n    S.dir, other = None, 1", False),
        ("def reset():\n    other, S.dir = 1, None", False),
        ("def reset():\n    S.dir: str = None", False),
        ("def reset():\n    del S.dir\n    S.dir = None", False),
        ("def reset():\n    setattr(S, 'dir', None)", False),
        ("def reset():\n    here = S\n    here.dir = None", False),
        ("def reset():\n    here: type = S\n    there = here  # the same\n    there.dir = None", False),
        ("def reset():\n    S.reset()", False),
        ("def reset():\n    S().renew()", False),
        ("def reset():\n    S().change()", False),
        ("def reset():\n    vars(other)\n    vars(S)\n    S.dir = None", False),
        ("class reset:\n    OPTS['dir'] = 'c'", True),
        ("def reset():\n    inner()\ndef inner():\n    S.dir = None", False),
        ("class reset:\n    def __init__(self):\n        S.dir = None", False),
        ("def reset():\n    S.opts['inner']['dir'] = None", False),
        ("def reset():\n    S.opts.get('inner')\n    OPTS['inner'].update(dir=None)", False),
        ("def reset():\n    OPTS.clear()", False),
        ("def reset():\n    OPTS['dir'] = None", False),
        ("def reset():\n    OPTS['dir'] = FIRST['dir'] = None", False),
        ("def reset():\n    del OPTS['dir']", False),
        ("def reset():\n    OPTS.pop('dir')", False),
        ("import opensora.shared as shared\ndef reset():\n    shared.S.dir = None", False),
        ("def reset():\n    other.reset()", False),
        ("def reset(S=None):\n    S = made()\n    S.dir = None", True),
        ("def reset():\n    here = S\n    print(here, S.dir == 1)", True),
        ("def reset():\n    here = FIRST\n    here.clear()", True),
        ("def reset():\n    here = there\n    there = here\n    S\n    made()", True),
        ("def reset():\n    vars(made)['S'] = None", True),
        ("def reset():\n    made().S = setattr(made(), 'S', None)\n    made()(1)", True),
        ("def reset():\n    return S.dir", True),
        ("def reset():\n    return (\n        OPTS\n    )", True),
    ],
)
def test_what_a_helper_that_loads_nothing_changes_for_others_is_changed(
    tmp_path: Path, helper: str, arrives: bool
) -> None:
    shared = """
class S:
    dir = None
    @classmethod
    def reset(cls):
        cls.dir = None
    def renew(self):
        self.__class__.dir = None
    def change(self):
        type(self).dir = None
class Other:
    def reset(self):
        S.dir = None
other = Other()
FIRST = {}
OPTS = {"dir": None, "inner": {"dir": None}}
"""
    loader = """
@MODELS.register_module()
def f(path, cache_dir=None):
    S.opts = OPTS
    S.dir = OPTS["dir"] = OPTS["inner"]["dir"] = cache_dir
    reset()
    where = cache_dir if S.dir == OPTS.get("dir") == OPTS.get("inner", {}).get("dir") == cache_dir else None
    AutoModel.from_pretrained(path, cache_dir=where)
"""
    head = (
        "from transformers import AutoModel\nfrom opensora.registry import MODELS\n"
        "from opensora.shared import FIRST, OPTS, Other, S, other\n"
    )
    result = sources(tmp_path, shared=shared, loaders=head + helper + loader)
    call = only(result.trace("f", values(path="o/n", cache_dir="/c")))
    assert call.reached == ({"cache_dir"} if arrives else set())


def test_what_cannot_be_followed_is_said(tmp_path: Path) -> None:
    source = """
    import json
    from opensora.gone import helper
    @MODELS.register_module()
    def f(path):
        build_module(json.load(path), MODELS)
        build_module(dict(type="nowhere"), MODELS)
        helper(path)
        json.load(path).from_pretrained("o/n")
    """
    notes = trace(tmp_path, source, "f", path="x").unknown
    assert len(notes) == 4
    assert any("what it builds cannot be told" in note for note in notes)
    assert any('"nowhere" is not registered' in note for note in notes)
    assert any("opensora.gone.helper is not in the sources" in note for note in notes)
    assert any("from_pretrained(...)" in note for note in notes)


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (
            "def f(path):\n    return (lambda p: AutoModel.from_pretrained(p))(path)\n",
            "a lambda in opensora/loaders.py:",
        ),
        ("class f:\n    def __new__(cls, path):\n        return AutoModel.from_pretrained(path)\n", "f.__new__ in"),
    ],
)
def test_a_hub_call_in_a_lambda_or_in_new_is_said(tmp_path: Path, body: str, word: str) -> None:
    head = "from transformers import AutoModel\nfrom opensora.registry import MODELS\n\n@MODELS.register_module()\n"
    notes = trace(tmp_path, head.replace("\n\n", "\n") + body, "f", path="o/n").unknown
    assert len(notes) == 1
    assert word in notes[0]


def test_methods_are_looked_up_through_every_base_class(tmp_path: Path) -> None:
    source = """
    from transformers import AutoModel
    class Root:
        def load(self, path, cache_dir=None):
            self.model = AutoModel.from_pretrained(path, cache_dir=cache_dir)
    class Middle(Root):
        pass
    @MODELS.register_module()
    class Leaf(Middle):
        def __init__(self, path, cache_dir=None):
            self.load(path, cache_dir)
    """
    assert only(trace(tmp_path, source, "Leaf", path="o/n", cache_dir="/c")).reached == {"cache_dir"}


def test_keywords_that_only_running_would_tell_may_be_anything(tmp_path: Path) -> None:
    source = """
    import json
    from transformers import AutoModel
    def load(path, cache_dir=None, **rest):
        return AutoModel.from_pretrained(path, cache_dir=cache_dir)
    @MODELS.register_module()
    def f(path, cache_dir=None):
        return load(path, cache_dir=cache_dir, **json.load(path))
    """
    result = trace(tmp_path, source, "f", path="o/n", cache_dir="/c")
    assert (only(result).repo_id, only(result).reached) == ("o/n", {"cache_dir"})
    assert result.rejections == ()


def test_a_checkout_class_with_its_own_from_pretrained_is_no_hub_call(tmp_path: Path) -> None:
    source = """
    from transformers import PreTrainedModel
    class Own(PreTrainedModel):
        @classmethod
        def from_pretrained(cls, path):
            return cls()
    class Inherited(PreTrainedModel):
        pass
    @MODELS.register_module()
    def f(path):
        Own.from_pretrained(path)
        Inherited.from_pretrained(path)
    """
    call = only(trace(tmp_path, source, "f", path="o/n"))
    assert (call.library, call.class_name) == ("opensora", "Inherited")


def test_a_dataclass_config_takes_its_fields_and_nothing_else(tmp_path: Path) -> None:
    source = """
    from dataclasses import dataclass
    from transformers import AutoModel
    @dataclass
    class Config:
        path: str
        cache_dir: str = None
    @MODELS.register_module()
    def f(path, **kwargs):
        config = Config(path=path, **kwargs)
        AutoModel.from_pretrained(config.path, cache_dir=config.cache_dir)
    """
    result = trace(tmp_path, source, "f", path="o/n", cache_dir="/c", local_files_only=True)
    assert only(result).reached == {"cache_dir"}
    assert [each.key for each in result.rejections] == ["local_files_only"]


@pytest.mark.parametrize(
    ("source", "rejected"),
    [
        ("class Inner: pass", True),
        ("class Inner(object): pass", True),
        ("@MODELS.register_module()\nclass Inner: pass", True),
        ("from abc import ABC\nclass Inner(ABC): pass", True),
        ("class Inner(torch.nn.Module): pass", True),
        ("class Inner(torch.nn.Sequential): pass", True),
        ("class Inner:\n    def __init__(self, **kwargs):\n        super().__init__(**kwargs)", True),
        ("class Inner(nn.Module):\n    def __init__(self, **kwargs):\n        super().__init__(**kwargs)", True),
        (
            "class Inner(nn.Module):\n    def __init__(self, **kwargs):\n        kwargs.pop('cache_dir')\n"
            "        super().__init__(**kwargs)",
            False,
        ),
        ("class Inner(dict): pass", False),
        ("class Inner(PreTrainedModel): pass", False),
        ("class Inner(PreTrainedModel, nn.Module): pass", False),
        ("class Inner(made()): pass", False),
        ("@attrs.define\nclass Inner:\n    cache_dir: str", False),
        ("class Inner(metaclass=Meta): pass", False),
        ("class Inner:\n    def __new__(cls, **kwargs):\n        return 1", False),
        ("class Inner:\n    if made():\n        def __init__(self, **kwargs):\n            pass", False),
        (
            "@dataclass\nclass Base:\n    cache_dir: str\nclass Inner(Base):\n    def __init__(self, **kwargs):\n"
            "        super().__init__(**kwargs)",
            False,
        ),
        ("class Inner:\n    def __init__(self, **kwargs):\n        super(Other, self).__init__(**kwargs)", False),
        ("@dataclass\nclass Inner:\n    cache_dir: str = field(default=None, init=False)", True),
        ("@dataclass\nclass Inner:\n    cache_dir: str = field(default=None, init=True)", False),
        ("@dataclass\nclass Inner:\n    cache_dir: ClassVar[str] = None", True),
        ("@dataclass\nclass Inner:\n    cache_dir: 'typing.ClassVar' = None", True),
        ("@dataclass\nclass Base:\n    cache_dir: str\n@dataclass\nclass Inner(Base):\n    size: int = 1", False),
        (
            "@dataclass\nclass Base:\n    cache_dir: str\n@dataclass\nclass Inner(Base):\n"
            "    cache_dir: str = field(init=False)",
            True,
        ),
    ],
)
@pytest.mark.parametrize("use", ["Inner(**kwargs)", "inner = Inner(**kwargs)\n    inner.size"])
def test_what_a_class_without_parameters_takes_is_what_stands_behind_it(
    tmp_path: Path, source: str, rejected: bool, use: str
) -> None:
    head = (
        "import attrs, torch\nfrom dataclasses import dataclass, field\nfrom typing import ClassVar\n"
        "from torch import nn\nfrom transformers import AutoModel, PreTrainedModel\nclass Other: pass\n"
    )
    loader = (
        "\n@MODELS.register_module()\ndef f(path, **kwargs):\n"
        f"    AutoModel.from_pretrained(path, **kwargs)\n    {use}\n"
    )
    result = trace(tmp_path, head + source + loader, "f", path="o/n", cache_dir="/c")
    assert [(each.key, each.function) for each in result.rejections] == (
        [("cache_dir", "Inner.__init__")] if rejected else []
    )


def test_what_torch_refuses_beside_what_is_followed_is_not_known(tmp_path: Path) -> None:
    source = """
    import torch
    class Inner(torch.nn.Conv3d):
        pass
    @MODELS.register_module()
    def f(**kwargs):
        Inner(**kwargs)
    """
    result = trace(tmp_path, source, "f", bias=False, local_files_only=True)
    assert [each.key for each in result.rejections] == ["local_files_only"]


def test_a_keyword_that_may_be_gone_before_it_is_given_again_is_none_too_many(tmp_path: Path) -> None:
    source = """
    from transformers import AutoModel
    @MODELS.register_module()
    def f(path, **kwargs):
        if path.unknown():
            kwargs.pop("revision")
            kwargs.pop("cache_dir")
        AutoModel.from_pretrained(path, revision="r", cache_dir=None, **kwargs)
    """
    result = trace(tmp_path, source, "f", path="o/n", revision="s", cache_dir="/c")
    assert [each.key for each in result.rejections] == ["cache_dir"]


def test_calls_are_not_each_compared_with_every_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = 0

    def equal(self: HubCall, other: object) -> bool:
        nonlocal compared
        compared += 1
        return Frozen.__eq__(self, other)

    helpers = "\n".join(
        f"def f{place}(path):\n    if path.a():\n        f{place + 1}(path)\n    else:\n        f{place + 1}(path)"
        for place in range(8)
    )
    head = "from transformers import AutoModel\nfrom opensora.registry import MODELS\n"
    last = "\ndef f8(path):\n    AutoModel.from_pretrained(path)\n    AutoModel.from_pretrained(path)\n"
    loaders = sources(tmp_path, loaders=f"{head}@MODELS.register_module('x')\n{helpers}{last}")
    monkeypatch.setattr(HubCall, "__eq__", equal)
    calls = loaders.trace("x", values(path="o/n")).calls
    assert len(calls) == len({tuple(step.line for step in call.chain) for call in calls}) == 512
    assert compared <= len(calls)


def test_overlay_bytes_stand_for_the_file(tmp_path: Path) -> None:
    loaders = sources(tmp_path, f="from opensora.registry import MODELS\n@MODELS.register_module()\ndef f(): pass\n")
    path = str(tmp_path / "opensora" / "f.py")
    edited = (tmp_path / "opensora" / "f.py").read_bytes().replace(b"f()", b"f(cache_dir=None)")
    assert loaders.trace("f", {}).accepts == frozenset()
    assert Sources(str(tmp_path), overlay={path: edited}).trace("f", {}).accepts == {"cache_dir"}


def test_reading_executes_nothing(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    source = f"""
    open({str(canary)!r}, "w").close()
    @MODELS.register_module()
    def f(path=open({str(canary)!r}, "w")):
        open({str(canary)!r}, "w").close()
    """
    assert trace(tmp_path, source, "f").found
    assert not canary.exists()


def test_traces_are_told_apart_by_the_values_that_matter(tmp_path: Path) -> None:
    loaders = sources(
        tmp_path,
        f="from transformers import AutoModel\nfrom opensora.registry import MODELS\n@MODELS.register_module()\n"
        "def f(path, size=1, big=False):\n    if big:\n        AutoModel.from_pretrained(path)\n",
    )
    assert repos(loaders.trace("f", values(path="o/a", size=1, big=True))) == ["o/a"]
    assert repos(loaders.trace("f", values(path="o/b", size=2, big=True))) == ["o/b"]
    assert repos(loaders.trace("f", values(path="o/b", size=3, big=False))) == []
    assert repos(loaders.trace("f", values(path="o/a", size=9, big=True))) == ["o/a"]


@pytest.mark.parametrize(
    ("second", "repo"),
    [
        ("REPO = 'o/second'\n", "o/second"),
        ("REPO = make()\n", None),
        ("from opensora.third import *\n", "o/first"),
        ("OTHER = 1\n", "o/first"),
    ],
)
def test_the_last_star_import_that_has_a_name_gives_it(second: str, repo: str | None, tmp_path: Path) -> None:
    loaders = """
    from transformers import AutoModel
    from opensora.registry import MODELS
    from opensora.first import *
    from opensora.second import *

    @MODELS.register_module()
    def f():
        AutoModel.from_pretrained(REPO)
    """
    found = sources(tmp_path, loaders=loaders, first="REPO = 'o/first'\n", second=second, third="OTHER = 1\n")
    assert repos(found.trace("f", {})) == [repo]


@pytest.mark.parametrize("package", ["from . import hub\n", "from . import hub, loaders\n", "hub = None\n", ""])
def test_a_module_that_its_package_imports_is_found_in_the_package(package: str, tmp_path: Path) -> None:
    loaders = """
    from opensora.registry import MODELS
    from . import hub

    @MODELS.register_module()
    def f(path):
        return hub.load(path)
    """
    hub = "from transformers import AutoModel\ndef load(path):\n    return AutoModel.from_pretrained(path)\n"
    found = sources(tmp_path, loaders=loaders, hub=hub, __init__=package)
    assert repos(found.trace("f", values(path="o/n"))) == ([] if "None" in package else ["o/n"])
