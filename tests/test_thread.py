"""Threading a keyword through loaders: the changes, and what the edited sources then do."""

from __future__ import annotations

import ast
import inspect
import sys
import types
from pathlib import Path
from typing import ClassVar

import pytest
from conftest import FIXTURES
from loading import sources, values

from rewriter.edits.source import edit_source
from rewriter.loaders import Sources
from rewriter.proof import compare_source
from rewriter.thread import SpecialCase, Threading, thread
from rewriter.types import SourceChange, Span, Value

HEAD = (
    "import os\nfrom transformers import AutoModel, PreTrainedModel, PretrainedConfig\n"
    "from opensora.registry import MODELS, build_module\n\n"
)


def edited(loaders: Sources, *results: Threading) -> Sources:
    """The sources after all these changes."""
    changes: dict[str, list[SourceChange]] = {}
    for result in results:
        assert result.refusal is None, result.refusal
        for change in result.changes:
            changes.setdefault(change.path, []).append(change)
    overlay = {path: edit_source(Path(path).read_bytes(), asked) for path, asked in changes.items()}
    for path, asked in changes.items():
        assert compare_source(Path(path).read_bytes(), overlay[path], asked) is None
    return Sources(loaders.root, overlay=overlay)


def text(after: Sources, name: str = "loaders") -> str:
    return next(data.decode() for path, data in after.overlay.items() if path.endswith(f"{name}.py"))


def threaded(root: Path, body: str, name: str = "f", key: str = "cache_dir", **keywords: object) -> str:
    """Thread a key through one small loader; every call must see it then, and a second run must find nothing to do."""
    loaders = sources(root, loaders=HEAD + body)
    keywords = keywords or {"path": "o/n"}
    result = thread(loaders, name, values(**keywords), key)
    after = edited(loaders, result)
    assert_reached(after, name, key, **keywords)
    return text(after)[len(HEAD) :]


def assert_reached(after: Sources, name: str, key: str, **keywords: object) -> None:
    trace = after.trace(name, values(**{**keywords, key: "/c"}))
    assert trace.calls
    assert all(key in call.reached for call in trace.calls), trace.calls
    assert not trace.rejections
    again = thread(after, name, values(**keywords), key)
    assert (again.changes, again.refusal) == ((), None)


# --- the four releases ------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["cache_dir", "local_files_only"])
@pytest.mark.parametrize(
    ("tag", "type_name", "path"),
    [
        ("v1.0", "t5", "./pretrained_models/t5_ckpts"),
        ("v1.0", "clip", "openai/clip"),
        ("v1.0", "VideoAutoencoderKL", "o/n"),
        ("v1.0", "VideoAutoencoderKLTemporalDecoder", "o/n"),
        ("v1.1", "clip", "openai/clip"),
        ("v1.1", "STDiT2-XL/2", "o/n"),
        ("v1.2", "OpenSoraVAE_V1_2", "o/n"),
        ("v1.2", "OpenSoraVAE_V1_2", "/mnt/someone/vae"),
        ("v1.3", "OpenSoraVAE_V1_2", "o/n"),
        ("v1.3", "OpenSoraVAE_V1_3", "o/n"),
        ("v1.3", "PixArt-XL/2", "o/n/model.pth"),
    ],
)
def test_every_hub_call_of_a_release_is_reached(tag: str, type_name: str, path: str, key: str) -> None:
    loaders = Sources(str(FIXTURES / tag))
    result = thread(loaders, type_name, values(from_pretrained=path), key)
    assert_reached(edited(loaders, result), type_name, key, from_pretrained=path)


@pytest.mark.parametrize(
    ("tag", "type_name", "keywords"),
    [
        ("v1.0", "classes", {"num_classes": 3}),
        ("v1.1", "t5", {"from_pretrained": "DeepFloyd/t5-v1_1-xxl"}),
        ("v1.2", "VideoAutoencoderKL", {"from_pretrained": "o/n"}),
        ("v1.2", "STDiT3-XL/2", {"from_pretrained": "o/n"}),
    ],
)
def test_what_loads_nothing_or_takes_the_key_already_stays(
    tag: str, type_name: str, keywords: dict[str, object]
) -> None:
    assert thread(Sources(str(FIXTURES / tag)), type_name, values(**keywords), "cache_dir") == Threading()


def test_the_factory_of_v1_2_gets_a_parameter_and_passes_it_to_both_repos_and_not_to_the_temporal_vae() -> None:
    loaders = Sources(str(FIXTURES / "v1.2"))
    result = thread(loaders, "OpenSoraVAE_V1_2", values(from_pretrained="o/n"), "cache_dir")
    assert sorted(change.target for change in result.changes) == ["call", "dict", "parameter"]
    tree = ast.parse(text(edited(loaders, result), "vae"))
    factory = next(node for node in tree.body if getattr(node, "name", "") == "OpenSoraVAE_V1_2")
    temporal = next(
        node.value
        for node in ast.walk(factory)
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "vae_temporal"
    )
    assert "cache_dir" not in ast.unparse(temporal)


def test_v1_0_t5_loads_its_repo_from_the_cache_and_keeps_its_old_way_without_one() -> None:
    loaders = Sources(str(FIXTURES / "v1.0"))
    given = values(from_pretrained="./pretrained_models/t5_ckpts")
    result = thread(loaders, "t5", given, "cache_dir")
    assert result.to_repo
    after = edited(loaders, result)
    with_cache = after.trace("t5", {**given, **values(cache_dir="/c")})
    assert [call.repo_id for call in with_cache.calls] == ["DeepFloyd/t5-v1_1-xxl"] * 2
    without = after.trace("t5", given)
    assert [call.repo_id for call in without.calls] == ["./pretrained_models/t5_ckpts/t5-v1_1-xxl"] * 2
    assert not without.rejections


def test_both_keys_together_reach_v1_0_t5() -> None:
    loaders = Sources(str(FIXTURES / "v1.0"))
    given = values(from_pretrained="./pretrained_models/t5_ckpts")
    results = [thread(loaders, "t5", given, key) for key in ("cache_dir", "local_files_only")]
    trace = edited(loaders, *results).trace("t5", {**given, **values(cache_dir="/c", local_files_only=True)})
    assert {call.reached for call in trace.calls} == {frozenset({"cache_dir", "local_files_only"})}


# --- the algorithm ----------------------------------------------------------------------------


def test_every_function_on_the_way_gets_a_trailing_parameter(tmp_path: Path) -> None:
    body = (
        "class Inner:\n"
        "    def __init__(self, path, *, size=1):\n"
        "        self.model = AutoModel.from_pretrained(path)\n\n\n"
        "def helper(path):\n"
        "    return Inner(path, size=2)\n\n\n"
        "@MODELS.register_module()\n"
        "def f(path=None, size=3):\n"
        "    return helper(path)\n"
    )
    assert threaded(tmp_path, body) == (
        "class Inner:\n"
        "    def __init__(self, path, *, size=1, cache_dir=None):\n"
        "        self.model = AutoModel.from_pretrained(path, cache_dir=cache_dir)\n\n\n"
        "def helper(path, cache_dir=None):\n"
        "    return Inner(path, size=2, cache_dir=cache_dir)\n\n\n"
        "@MODELS.register_module()\n"
        "def f(path=None, size=3, cache_dir=None):\n"
        "    return helper(path, cache_dir=cache_dir)\n"
    )


def test_kwargs_that_carry_the_key_to_every_call_are_left_alone(tmp_path: Path) -> None:
    body = "@MODELS.register_module()\ndef f(path, **kw):\n    return AutoModel.from_pretrained(path, **kw)\n"
    loaders = sources(tmp_path, loaders=HEAD + body)
    assert thread(loaders, "f", values(path="o/n"), "cache_dir") == Threading()


def test_a_dict_of_the_module_is_built_with_the_key_as_a_further_keyword(tmp_path: Path) -> None:
    body = (
        'SPEC = dict(type="inner", path="o/inner")\n\n\n'
        "@MODELS.register_module()\ndef inner(path, cache_dir=None):\n"
        "    return AutoModel.from_pretrained(path, cache_dir=cache_dir)\n\n\n"
        "@MODELS.register_module()\ndef f(path):\n    return build_module(SPEC, MODELS)\n"
    )
    assert "build_module(SPEC, MODELS, cache_dir=cache_dir)" in threaded(tmp_path, body)


def test_an_existing_local_path_needs_no_threading(tmp_path: Path) -> None:
    body = "@MODELS.register_module()\ndef f(path):\n    return AutoModel.from_pretrained(path)\n"
    loaders = sources(tmp_path, loaders=HEAD + body)
    assert thread(loaders, "f", values(path=str(tmp_path)), "cache_dir") == Threading()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("def f(path):\n    return AutoModel.from_pretrained(path)\n", 'def f(path, cache_dir="/d"):'),
        (
            "def f(path, cache_dir=None):\n    return AutoModel.from_pretrained(path, cache_dir=cache_dir)\n",
            'def f(path, cache_dir="/d"):',
        ),
        (
            "def f(path, **kw):\n    return AutoModel.from_pretrained(path, **kw)\n",
            'def f(path, cache_dir="/d", **kw):',
        ),
    ],
)
def test_a_default_directory_is_written_into_the_loaders_own_parameter(
    tmp_path: Path, body: str, expected: str
) -> None:
    loaders = sources(tmp_path, loaders=HEAD + "@MODELS.register_module()\n" + body)
    after = edited(loaders, thread(loaders, "f", values(path="o/n"), "cache_dir", default="/d"))
    assert expected in text(after)
    assert thread(after, "f", values(path="o/n"), "cache_dir", default="/d").changes == ()


