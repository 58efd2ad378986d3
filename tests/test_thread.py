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
from rewriter.thread import Threading, thread
from rewriter.types import SourceChange

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
    return Sources(loaders.root, overlay={p: edit_source(Path(p).read_bytes(), c) for p, c in changes.items()})


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


def test_a_callee_that_rejects_the_key_never_receives_it(tmp_path: Path) -> None:
    body = (
        "class Plain:\n    def __init__(self, size=1):\n        pass\n\n\n"
        "@MODELS.register_module()\n"
        "def f(path, **kwargs):\n"
        "    Plain(**kwargs)\n"
        "    return AutoModel.from_pretrained(path, **kwargs)\n"
    )
    assert threaded(tmp_path, body).endswith(
        "def f(path, cache_dir=None, **kwargs):\n"
        "    Plain(**kwargs)\n"
        "    return AutoModel.from_pretrained(path, cache_dir=cache_dir, **kwargs)\n"
    )


def test_branches_that_these_values_do_not_take_keep_what_they_had(tmp_path: Path) -> None:
    body = (
        "@MODELS.register_module()\n"
        "def f(path, big=False, **kwargs):\n"
        "    if big:\n"
        "        return AutoModel.from_pretrained(path, **kwargs)\n"
        "    return AutoModel.from_pretrained(path)\n"
    )
    after = threaded(tmp_path, body)
    assert after.count("cache_dir=cache_dir") == 2


def test_a_parameter_that_is_there_and_not_fed_is_used(tmp_path: Path) -> None:
    body = (
        "def load(path, cache_dir=None):\n    return AutoModel.from_pretrained(path, cache_dir=cache_dir)\n\n\n"
        "@MODELS.register_module()\ndef f(path):\n    return load(path)\n"
    )
    assert "def load(path, cache_dir=None):" in threaded(tmp_path, body)


def test_a_constant_none_in_the_way_is_replaced(tmp_path: Path) -> None:
    body = "@MODELS.register_module()\ndef f(path):\n    return AutoModel.from_pretrained(path, cache_dir=None)\n"
    assert threaded(tmp_path, body).endswith("AutoModel.from_pretrained(path, cache_dir=cache_dir)\n")


def test_a_name_that_means_something_else_in_an_inner_function_is_not_reused(tmp_path: Path) -> None:
    body = (
        "def load(path, cache_dir):\n    print(cache_dir)\n    return AutoModel.from_pretrained(path)\n\n\n"
        "@MODELS.register_module()\ndef f(path):\n    return load(path, cache_dir='logs')\n"
    )
    after = threaded(tmp_path, body)
    assert "def load(path, cache_dir, hub_cache_dir=None):" in after
    assert "load(path, cache_dir='logs', hub_cache_dir=cache_dir)" in after


@pytest.mark.parametrize(
    "body",
    [
        "def f(path):\n    cache_dir = 'logs'\n    return AutoModel.from_pretrained(path), cache_dir\n",
        "def f(path):\n    return AutoModel.from_pretrained(path, cache_dir='elsewhere')\n",
        "def f(path):\n    return AutoModel.from_pretrained(path, **dict(cache_dir='elsewhere'))\n",
    ],
)
def test_a_registered_loader_that_uses_the_name_for_something_else_is_refused(tmp_path: Path, body: str) -> None:
    result = thread(
        sources(tmp_path, loaders=HEAD + "@MODELS.register_module()\n" + body), "f", values(path="o/n"), "cache_dir"
    )
    assert result.changes == ()
    assert result.refusal is not None
    assert "something else" in result.refusal or "another value" in result.refusal
    assert result.refusal_path.endswith("loaders.py")
    assert result.refusal_line >= 6


def test_a_config_object_in_the_way_is_refused(tmp_path: Path) -> None:
    body = (
        "class Config(PretrainedConfig):\n    def __init__(self, name=None, **kw):\n        self.name = name\n\n\n"
        "class Own(PreTrainedModel):\n    config_class = Config\n\n    def __init__(self, config):\n"
        "        self.text = AutoModel.from_pretrained(config.name)\n\n\n"
        "@MODELS.register_module()\ndef f(path):\n    return Own.from_pretrained(path, name='o/text')\n"
    )
    result = thread(sources(tmp_path, loaders=HEAD + body), "f", values(path="o/n"), "cache_dir")
    assert result.refusal is not None
    assert "by way of an object" in result.refusal


def test_a_dict_display_that_is_built_gets_the_key(tmp_path: Path) -> None:
    body = (
        "@MODELS.register_module()\ndef inner(path):\n    return AutoModel.from_pretrained(path)\n\n\n"
        '@MODELS.register_module()\ndef f(path):\n    spec = {"type": "inner", "path": "o/inner"}\n'
        "    return build_module(spec, MODELS), AutoModel.from_pretrained(path)\n"
    )
    assert '{"type": "inner", "path": "o/inner", "cache_dir": cache_dir}' in threaded(tmp_path, body)


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