def test_inner_functions_keep_none_as_default(tmp_path: Path) -> None:
    body = (
        "def load(path):\n    return AutoModel.from_pretrained(path)\n\n\n"
        "@MODELS.register_module()\ndef f(path):\n    return load(path)\n"
    )
    loaders = sources(tmp_path, loaders=HEAD + body)
    after = text(edited(loaders, thread(loaders, "f", values(path="o/n"), "cache_dir", default="/d")))
    assert "def load(path, cache_dir=None):" in after


def test_a_function_that_is_called_after_another_loader_was_built_keeps_none_as_default(tmp_path: Path) -> None:
    body = (
        "@MODELS.register_module()\ndef inner(path):\n    return AutoModel.from_pretrained(path)\n\n\n"
        "def load(path):\n    return AutoModel.from_pretrained(path)\n\n\n"
        "@MODELS.register_module()\ndef f(path):\n"
        "    return build_module({'type': 'inner', 'path': path}, MODELS), load(path)\n"
    )
    loaders = sources(tmp_path, loaders=HEAD + body)
    after = text(edited(loaders, thread(loaders, "f", values(path="o/n"), "cache_dir", default="/d")))
    for header in ('inner(path, cache_dir="/d")', "load(path, cache_dir=None)", 'f(path, cache_dir="/d")'):
        assert f"def {header}:" in after


def test_a_loader_that_is_given_nothing_else_is_led_through(tmp_path: Path) -> None:
    body = "@MODELS.register_module()\ndef f(cache_dir=None):\n    return AutoModel.from_pretrained('o/n')\n"
    loaders = sources(tmp_path, loaders=HEAD + body)
    after = text(edited(loaders, thread(loaders, "f", values(), "cache_dir")))
    assert after == HEAD + body.replace("'o/n')", "'o/n', cache_dir=cache_dir)")


def test_a_class_that_loads_nothing_by_itself_is_led_through(tmp_path: Path) -> None:
    body = (
        "class Helper:\n    def __init__(self, make, path):\n        self.size = 1\n"
        "        self.model = make(path)\n\n\n"
        "@MODELS.register_module()\ndef f(path):\n    return Helper(AutoModel.from_pretrained, path)\n"
    )
    loaders = sources(tmp_path, loaders=HEAD + body)
    after = text(edited(loaders, thread(loaders, "f", values(path="o/n"), "cache_dir")))
    assert "def __init__(self, make, path, cache_dir=None):\n" in after
    assert "self.model = make(path, cache_dir=cache_dir)\n" in after


# --- tables -----------------------------------------------------------------------------------

LEADS = {
    "a call": (
        "@MODELS.register_module()\ndef f(path):\n    return AutoModel.from_pretrained(path)\n",
        "@MODELS.register_module()\n"
        "def f(path, cache_dir=None):\n"
        "    return AutoModel.from_pretrained(path, cache_dir=cache_dir)\n",
    ),
    "two calls": (
        "@MODELS.register_module()\n"
        "def f(path):\n"
        "    a = AutoModel.from_pretrained(path)\n"
        "    b = AutoModel.from_pretrained(path)\n"
        "    return a, b\n",
        "@MODELS.register_module()\n"
        "def f(path, cache_dir=None):\n"
        "    a = AutoModel.from_pretrained(path, cache_dir=cache_dir)\n"
        "    b = AutoModel.from_pretrained(path, cache_dir=cache_dir)\n"
        "    return a, b\n",
    ),
    "both branches": (
        "@MODELS.register_module()\n"
        "def f(path, x=NAME):\n"
        "    if x:\n"
        "        return AutoModel.from_pretrained(path)\n"
        "    return AutoModel.from_pretrained(path)\n",
        "@MODELS.register_module()\n"
        "def f(path, x=NAME, cache_dir=None):\n"
        "    if x:\n"
        "        return AutoModel.from_pretrained(path, cache_dir=cache_dir)\n"
        "    return AutoModel.from_pretrained(path, cache_dir=cache_dir)\n",
    ),
    "a method": (
        "@MODELS.register_module()\n"
        "class f:\n"
        "    def __init__(self, path):\n"
        "        self.load(path)\n"
        "\n"
        "    def load(self, path):\n"
        "        self.m = AutoModel.from_pretrained(path)\n",
        "@MODELS.register_module()\n"
        "class f:\n"
        "    def __init__(self, path, cache_dir=None):\n"
        "        self.load(path, cache_dir=cache_dir)\n"
        "\n"
        "    def load(self, path, cache_dir=None):\n"
        "        self.m = AutoModel.from_pretrained(path, cache_dir=cache_dir)\n",
    ),
    "a method with **kwargs": (
        "@MODELS.register_module()\n"
        "class f:\n"
        "    def __init__(self, path, **kw):\n"
        "        self.load(path, **kw)\n"
        "\n"
        "    def load(self, path, size=1, **kw):\n"
        "        self.m = AutoModel.from_pretrained(path)\n",
        "@MODELS.register_module()\n"
        "class f:\n"
        "    def __init__(self, path, **kw):\n"
        "        self.load(path, **kw)\n"
        "\n"
        "    def load(self, path, size=1, cache_dir=None, **kw):\n"
        "        self.m = AutoModel.from_pretrained(path, cache_dir=cache_dir)\n",
    ),
    "an inherited __init__": (
        "class Base:\n"
        "    def __init__(self, path, size=1):\n"
        "        self.m = AutoModel.from_pretrained(path)\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "class f(Base):\n"
        "    pass\n",
        "class Base:\n"
        "    def __init__(self, path, size=1, cache_dir=None):\n"
        "        self.m = AutoModel.from_pretrained(path, cache_dir=cache_dir)\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "class f(Base):\n"
        "    pass\n",
    ),
    "super().__init__": (
        "class Base:\n"
        "    def __init__(self, path):\n"
        "        self.m = AutoModel.from_pretrained(path)\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "class f(Base):\n"
        "    def __init__(self, path, **kw):\n"
        "        super().__init__(path, **kw)\n",
        "class Base:\n"
        "    def __init__(self, path, cache_dir=None):\n"
        "        self.m = AutoModel.from_pretrained(path, cache_dir=cache_dir)\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "class f(Base):\n"
        "    def __init__(self, path, cache_dir=None, **kw):\n"
        "        super().__init__(path, cache_dir=cache_dir, **kw)\n",
    ),
    "a function in a function": (
        "@MODELS.register_module()\n"
        "def f(path):\n"
        "    def inner():\n"
        "        return AutoModel.from_pretrained(path)\n"
        "    return inner()\n",
        "@MODELS.register_module()\n"
        "def f(path, cache_dir=None):\n"
        "    def inner(cache_dir=None):\n"
        "        return AutoModel.from_pretrained(path, cache_dir=cache_dir)\n"
        "    return inner(cache_dir=cache_dir)\n",
    ),
    "a comprehension": (
        "@MODELS.register_module()\ndef f(path):\n    return [AutoModel.from_pretrained(p) for p in (path, 'o/m')]\n",
        "@MODELS.register_module()\n"
        "def f(path, cache_dir=None):\n"
        "    return [AutoModel.from_pretrained(p, cache_dir=cache_dir) for p in (path, 'o/m')]\n",
    ),
    "a comprehension in another function": (
        "def g(path):\n"
        "    return {p: AutoModel.from_pretrained(p) for p in (path, 'o/m') if p}\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "def f(path):\n"
        "    return g(path)\n",
        "def g(path, cache_dir=None):\n"
        "    return {p: AutoModel.from_pretrained(p, cache_dir=cache_dir) for p in (path, 'o/m') if p}\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "def f(path, cache_dir=None):\n"
        "    return g(path, cache_dir=cache_dir)\n",
    ),
    "a function called in a comprehension": (
        "def g(path):\n"
        "    return AutoModel.from_pretrained(path)\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "def f(path):\n"
        "    return [g(p) for p in (path, 'o/m')]\n",
        "def g(path, cache_dir=None):\n"
        "    return AutoModel.from_pretrained(path, cache_dir=cache_dir)\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "def f(path, cache_dir=None):\n"
        "    return [g(p, cache_dir=cache_dir) for p in (path, 'o/m')]\n",
    ),
    "**kwargs of its own": (
        "@MODELS.register_module()\ndef f(path):\n    kw = {}\n    return AutoModel.from_pretrained(path, **kw)\n",
        "@MODELS.register_module()\n"
        "def f(path, cache_dir=None):\n"
        "    kw = {}\n"
        "    return AutoModel.from_pretrained(path, cache_dir=cache_dir, **kw)\n",
    ),
    "a dict that is built": (
        "@MODELS.register_module()\n"
        "def inner(path):\n"
        "    return AutoModel.from_pretrained(path)\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "def f(path):\n"
        "    return build_module(dict(type='inner', path=path), MODELS)\n",
        "@MODELS.register_module()\n"
        "def inner(path, cache_dir=None):\n"
        "    return AutoModel.from_pretrained(path, cache_dir=cache_dir)\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "def f(path, cache_dir=None):\n"
        "    return build_module(dict(type='inner', path=path, cache_dir=cache_dir), MODELS)\n",
    ),
    "None in a dict that is built": (
        "@MODELS.register_module()\n"
        "def inner(path, cache_dir=None):\n"
        "    return AutoModel.from_pretrained(path, cache_dir=cache_dir)\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "def f(path):\n"
        "    return build_module(dict(type='inner', path=path, cache_dir=None), MODELS)\n",
        "@MODELS.register_module()\n"
        "def inner(path, cache_dir=None):\n"
        "    return AutoModel.from_pretrained(path, cache_dir=cache_dir)\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "def f(path, cache_dir=None):\n"
        "    return build_module(dict(type='inner', path=path, cache_dir=cache_dir), MODELS)\n",
    ),
    "None in a display that is built": (
        "@MODELS.register_module()\n"
        "def inner(path, cache_dir=None):\n"
        "    return AutoModel.from_pretrained(path, cache_dir=cache_dir)\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "def f(path):\n"
        "    return build_module({'type': 'inner', 'path': path, 'cache_dir': None}, MODELS)\n",
        "@MODELS.register_module()\n"
        "def inner(path, cache_dir=None):\n"
        "    return AutoModel.from_pretrained(path, cache_dir=cache_dir)\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "def f(path, cache_dir=None):\n"
        "    return build_module({'type': 'inner', 'path': path, 'cache_dir': cache_dir}, MODELS)\n",
    ),
    "None at an inner call": (
        "def g(path, cache_dir=None):\n"
        "    return AutoModel.from_pretrained(path, cache_dir=cache_dir)\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "def f(path):\n"
        "    return g(path, cache_dir=None)\n",
        "def g(path, cache_dir=None):\n"
        "    return AutoModel.from_pretrained(path, cache_dir=cache_dir)\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "def f(path, cache_dir=None):\n"
        "    return g(path, cache_dir=cache_dir)\n",
    ),
    "another value at an inner call": (
        "def g(path, cache_dir=None):\n"
        "    return AutoModel.from_pretrained(path)\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "def f(path):\n"
        "    return g(path, cache_dir='x')\n",
        "def g(path, cache_dir=None, hub_cache_dir=None):\n"
        "    return AutoModel.from_pretrained(path, cache_dir=hub_cache_dir)\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "def f(path, cache_dir=None):\n"
        "    return g(path, cache_dir='x', hub_cache_dir=cache_dir)\n",
    ),
    "a variable at an inner call": (
        "def g(path, cache_dir=None):\n"
        "    return AutoModel.from_pretrained(path)\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "def f(path, there=None):\n"
        "    return g(path, cache_dir=there)\n",
        "def g(path, cache_dir=None, hub_cache_dir=None):\n"
        "    return AutoModel.from_pretrained(path, cache_dir=hub_cache_dir)\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "def f(path, there=None, cache_dir=None):\n"
        "    return g(path, cache_dir=there, hub_cache_dir=cache_dir)\n",
    ),
    "a positional value at an inner call": (
        "def g(path, cache_dir=None):\n"
        "    return AutoModel.from_pretrained(path)\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "def f(path):\n"
        "    return g(path, 'x')\n",
        "def g(path, cache_dir=None, hub_cache_dir=None):\n"
        "    return AutoModel.from_pretrained(path, cache_dir=hub_cache_dir)\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "def f(path, cache_dir=None):\n"
        "    return g(path, 'x', hub_cache_dir=cache_dir)\n",
    ),
    "two names that are taken": (
        "def g(path):\n"
        "    cache_dir, hub_cache_dir = 'a', 'b'\n"
        "    return AutoModel.from_pretrained(path)\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "def f(path):\n"
        "    return g(path)\n",
        "def g(path, huggingface_cache_dir=None):\n"
        "    cache_dir, hub_cache_dir = 'a', 'b'\n"
        "    return AutoModel.from_pretrained(path, cache_dir=huggingface_cache_dir)\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "def f(path, cache_dir=None):\n"
        "    return g(path, huggingface_cache_dir=cache_dir)\n",
    ),
    "a parameter of that name that is not led on": (
        "@MODELS.register_module()\ndef f(path, cache_dir=None):\n    return AutoModel.from_pretrained(path)\n",
        "@MODELS.register_module()\n"
        "def f(path, cache_dir=None):\n"
        "    return AutoModel.from_pretrained(path, cache_dir=cache_dir)\n",
    ),
    "a keyword-only parameter": (
        "@MODELS.register_module()\ndef f(path, *, cache_dir=None):\n    return AutoModel.from_pretrained(path)\n",
        "@MODELS.register_module()\n"
        "def f(path, *, cache_dir=None):\n"
        "    return AutoModel.from_pretrained(path, cache_dir=cache_dir)\n",
    ),
    "another name for the same": (
        "@MODELS.register_module()\n"
        "def f(path, cache_dir=None):\n"
        "    place = cache_dir\n"
        "    other(cache_dir)\n"
        "    return AutoModel.from_pretrained(path)\n",
        "@MODELS.register_module()\n"
        "def f(path, cache_dir=None):\n"
        "    place = cache_dir\n"
        "    other(cache_dir)\n"
        "    return AutoModel.from_pretrained(path, cache_dir=cache_dir)\n",
    ),
    "a docstring that lists": (
        "@MODELS.register_module()\n"
        "def f(path, size=1):\n"
        '    """Load.\n'
        "\n"
        "    path: it\n"
        '    """\n'
        "    return AutoModel.from_pretrained(path)\n",
        "@MODELS.register_module()\n"
        "def f(path, size=1, cache_dir=None):\n"
        '    """Load.\n'
        "\n"
        "    path: it\n"
        "    cache_dir: Hugging Face cache directory to load from.\n"
        '    """\n'
        "    return AutoModel.from_pretrained(path, cache_dir=cache_dir)\n",
    ),
    "a docstring that lists with dashes": (
        "@MODELS.register_module()\n"
        "def f(self, path, size=1):\n"
        '    """Load.\n'
        "\n"
        "    size -- how large\n"
        '    """\n'
        "    return AutoModel.from_pretrained(self)\n",
        "@MODELS.register_module()\n"
        "def f(self, path, size=1, cache_dir=None):\n"
        '    """Load.\n'
        "\n"
        "    size -- how large\n"
        "    cache_dir -- Hugging Face cache directory to load from.\n"
        '    """\n'
        "    return AutoModel.from_pretrained(self, cache_dir=cache_dir)\n",
    ),
    "a docstring that does not": (
        "@MODELS.register_module()\n"
        "def f(path):\n"
        '    """Load\n'
        '    from path: it"""\n'
        "    return AutoModel.from_pretrained(path)\n",
        "@MODELS.register_module()\n"
        "def f(path, cache_dir=None):\n"
        '    """Load\n'
        '    from path: it"""\n'
        "    return AutoModel.from_pretrained(path, cache_dir=cache_dir)\n",
    ),
    "no docstring": (
        "@MODELS.register_module()\ndef f(path):\n    ...\n    return AutoModel.from_pretrained(path)\n",
        "@MODELS.register_module()\n"
        "def f(path, cache_dir=None):\n"
        "    ...\n"
        "    return AutoModel.from_pretrained(path, cache_dir=cache_dir)\n",
    ),
    "other calls of its **kwargs": (
        "from huggingface_hub import hf_hub_download\n"
        "\n"
        "\n"
        "class Plain:\n"
        "    def __init__(self, size=1):\n"
        "        pass\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "def f(path, big=0, **kw):\n"
        "    Plain(**kw)\n"
        "    if big:\n"
        "        return AutoModel.from_pretrained('o/a', **kw), AutoModel.from_pretrained('o/b', cache_dir='/', **kw)\n"
        "    elif big > 1:\n"
        "        hf_hub_download('o/c', 'x', **kw)\n"
        "        AutoModel.from_pretrained('o/d', config=kw, **{})\n"
        "        load()(**kw)\n"
        "    hf_hub_download(path, 'x', **kw)\n"
        "    print(path, **kw)\n"
        "    hf_hub_download(path, 'y', **{})\n"
        "    return AutoModel.from_pretrained(path, **kw, x=1)\n",
        "from huggingface_hub import hf_hub_download\n"
        "\n"
        "\n"
        "class Plain:\n"
        "    def __init__(self, size=1):\n"
        "        pass\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "def f(path, big=0, cache_dir=None, **kw):\n"
        "    Plain(**kw)\n"
        "    if big:\n"
        "        return AutoModel.from_pretrained('o/a', cache_dir=cache_dir, **kw), "
        "AutoModel.from_pretrained('o/b', cache_dir='/', **kw)\n"
        "    elif big > 1:\n"
        "        hf_hub_download('o/c', 'x', cache_dir=cache_dir, **kw)\n"
        "        AutoModel.from_pretrained('o/d', config=kw, **{})\n"
        "        load()(**kw)\n"
        "    hf_hub_download(path, 'x', cache_dir=cache_dir, **kw)\n"
        "    print(path, **kw)\n"
        "    hf_hub_download(path, 'y', cache_dir=cache_dir, **{})\n"
        "    return AutoModel.from_pretrained(path, cache_dir=cache_dir, **kw, x=1)\n",
    ),
    "a function that its **kwargs go to on another way": (
        "def take(path, **kw):\n"
        "    return AutoModel.from_pretrained(path, **kw)\n\n\n"
        "class Plain:\n"
        "    def __init__(self, size=1):\n"
        "        pass\n\n\n"
        "@MODELS.register_module()\n"
        "class f:\n"
        "    def __init__(self, path, mode='a', **kw):\n"
        "        if mode == 'a':\n"
        "            AutoModel.from_pretrained(path)\n"
        "            self.model = Plain(**kw)\n"
        "        else:\n"
        "            self.model = self.load(path, **kw)\n\n"
        "    def load(self, path, **options):\n"
        "        return take(path, **options)\n",
        "def take(path, **kw):\n"
        "    return AutoModel.from_pretrained(path, **kw)\n\n\n"
        "class Plain:\n"
        "    def __init__(self, size=1):\n"
        "        pass\n\n\n"
        "@MODELS.register_module()\n"
        "class f:\n"
        "    def __init__(self, path, mode='a', cache_dir=None, **kw):\n"
        "        if mode == 'a':\n"
        "            AutoModel.from_pretrained(path, cache_dir=cache_dir)\n"
        "            self.model = Plain(**kw)\n"
        "        else:\n"
        "            self.model = self.load(path, cache_dir=cache_dir, **kw)\n\n"
        "    def load(self, path, **options):\n"
        "        return take(path, **options)\n",
    ),
    "beside a call that is refused whatever is edited": (
        "class A:\n"
        "    def __init__(self, path):\n"
        "        self.model = AutoModel.from_pretrained(path)\n\n\n"
        "class B:\n"
        "    def __init__(self, path, cache_dir=None):\n"
        "        pass\n\n\n"
        "def odd(path):\n    pass\n\n\n"
        "@MODELS.register_module()\n"
        "def f(path, kind='a'):\n"
        "    if kind == 'c':\n"
        "        odd(path, cache_dir='/fixed')\n"
        "    return {'a': A, 'b': B}[kind](path)\n",
        "class A:\n"
        "    def __init__(self, path, cache_dir=None):\n"
        "        self.model = AutoModel.from_pretrained(path, cache_dir=cache_dir)\n\n\n"
        "class B:\n"
        "    def __init__(self, path, cache_dir=None):\n"
        "        pass\n\n\n"
        "def odd(path):\n    pass\n\n\n"
        "@MODELS.register_module()\n"
        "def f(path, kind='a', cache_dir=None):\n"
        "    if kind == 'c':\n"
        "        odd(path, cache_dir='/fixed')\n"
        "    return {'a': A, 'b': B}[kind](path, cache_dir=cache_dir)\n",
    ),
    "one of several callees that take it": (
        "class A:\n"
        "    def __init__(self, path):\n"
        "        self.model = AutoModel.from_pretrained(path)\n\n\n"
        "class B:\n"
        "    def __init__(self, path, cache_dir=None):\n"
        "        self.size = int(os.environ['SIZE'])\n\n\n"
        "@MODELS.register_module()\n"
        "def f(path, kind='a', sizes=()):\n"
        "    return {'a': A, 'b': B}[kind](path), sizes[0]\n",
        "class A:\n"
        "    def __init__(self, path, cache_dir=None):\n"
        "        self.model = AutoModel.from_pretrained(path, cache_dir=cache_dir)\n\n\n"
        "class B:\n"
        "    def __init__(self, path, cache_dir=None):\n"
        "        self.size = int(os.environ['SIZE'])\n\n\n"
        "@MODELS.register_module()\n"
        "def f(path, kind='a', sizes=(), cache_dir=None):\n"
        "    return {'a': A, 'b': B}[kind](path, cache_dir=cache_dir), sizes[0]\n",
    ),
    "a key that is in the way of another function": (
        "class Plain:\n"
        "    def __init__(self, size=1):\n"
        "        pass\n"
        "\n"
        "\n"
        "def g(path, **kw):\n"
        "    Plain(**kw)\n"
        "    return AutoModel.from_pretrained(path, **kw)\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "def f(path, **kw):\n"
        "    return g(path, **kw)\n",
        "class Plain:\n"
        "    def __init__(self, size=1):\n"
        "        pass\n"
        "\n"
        "\n"
        "def g(path, cache_dir=None, **kw):\n"
        "    Plain(**kw)\n"
        "    return AutoModel.from_pretrained(path, cache_dir=cache_dir, **kw)\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "def f(path, **kw):\n"
        "    return g(path, **kw)\n",
    ),
    "an object that keeps the path": (
        "@MODELS.register_module()\n"
        "class f:\n"
        "    def __init__(self, path):\n"
        "        self.path = path\n"
        "        self.build()\n"
        "\n"
        "    def build(self):\n"
        "        self.m = AutoModel.from_pretrained(self.path)\n",
        "@MODELS.register_module()\n"
        "class f:\n"
        "    def __init__(self, path, cache_dir=None):\n"
        "        self.path = path\n"
        "        self.build(cache_dir=cache_dir)\n"
        "\n"
        "    def build(self, cache_dir=None):\n"
        "        self.m = AutoModel.from_pretrained(self.path, cache_dir=cache_dir)\n",
    ),
    "a static method": (
        "@MODELS.register_module()\n"
        "class f:\n"
        "    def __init__(self, path):\n"
        "        self.m = self.load(path)\n"
        "\n"
        "    @staticmethod\n"
        "    def load(path):\n"
        "        return AutoModel.from_pretrained(path)\n",
        "@MODELS.register_module()\n"
        "class f:\n"
        "    def __init__(self, path, cache_dir=None):\n"
        "        self.m = self.load(path, cache_dir=cache_dir)\n"
        "\n"
        "    @staticmethod\n"
        "    def load(path, cache_dir=None):\n"
        "        return AutoModel.from_pretrained(path, cache_dir=cache_dir)\n",
    ),
    "a class method": (
        "@MODELS.register_module()\n"
        "class f:\n"
        "    def __init__(self, path):\n"
        "        self.m = f.load(path)\n"
        "\n"
        "    @classmethod\n"
        "    def load(cls, path):\n"
        "        return AutoModel.from_pretrained(path)\n",
        "@MODELS.register_module()\n"
        "class f:\n"
        "    def __init__(self, path, cache_dir=None):\n"
        "        self.m = f.load(path, cache_dir=cache_dir)\n"
        "\n"
        "    @classmethod\n"
        "    def load(cls, path, cache_dir=None):\n"
        "        return AutoModel.from_pretrained(path, cache_dir=cache_dir)\n",
    ),
    "a class that is made": (
        "class Inner:\n"
        "    def __init__(self, path, *, size=1):\n"
        "        self.m = AutoModel.from_pretrained(path)\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "def f(path):\n"
        "    return Inner(path, size=2)\n",
        "class Inner:\n"
        "    def __init__(self, path, *, size=1, cache_dir=None):\n"
        "        self.m = AutoModel.from_pretrained(path, cache_dir=cache_dir)\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "def f(path, cache_dir=None):\n"
        "    return Inner(path, size=2, cache_dir=cache_dir)\n",
    ),
    "a call of a call": (
        "@MODELS.register_module()\ndef f(path):\n    return AutoModel.from_pretrained(path).eval().to('cpu')\n",
        "@MODELS.register_module()\n"
        "def f(path, cache_dir=None):\n"
        "    return AutoModel.from_pretrained(path, cache_dir=cache_dir).eval().to('cpu')\n",
    ),
    "positional-only parameters": (
        "def g(path, /):\n"
        "    return AutoModel.from_pretrained(path)\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "def f(path):\n"
        "    return g(path)\n",
        "def g(path, /, cache_dir=None):\n"
        "    return AutoModel.from_pretrained(path, cache_dir=cache_dir)\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "def f(path, cache_dir=None):\n"
        "    return g(path, cache_dir=cache_dir)\n",
    ),
    "a repo that is not known": (
        "@MODELS.register_module()\ndef f(path):\n    return AutoModel.from_pretrained(os.environ['REPO'])\n",
        "@MODELS.register_module()\n"
        "def f(path, cache_dir=None):\n"
        "    return AutoModel.from_pretrained(os.environ['REPO'], cache_dir=cache_dir)\n",
    ),
    "a dict that names a class, and a copy of one": (
        "class Inner:\n"
        "    def __init__(self, path):\n"
        "        self.m = AutoModel.from_pretrained(path)\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "def f(path):\n"
        "    options = {'type': Inner, 'path': path}\n"
        "    return build_module(options.copy(), MODELS)\n",
        "class Inner:\n"
        "    def __init__(self, path, cache_dir=None):\n"
        "        self.m = AutoModel.from_pretrained(path, cache_dir=cache_dir)\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "def f(path, cache_dir=None):\n"
        "    options = {'type': Inner, 'path': path, 'cache_dir': cache_dir}\n"
        "    return build_module(options.copy(), MODELS)\n",
    ),
    "a helper that gets the key by place, too": (
        "def note(path, cache_dir=None):\n"
        "    return path\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "def f(path, **kw):\n"
        "    note(path, None, **kw)\n"
        "    return AutoModel.from_pretrained(path, **kw)\n",
        "def note(path, cache_dir=None):\n"
        "    return path\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "def f(path, cache_dir=None, **kw):\n"
        "    note(path, None, **kw)\n"
        "    return AutoModel.from_pretrained(path, cache_dir=cache_dir, **kw)\n",
    ),
    "a helper that gets the key by keyword, too": (
        "def note(path, cache_dir=None):\n"
        "    return path\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "def f(path, **kw):\n"
        "    note(path, **kw, cache_dir=None)\n"
        "    return AutoModel.from_pretrained(path, **kw)\n",
        "def note(path, cache_dir=None):\n"
        "    return path\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "def f(path, cache_dir=None, **kw):\n"
        "    note(path, **kw, cache_dir=None)\n"
        "    return AutoModel.from_pretrained(path, cache_dir=cache_dir, **kw)\n",
    ),
    "two functions whose **kwargs are handed on to what rejects it": (
        "class Plain:\n"
        "    def __init__(self, size=1):\n"
        "        pass\n"
        "\n"
        "\n"
        "def g(path, **kw):\n"
        "    Plain(**kw)\n"
        "    return AutoModel.from_pretrained(path, **kw)\n"
        "\n"
        "\n"
        "def h(path, **kw):\n"
        "    Plain(**kw)\n"
        "    return AutoModel.from_pretrained(path, **kw)\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "def f(path, **kw):\n"
        "    return g(path, **kw), h(path, **kw)\n",
        "class Plain:\n"
        "    def __init__(self, size=1):\n"
        "        pass\n"
        "\n"
        "\n"
        "def g(path, cache_dir=None, **kw):\n"
        "    Plain(**kw)\n"
        "    return AutoModel.from_pretrained(path, cache_dir=cache_dir, **kw)\n"
        "\n"
        "\n"
        "def h(path, cache_dir=None, **kw):\n"
        "    Plain(**kw)\n"
        "    return AutoModel.from_pretrained(path, cache_dir=cache_dir, **kw)\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "def f(path, **kw):\n"
        "    return g(path, **kw), h(path, **kw)\n",
    ),
    "calls on a branch that is not taken, which had the key from **kwargs": (
        "from huggingface_hub import hf_hub_download\n"
        "\n"
        "\n"
        "def check(path):\n"
        "    pass\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "def f(path, big=False, **kw):\n"
        "    options = {}\n"
        "    check(path, **kw)\n"
        "    if big:\n"
        "        print(**kw)\n"
        "        AutoModel.from_pretrained(path, **kw)\n"
        "        AutoModel.from_pretrained(path, **options)\n"
        "        AutoModel.from_pretrained(path, cache_dir=None, **kw)\n"
        "        hf_hub_download(path, 'w', **kw)\n"
        "    return AutoModel.from_pretrained(path)\n",
        "from huggingface_hub import hf_hub_download\n"
        "\n"
        "\n"
        "def check(path):\n"
        "    pass\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "def f(path, big=False, cache_dir=None, **kw):\n"
        "    options = {}\n"
        "    check(path, **kw)\n"
        "    if big:\n"
        "        print(**kw)\n"
        "        AutoModel.from_pretrained(path, cache_dir=cache_dir, **kw)\n"
        "        AutoModel.from_pretrained(path, **options)\n"
        "        AutoModel.from_pretrained(path, cache_dir=None, **kw)\n"
        "        hf_hub_download(path, 'w', cache_dir=cache_dir, **kw)\n"
        "    return AutoModel.from_pretrained(path, cache_dir=cache_dir)\n",
    ),
}


@pytest.mark.parametrize(("body", "expected"), LEADS.values(), ids=LEADS)
def test_the_key_is_led_to_every_call_and_nowhere_else(body: str, expected: str, tmp_path: Path) -> None:
    keywords = {"self": "o/n"} if "def f(self, path" in body else {"path": "o/n"}
    assert threaded(tmp_path, body, **keywords) == expected


REGISTERED = "@MODELS.register_module()\ndef f({}):\n    {}\n    return AutoModel.from_pretrained(path)\n"


@pytest.mark.parametrize("other", ["None", "'/'"])
def test_calls_that_read_nothing_from_the_hub_are_left_alone(other: str, tmp_path: Path) -> None:
    body = REGISTERED.format("path", f"AutoModel.from_pretrained({other})")
    loaders = sources(tmp_path, loaders=HEAD + body)
    after = edited(loaders, thread(loaders, "f", values(path="o/n"), "cache_dir"))
    assert text(after) == HEAD + body.replace("(path)", "(path, cache_dir=cache_dir)").replace(
        "def f(path, cache_dir=cache_dir)", "def f(path, cache_dir=None)"
    )


@pytest.mark.parametrize(
    "use",
    ["pass", "x = {'cache_dir': cache_dir}", "x = dict(cache_dir=cache_dir)", "x = load(cache_dir)", "x.y = cache_dir",
     "x['a'] = cache_dir", "x = 1 if cache_dir is None else 2", "x = 1 if cache_dir is not None else 2",
     "x = dict(model_cache_dir=[cache_dir])", "x = m.load(cache_dir)", "x = cache_dir; load(cache_dir)"],
)  # fmt: skip
def test_a_parameter_that_is_handed_on_or_kept_is_the_cache(use: str, tmp_path: Path) -> None:
    body = REGISTERED.format("path, cache_dir=None", use)
    assert threaded(tmp_path, body) == body.replace("ned(path)", "ned(path, cache_dir=cache_dir)")


@pytest.mark.parametrize(
    "use",
    ["print(cache_dir)", "x = os.path.join(cache_dir, 'a')", "x = cache_dir", "x = cache_dir + '/a'", "del cache_dir",
     "x = {'other': cache_dir}", "x = {cache_dir: 1}", "x = cache_dir == 1", "x = dict(size=cache_dir)",
     "x = torch.load(cache_dir)", "x = None is cache_dir", "cache_dir = cache_dir or 'x'", "x = a < cache_dir is None",
     "x = y.z = cache_dir", "x.y = cache_dir; open(cache_dir)"],
)  # fmt: skip
def test_a_parameter_that_is_worked_with_is_something_else(use: str, tmp_path: Path) -> None:
    loaders = sources(tmp_path, loaders=HEAD + REGISTERED.format("path, cache_dir=None", use))
    assert thread(loaders, "f", values(path="o/n"), "cache_dir") == Threading(
        (), "f uses the name cache_dir for something else", str(tmp_path / "opensora/loaders.py"), 6
    )


def test_a_class_is_named_with_its_method(tmp_path: Path) -> None:
    body = REGISTERED.format("self, path, cache_dir=None", "open(cache_dir)").replace(
        "def f", "class f:\n  def __init__"
    )
    loaders = sources(tmp_path, loaders=HEAD + body.replace("\n    ", "\n        "))
    assert thread(loaders, "f", values(path="o/n"), "cache_dir") == Threading(
        (), "f.__init__ uses the name cache_dir for something else", str(tmp_path / "opensora/loaders.py"), 7
    )


def test_a_flag_is_never_a_folder(tmp_path: Path) -> None:
    body = REGISTERED.format("path, local_files_only=False", "print(local_files_only)")
    assert threaded(tmp_path, body, key="local_files_only") == body.replace(
        "ned(path)", "ned(path, local_files_only=local_files_only)"
    )


TWO_CLASSES = (
    "class A:\n"
    "    def __init__(self, path):\n"
    "        self.model = AutoModel.from_pretrained(path)\n\n\n"
    "class B:\n"
    "    def __init__(self, path):\n"
    "        pass\n\n\n"
)
B_TAKES_NONE = ("B.__init__ may be called on the way, and takes no cache_dir", 7)

IN_THE_WAY = {
    "a call of the module": (
        "MODEL = AutoModel.from_pretrained('o/n')\n\n\n@MODELS.register_module()\ndef f(path):\n    return MODEL\n",
        "the call stands outside of any function",
        1,
    ),
    "a property": (
        "@MODELS.register_module()\n"
        "class f:\n"
        "    def __init__(self, path):\n"
        "        self.path = path\n"
        "        self.model.eval()\n"
        "\n"
        "    @property\n"
        "    def model(self):\n"
        "        return AutoModel.from_pretrained(self.path)\n",
        "model runs without a call that could pass cache_dir",
        8,
    ),
    "a name that is taken": (
        "@MODELS.register_module()\ndef f(path):\n    cache_dir = 'logs'\n    return AutoModel.from_pretrained(path)\n",
        "f uses the name cache_dir for something else",
        2,
    ),
    "a method that takes the name": (
        "@MODELS.register_module()\n"
        "class f:\n"
        "    def __init__(self, path):\n"
        "        self.cache = cache_dir\n"
        "        self.m = AutoModel.from_pretrained(path)\n",
        "f.__init__ uses the name cache_dir for something else",
        3,
    ),
    "another value at the call": (
        "@MODELS.register_module()\ndef f(path):\n    return AutoModel.from_pretrained(path, cache_dir='elsewhere')\n",
        "cache_dir is given another value here",
        3,
    ),
    "False at the call": (
        "@MODELS.register_module()\ndef f(path):\n    return AutoModel.from_pretrained(path, cache_dir=False)\n",
        "cache_dir is given another value here",
        3,
    ),
    "another value in a dict at the call": (
        "@MODELS.register_module()\n"
        "def f(path):\n"
        "    return AutoModel.from_pretrained(path, **dict(cache_dir='elsewhere'))\n",
        "cache_dir is given another value here",
        3,
    ),
    "None in a dict at the call": (
        "@MODELS.register_module()\n"
        "def f(path):\n"
        "    kw = {'cache_dir': None}\n"
        "    return AutoModel.from_pretrained(path, **kw)\n",
        "cache_dir is given another value here",
        4,
    ),
    "a key that is taken away": (
        "def g(path, **kw):\n"
        "    kw.pop('cache_dir', None)\n"
        "    return AutoModel.from_pretrained(path, **kw)\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "def f(path, **kw):\n"
        "    return g(path, **kw)\n",
        "cache_dir gets lost on the way to a hub call",
        7,
    ),
    "an inner loader that uses the name": (
        "@MODELS.register_module()\n"
        "def inner(path, cache_dir='features'):\n"
        "    open(cache_dir)\n"
        "    return AutoModel.from_pretrained(path)\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "def f(path):\n"
        "    return build_module(dict(type='inner', path=path), MODELS)\n",
        "inner uses the name cache_dir for something else",
        2,
    ),
    "an inner loader that is given another": (
        "@MODELS.register_module()\n"
        "def inner(path, cache_dir=None):\n"
        "    return AutoModel.from_pretrained(path, cache_dir=cache_dir)\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "def f(path):\n"
        "    return build_module({'type': 'inner', 'path': path, 'cache_dir': '/a'}, MODELS)\n",
        "inner uses the name cache_dir for something else",
        2,
    ),
    "all three names taken in a class": (
        "class Inner:\n"
        "    def __init__(self, path, cache_dir, hub_cache_dir, huggingface_cache_dir):\n"
        "        self.m = AutoModel.from_pretrained(path)\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "def f(path):\n"
        "    return Inner(path, 1, 2, 3)\n",
        "Inner.__init__ uses the name cache_dir for something else",
        2,
    ),
    "all three names taken": (
        "def g(path):\n"
        "    cache_dir, hub_cache_dir, huggingface_cache_dir = 'a', 'b', 'c'\n"
        "    return AutoModel.from_pretrained(path)\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "def f(path):\n"
        "    return g(path)\n",
        "g uses the name cache_dir for something else",
        1,
    ),
    "a dataclass that loads": (
        "from dataclasses import dataclass\n"
        "\n"
        "\n"
        "@dataclass\n"
        "class Own:\n"
        "    path: str\n"
        "\n"
        "    def __post_init__(self):\n"
        "        self.text = AutoModel.from_pretrained(self.path)\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "def f(path):\n"
        "    return Own(path)\n",
        "Own.__post_init__ gets its values by way of an object",
        8,
    ),
    "a config object": (
        "class Config(PretrainedConfig):\n"
        "    def __init__(self, name=None, **kw):\n"
        "        self.name = name\n"
        "\n"
        "\n"
        "class Own(PreTrainedModel):\n"
        "    config_class = Config\n"
        "\n"
        "    def __init__(self, config):\n"
        "        self.text = AutoModel.from_pretrained(config.name)\n"
        "\n"
        "\n"
        "@MODELS.register_module()\n"
        "def f(path):\n"
        "    return Own.from_pretrained(path, name='o/text')\n",
        "Own.__init__ gets its values by way of an object",
        9,
    ),
    "another class of a dict": (
        TWO_CLASSES + "@MODELS.register_module()\ndef f(path, kind='a'):\n    return {'a': A, 'b': B}[kind](path)\n",
        *B_TAKES_NONE,
    ),
    "another class of a tuple": (
        TWO_CLASSES + "@MODELS.register_module()\ndef f(path, kind=0):\n    return (A, B)[kind](path)\n",
        *B_TAKES_NONE,
    ),
    "another class by a condition": (
        TWO_CLASSES + "@MODELS.register_module()\n"
        "def f(path, kind='a'):\n    cls = A if kind == 'a' else B\n    return cls(path)\n",
        *B_TAKES_NONE,
    ),
    "another class where a value is given": (
        TWO_CLASSES + "@MODELS.register_module()\n"
        "def f(path, kind=None):\n    cls = B if kind else A\n    return cls(path)\n",
        *B_TAKES_NONE,
    ),
    "another type of a dict": (
        TWO_CLASSES + "MODELS.register_module(module=A)\nMODELS.register_module(module=B)\n\n\n"
        "@MODELS.register_module()\n"
        "def f(path, kind=None):\n"
        "    name = 'B' if kind else 'A'\n"
        "    return build_module(dict(type=name, path=path), MODELS)\n",
        *B_TAKES_NONE,
    ),
    "another class by a name that the module has, too": (
        TWO_CLASSES + "def make():\n    pass\n\n\n"
        "@MODELS.register_module()\n"
        "def f(path, kind=None):\n    make = B if kind else A\n    return make(path)\n",
        *B_TAKES_NONE,
    ),
    "another class by a name of a method": (
        TWO_CLASSES + "@MODELS.register_module()\n"
        "class f:\n"
        "    def __init__(self, path, kind=None):\n"
        "        make = B if kind else A\n"
        "        make(path)\n",
        *B_TAKES_NONE,
    ),
    "another class that a function is given": (
        TWO_CLASSES + "def helper(make, path):\n    return make(path)\n\n\n"
        "@MODELS.register_module()\n"
        "def f(path, kind=None):\n    return helper(B if kind else A, path)\n",
        *B_TAKES_NONE,
    ),
    "another class that a method is given": (
        TWO_CLASSES + "class Helper:\n"
        "    @classmethod\n    def load(cls, make, path):\n        return make(path)\n\n\n"
        "@MODELS.register_module()\n"
        "def f(path, kind=None):\n    return Helper.load(B if kind else A, path)\n",
        *B_TAKES_NONE,
    ),
    "another class of a dict that is built, where one more such dict was refused before": (
        TWO_CLASSES + "def make(part):\n"
        "    return build_module(part, MODELS)\n\n\n"
        "def load(cls, path):\n"
        "    return make({'type': cls, 'path': path})\n\n\n"
        "@MODELS.register_module()\n"
        "def f(path, kind='a'):\n"
        "    if kind == 'b':\n"
        "        return make({'type': B, 'path': path, 'cache_dir': None})\n"
        "    return load(A if kind == 'a' else B, path)\n",
        *B_TAKES_NONE,
    ),
    "another class of a dict that is built, where one that is made of two was refused before": (
        "def named(path):\n"
        "    return path\n\n\n"
        "class A:\n"
        "    def __init__(self, path):\n"
        "        self.model = AutoModel.from_pretrained(named(path))\n\n\n"
        "class B:\n"
        "    def __init__(self, path):\n"
        "        pass\n\n\n"
        "@MODELS.register_module()\n"
        "def f(path, kind='a'):\n"
        "    cls = A if kind == 'a' else B\n"
        "    if kind == 'b':\n"
        "        return build_module({'type': cls, 'path': path, 'cache_dir': None}, MODELS)\n"
        "    return build_module({'type': cls, 'path': path}, MODELS)\n",
        "B.__init__ may be called on the way, and takes no cache_dir",
        11,
    ),
    "something else from a library": (
        TWO_CLASSES + "@MODELS.register_module()\n"
        "def f(path, kind='a'):\n    return {'a': A, 'b': os.PathLike}[kind](path)\n",
        "os.PathLike may be called on the way, and whether it takes cache_dir cannot be told",
        13,
    ),
    "what makes its objects takes none": (
        "@MODELS.register_module()\n"
        "class f:\n"
        "    def __new__(cls, path):\n        return super().__new__(cls)\n\n"
        "    def __init__(self, path):\n        self.model = AutoModel.from_pretrained(path)\n",
        "f.__new__ takes no cache_dir",
        3,
    ),
    "what makes a helper's objects takes none": (
        "class A:\n"
        "    def __new__(cls, *names):\n        return super().__new__(cls)\n\n"
        "    def __init__(self, path):\n        self.model = AutoModel.from_pretrained(path)\n\n\n"
        "@MODELS.register_module()\ndef f(path):\n    return A(path)\n",
        "A.__new__ takes no cache_dir",
        2,
    ),
    "all its names as a dict": (
        "@MODELS.register_module()\ndef f(path):\n    print(locals())\n    return AutoModel.from_pretrained(path)\n",
        "f uses locals(), where one more name may be one too many",
        2,
    ),
    "a value of its **kwargs on another way": (
        "class Plain:\n"
        "    def __init__(self, size=1):\n"
        "        pass\n\n\n"
        "@MODELS.register_module()\n"
        "def f(path, mode='a', **kw):\n"
        "    if mode == 'a':\n"
        "        return AutoModel.from_pretrained(path), Plain(**kw)\n"
        "    return AutoModel.from_pretrained(path, cache_dir=kw.get('cache_dir'))\n",
        "cache_dir is given another value here",
        10,
    ),
}


@pytest.mark.parametrize(("body", "why", "line"), IN_THE_WAY.values(), ids=IN_THE_WAY)
def test_what_is_in_the_way_is_named_with_its_line_and_nothing_is_changed(
    body: str, why: str, line: int, tmp_path: Path
) -> None:
    result = thread(sources(tmp_path, loaders=HEAD + body), "f", values(path="o/n"), "cache_dir")
    where = str(tmp_path / "opensora/loaders.py")
    assert result == Threading((), why, where, HEAD.count("\n") + line)


def test_what_fails_without_the_key_too_is_no_objection_to_it(tmp_path: Path) -> None:
    body = (
        "@MODELS.register_module()\ndef f(path, size=0):\n    assert size\n    return AutoModel.from_pretrained(path)\n"
    )
    assert "AutoModel.from_pretrained(path, cache_dir=cache_dir)" in threaded(tmp_path, body)


def test_the_changes_are_told_with_their_places(tmp_path: Path) -> None:
    body = (
        'def g(path, hub=None):\n    """Load.\n\n    path: it\n    hub: where\n    """\n'
        "    return AutoModel.from_pretrained(path, cache_dir=None)\n\n\n"
        "@MODELS.register_module()\ndef f(path):\n    spec = {'type': 'inner', 'path': path}\n"
        "    return g(path), build_module(spec, MODELS)\n\n\n"
        "@MODELS.register_module()\ndef inner(path, cache_dir=None):\n"
        "    return AutoModel.from_pretrained(path, cache_dir=cache_dir)\n"
    )
    loaders = sources(tmp_path, loaders=body.replace("def g", HEAD + "def g", 1))
    where = str(tmp_path / "opensora/loaders.py")
    key = "cache_dir"
    listed = (("path", ""), ("hub", ""))
    assert thread(loaders, "f", values(path="o/n"), key, default="/d") == Threading(
        (
            SourceChange(where, "parameter", Span(15, 0, 17, 46), key, key, "/d"),
            SourceChange(where, "parameter", Span(5, 0, 11, 58), key, key, None),
            SourceChange(where, "docstring", Span(6, 4, 10, 7), key, key, None, listed),
            SourceChange(where, "call", Span(17, 11, 17, 18), key, key),
            SourceChange(where, "value", Span(11, 53, 11, 57), key, key),
            SourceChange(where, "dict", Span(16, 11, 16, 42), key, key),
        )
    )


def test_a_directory_that_the_config_gives_is_led_on_as_well(tmp_path: Path) -> None:
    body = REGISTERED.format("path", "pass")
    assert "from_pretrained(path, cache_dir=cache_dir)" in threaded(tmp_path, body, path="o/n", cache_dir="/old")
    unknown = Value(False, None, "NAME")
    assert "from_pretrained(path, cache_dir=cache_dir)" in threaded(tmp_path, body, path="o/n", cache_dir=unknown)


def test_keys_that_a_loader_rejects_for_other_reasons_are_no_obstacle(tmp_path: Path) -> None:
    plain = "class Plain:\n    def __init__(self, size=1):\n        pass\n\n\n"
    explicit = plain + REGISTERED.format("path, cache_dir=None", "Plain(cache_dir=cache_dir)")
    loaders = sources(tmp_path / "a", loaders=HEAD + explicit)
    after = edited(loaders, thread(loaders, "f", values(path="o/n"), "cache_dir"))
    assert text(after) == HEAD + explicit.replace("ned(path)", "ned(path, cache_dir=cache_dir)")
    assert thread(after, "f", values(path="o/n"), "cache_dir") == Threading()
    other = plain + REGISTERED.format("path, **kw", "Plain(**kw)")
    loaders = sources(tmp_path / "b", loaders=HEAD + other)
    after = edited(loaders, thread(loaders, "f", values(path="o/n", foo=1), "cache_dir"))
    assert text(after) == HEAD + other.replace("path, **kw", "path, cache_dir=None, **kw").replace(
        "ned(path)", "ned(path, cache_dir=cache_dir)"
    )


PLAIN = "class Plain:\n    def __init__(self, size=1):\n        pass\n\n\n"


def test_keywords_that_are_no_part_of_the_way_are_left_where_they_are(tmp_path: Path) -> None:
    body = REGISTERED.format("path, **kw", "Plain(foo=kw.get('cache_dir'))").replace("ned(path)", "ned(path, **kw)")
    assert (
        thread(sources(tmp_path / "a", loaders=HEAD + PLAIN + body), "f", values(path="o/n"), "cache_dir")
        == Threading()
    )
    both = REGISTERED.format("path, **kw", "Plain(**kw)").replace("ned(path)", "ned(path, **kw)")
    loaders = sources(tmp_path / "b", loaders=HEAD + PLAIN + both)
    after = edited(loaders, thread(loaders, "f", values(path="o/n", foo=1), "cache_dir"))
    assert text(after) == HEAD + PLAIN + both.replace("path, **kw):", "path, cache_dir=None, **kw):").replace(
        "ned(path, **kw)", "ned(path, cache_dir=cache_dir, **kw)"
    )


@pytest.mark.parametrize(
    ("nested", "given"), [({"type": "Plain"}, "**kw"), ({"type": "Plain", "cache_dir": "/x"}, "size=1")]
)
def test_the_key_is_kept_out_of_a_nested_loader_that_rejects_it_unless_the_config_itself_gives_it(
    nested: dict[str, object], given: str, tmp_path: Path
) -> None:
    body = (
        "@MODELS.register_module()\n"
        + PLAIN
        + REGISTERED.format("path, vae, **kw", f"build_module(vae, MODELS, {given})")
    )
    body = body.replace("ned(path)", "ned(path, **kw)")
    loaders = sources(tmp_path, loaders=HEAD + body)
    result = thread(loaders, "f", values(path="o/n", vae=nested), "cache_dir")
    if "cache_dir" in nested:
        assert result == Threading()
        return
    assert text(edited(loaders, result)) == HEAD + body.replace("vae, **kw", "vae, cache_dir=None, **kw").replace(
        "ned(path, **kw)", "ned(path, cache_dir=cache_dir, **kw)"
    )


def test_the_way_is_the_one_that_the_given_value_takes(tmp_path: Path) -> None:
    body = (
        "@MODELS.register_module()\ndef f(path, cache_dir=None):\n    other(cache_dir)\n    if cache_dir == '/x':\n"
        "        return AutoModel.from_pretrained(path)\n"
    )
    loaders = sources(tmp_path, loaders=HEAD + body)
    led = HEAD + body.replace("ned(path)", "ned(path, cache_dir=cache_dir)")
    for value in ("/x", Value(False, None, "NAME")):
        result = thread(loaders, "f", values(path="o/n", cache_dir=value), "cache_dir")
        assert text(edited(loaders, result)) == led
    for value in ("/y", "", None):
        assert thread(loaders, "f", values(path="o/n", cache_dir=value), "cache_dir") == Threading()


def test_a_flag_is_led_with_false_as_its_default(tmp_path: Path) -> None:
    body = (
        "def g(path):\n    return AutoModel.from_pretrained(path, local_files_only=False)\n\n\n"
        "@MODELS.register_module()\ndef f(path):\n    return g(path)\n"
    )
    assert threaded(tmp_path, body, key="local_files_only") == (
        "def g(path, local_files_only=False):\n"
        "    return AutoModel.from_pretrained(path, local_files_only=local_files_only)\n\n\n"
        "@MODELS.register_module()\ndef f(path, local_files_only=False):\n"
        "    return g(path, local_files_only=local_files_only)\n"
    )


def test_a_path_that_lies_in_the_checkout_is_local(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    body = "@MODELS.register_module()\ndef f(path):\n    return AutoModel.from_pretrained(path)\n"
    loaders = sources(tmp_path, loaders=HEAD + body)
    assert thread(loaders, "f", values(path="weights"), "cache_dir") == Threading()


def test_a_default_directory_is_led_on_from_kwargs_to_every_call(tmp_path: Path) -> None:
    body = (
        "@MODELS.register_module()\ndef f(path, **kw):\n    a = AutoModel.from_pretrained(path, **kw)\n"
        "    return a, AutoModel.from_pretrained('o/m')\n"
    )
    loaders = sources(tmp_path, loaders=HEAD + body)
    after = edited(loaders, thread(loaders, "f", values(path="o/n"), "cache_dir", default="/d"))
    assert text(after) == HEAD + (
        '@MODELS.register_module()\ndef f(path, cache_dir="/d", **kw):\n'
        "    a = AutoModel.from_pretrained(path, cache_dir=cache_dir, **kw)\n"
        "    return a, AutoModel.from_pretrained('o/m', cache_dir=cache_dir)\n"
    )


def test_of_several_special_cases_the_one_of_the_function_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = (
        "@MODELS.register_module()\ndef f(path, local=None):\n    x = local\n    if x:\n        name = path\n"
        "    if local:\n        path = './there'\n    return AutoModel.from_pretrained(path)\n"
    )
    cases = [
        SpecialCase("g", "local", ("path",), "o/g"),
        SpecialCase("f", "local", ("path",), "o/flag", "local_files_only"),
        SpecialCase("f", "local", ("path",), "o/f"),
    ]
    monkeypatch.setattr("rewriter.thread.SPECIAL_CASES", tuple(cases))
    loaders = sources(tmp_path, loaders=HEAD + body)
    result = thread(loaders, "f", values(path="o/n", local=True), "cache_dir")
    assert result.to_repo
    assert text(edited(loaders, result)) == HEAD + (
        "@MODELS.register_module()\ndef f(path, local=None, cache_dir=None):\n    x = local\n    if x:\n"
        '        name = path\n    if cache_dir is not None:\n        path = "o/f"\n    elif local:\n'
        "        path = './there'\n    return AutoModel.from_pretrained(path, cache_dir=cache_dir)\n"
    )
    for other in (
        body.replace("if local", "if local is 1"),
        body.replace("'./there'", "path").replace("path = path", "x = 1"),
    ):
        again = thread(sources(tmp_path / "b", loaders=HEAD + other), "f", values(path="o/n", local=True), "cache_dir")
        assert not again.to_repo


def test_a_nested_dict_of_the_config_answers_for_itself(tmp_path: Path) -> None:
    body = (
        "@MODELS.register_module()\ndef inner(path):\n    return AutoModel.from_pretrained(path)\n\n\n"
        "@MODELS.register_module()\ndef f(path, vae=None, **kw):\n"
        "    return build_module(vae, MODELS, **kw), AutoModel.from_pretrained(path)\n"
    )
    vae = {"type": "inner", "path": "o/vae"}
    loaders = sources(tmp_path, loaders=HEAD + body)
    after = edited(loaders, thread(loaders, "f", values(path="o/n", vae=vae), "cache_dir"))
    assert text(after) == HEAD + body.replace("vae=None, **kw", "vae=None, cache_dir=None, **kw").replace(
        "ned(path)\n", "ned(path, cache_dir=cache_dir)\n"
    ).replace("ned(path, cache_dir=cache_dir)\n\n\n", "ned(path)\n\n\n")


def test_a_way_that_takes_too_many_steps_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = "".join(f"    AutoModel.from_pretrained('o/{n}')\n" for n in range(4))
    loaders = sources(tmp_path, loaders=HEAD + f"@MODELS.register_module()\ndef f(path):\n{calls}")
    given = values(path="o/n")
    assert len(thread(loaders, "f", given, "cache_dir").changes) == 5
    monkeypatch.setattr("rewriter.thread.MAX_ROUNDS", 4)
    assert thread(loaders, "f", given, "cache_dir") == Threading(
        (), "the way of cache_dir through this loader is too long", "", 0
    )
    monkeypatch.setattr("rewriter.thread.MAX_ROUNDS", 5)
    assert thread(loaders, "f", given, "cache_dir").refusal is None


def test_a_source_that_is_a_link_out_of_the_checkout_is_not_edited(tmp_path: Path) -> None:
    loaders = sources(tmp_path / "root", loaders=HEAD + "\n\n" + REGISTERED.format("path", "pass"))
    place = tmp_path / "root" / "opensora" / "loaders.py"
    away = place.rename(tmp_path / "away.py")
    place.symlink_to(away)
    why = f"its source is a link to {away}, out of the checkout; name that one's root with --opensora-source DIR"
    assert thread(loaders, "f", values(path="o/n"), "cache_dir") == Threading((), why, str(place), 8)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("path, cache_dir=None", 'path, cache_dir="/d"'),
        ("path, cache_dir='/old'", "path, cache_dir='/d'"),
        ("path, *, cache_dir=None", 'path, *, cache_dir="/d"'),
        ("path, *, size=1, cache_dir=None, x", 'path, *, size=1, cache_dir="/d", x'),
        ("a=1, path=None, cache_dir=None", 'a=1, path=None, cache_dir="/d"'),
        ("path, cache_dir=None, a=1", 'path, cache_dir="/d", a=1'),
        ("a=1, /, path=None, cache_dir=None", 'a=1, /, path=None, cache_dir="/d"'),
        ("path, cache_dir='/d'", "path, cache_dir='/d'"),
        ("path, cache_dir=NAME", "path, cache_dir=NAME"),
        ("path, cache_dir", "path, cache_dir"),
        ("path, *, cache_dir", "path, *, cache_dir"),
    ],
)
def test_a_default_directory_takes_the_place_of_the_one_that_is_there(
    header: str, expected: str, tmp_path: Path
) -> None:
    body = f"@MODELS.register_module()\ndef f({header}):\n    return "
    body += "AutoModel.from_pretrained(path, cache_dir=cache_dir)\n"
    loaders = sources(tmp_path, loaders=HEAD + body)
    result = thread(loaders, "f", values(path="o/n"), "cache_dir", default="/d")
    after = edited(loaders, result)
    assert (text(after) if result.changes else HEAD + body) == HEAD + body.replace(header, expected)
    assert thread(after, "f", values(path="o/n"), "cache_dir", default="/d") == Threading()
    assert thread(loaders, "f", values(path=str(tmp_path)), "cache_dir", default="/d") == Threading()


def test_a_type_that_nobody_registered_needs_no_change(tmp_path: Path) -> None:
    assert thread(sources(tmp_path, loaders=HEAD), "unheard-of", values(path="o/n"), "cache_dir", "/d") == Threading()


# --- run for real, on stand-ins of the libraries ----------------------------------------------


class Recorder:
    """Stands for a library class: notes what it is asked to load."""

    seen: ClassVar[list[tuple[object, object]]] = []

    def __init__(self) -> None:
        self.config = types.SimpleNamespace(d_model=1, hidden_size=1)

    @classmethod
    def from_pretrained(cls, path: object, cache_dir: object = None, **_: object) -> Recorder:
        cls.seen.append((path, cache_dir))
        return cls()

    def __call__(self, *_: object, **__: object) -> Recorder:
        return self

    def __getattr__(self, name: str) -> object:
        return self


class Anything(types.ModuleType):
    """A module that has everything."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return Recorder if name[0].isupper() else Recorder()


@pytest.fixture
def t5_of_v1_0(monkeypatch: pytest.MonkeyPatch) -> tuple[type, type]:
    """``T5Encoder`` of the v1.0 fixture, after and before the edit, on libraries that only take notes."""
    loaders = Sources(str(FIXTURES / "v1.0"))
    result = thread(loaders, "t5", values(from_pretrained="./pretrained_models/t5_ckpts"), "cache_dir")
    path = result.changes[0].path
    for name in ("torch", "transformers", "huggingface_hub"):
        monkeypatch.setitem(sys.modules, name, Anything(name))
    registry = types.ModuleType("opensora.registry")
    registry.MODELS = types.SimpleNamespace(register_module=lambda *_: lambda cls: cls)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "opensora", types.ModuleType("opensora"))
    monkeypatch.setitem(sys.modules, "opensora.registry", registry)

    def load(data: bytes) -> type:
        names: dict[str, object] = {"__name__": "t5"}
        exec(compile(data, path, "exec"), names)
        return names["T5Encoder"]  # type: ignore[return-value]

    Recorder.seen = []
    old = Path(path).read_bytes()
    return load(edit_source(old, result.changes)), load(old)


def test_the_edited_v1_0_t5_runs(t5_of_v1_0: tuple[type, type]) -> None:
    new, old = t5_of_v1_0
    old("./pretrained_models/t5_ckpts")
    before, Recorder.seen = Recorder.seen, []
    new("./pretrained_models/t5_ckpts")
    assert Recorder.seen == before
    assert before[0][0] == "./pretrained_models/t5_ckpts/t5-v1_1-xxl"
    Recorder.seen = []
    new("./pretrained_models/t5_ckpts", cache_dir="/c")
    assert Recorder.seen == [("DeepFloyd/t5-v1_1-xxl", "/c")] * 2


def test_positional_calls_still_bind_as_before(t5_of_v1_0: tuple[type, type]) -> None:
    new, old = (inspect.signature(each.__init__) for each in t5_of_v1_0)
    count = len(old.parameters)
    assert list(new.parameters)[:count] == list(old.parameters)
    assert list(new.bind(*range(count)).arguments.values()) == list(range(count))


def test_a_parameter_that_only_shares_the_name_is_refused_and_an_inner_one_is_passed_by(tmp_path: Path) -> None:
    loader = (
        "def {name}(path, cache_dir='features'):\n    index = open(cache_dir + '/index')\n"
        "    return AutoModel.from_pretrained(path), index\n"
    )
    registered = HEAD + "@MODELS.register_module()\n" + loader.format(name="f")
    result = thread(sources(tmp_path / "a", loaders=registered), "f", values(path="o/n"), "cache_dir")
    assert (result.changes, result.refusal) == ((), "f uses the name cache_dir for something else")
    body = loader.format(name="load") + "\n\n@MODELS.register_module()\ndef f(path):\n    return load(path)\n"
    assert "def load(path, cache_dir='features', hub_cache_dir=None):" in threaded(tmp_path / "b", body)


def test_a_helper_that_is_called_twice_is_led_to_on_both_ways(tmp_path: Path) -> None:
    body = """
def load(path):
    return AutoModel.from_pretrained(path)

@MODELS.register_module()
def f(path):
    load(path)
    load("o/b")
"""
    assert (
        threaded(tmp_path, body)
        == """
def load(path, cache_dir=None):
    return AutoModel.from_pretrained(path, cache_dir=cache_dir)

@MODELS.register_module()
def f(path, cache_dir=None):
    load(path, cache_dir=cache_dir)
    load("o/b", cache_dir=cache_dir)
"""
    )


def test_every_embedder_of_v1_0_loads_from_the_cache_not_only_the_first(tmp_path: Path) -> None:
    path = str(FIXTURES / "v1.0" / "opensora/models/text_encoder/t5.py")
    first = "        embedder.encoder.to(dtype)\n"
    second = "        self.other = T5Embedder(cache_dir=from_pretrained, local_cache=local_cache, **asked)\n"
    source = Path(path).read_text().replace(first, first + second).encode()
    loaders = Sources(str(FIXTURES / "v1.0"), overlay={path: source})
    result = thread(loaders, "t5", values(from_pretrained="./pretrained_models/t5_ckpts"), "cache_dir")
    after = loaders.edited({path: edit_source(source, result.changes)})
    for given, repo in ((values(cache_dir="/c"), "DeepFloyd/t5-v1_1-xxl"), ({}, "./ckpts/t5-v1_1-xxl")):
        trace = after.trace("t5", {**values(from_pretrained="./ckpts"), **given})
        assert [call.repo_id for call in trace.calls] == [repo] * 4
        assert {call.reached for call in trace.calls} == {frozenset({"cache_dir"} if given else ())}
