"""Run a small checkout's loaders for real, with libraries that only write down what is asked of them.

What only running would tell (``outside.coin()``) is tossed both ways, so that every way through a loader is run.
"""

from __future__ import annotations

import ast
import copy
import importlib.abc
import importlib.machinery
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any, NamedTuple

from rewriter.types import HubCall, Trace

CACHE_DIR, LOCAL_FILES_ONLY = "/c", 7
"""What the config gives: no source has these by itself."""

MOST_RUNS = 64
MOST_COINS = 8


class Call(NamedTuple):
    """A call of the Hub, as :class:`HubCall` tells it and as it happened."""

    kind: str
    class_name: str
    repo_id: str | None
    subfolder: str | None
    revision: str | None
    filename: str | None
    reached: frozenset[str]
    chain: tuple[tuple[str, int], ...]


class Run(NamedTuple):
    """One run: its calls in order; the keyword and function of a ``TypeError``; the line of an error.

    One that ends by an error has no calls that it makes on its way out.
    ``raised``: it ended by another error. ``shaken``: a call that is none of the loader's raised, and that was caught.
    """

    calls: list[Call]
    rejected: tuple[str, str] | None = None
    failed: int | None = None
    raised: bool = False
    shaken: bool = False

    @property
    def is_over(self) -> bool:
        """Whether it ended by an error."""
        return bool(self.rejected or self.failed or self.raised)

    @property
    def is_whole(self) -> bool:
        """Whether it came to its end without anything unforeseen."""
        return not (self.is_over or self.shaken)


class _World:
    """One run's tosses and calls."""

    def __init__(self, root: Path, tosses: list[bool]) -> None:
        self.root = str(root)
        self.tosses = tosses
        self.tossed = 0
        self.calls: list[Call] = []
        self.before_errors: list[Call] = []
        self.shaken = False
        self.names: dict[str, dict[int, str]] = {}

    def coin(self) -> bool:
        if self.tossed == len(self.tosses):
            self.tosses.append(False)
        self.tossed += 1
        return self.tosses[self.tossed - 1] if self.tossed <= MOST_COINS else False

    def note(self, kind: str, class_name: str, repo: object, keywords: Mapping[str, object]) -> None:
        told = {name: keywords.get(name) for name in ("subfolder", "revision", "filename")}
        ours = {"cache_dir": CACHE_DIR, "local_files_only": LOCAL_FILES_ONLY}
        reached = frozenset(name for name, value in ours.items() if keywords.get(name) == value)
        strings = {name: value if isinstance(value, str) else None for name, value in told.items()}
        repo_id = str(repo) if isinstance(repo, (str, Path)) else None
        self.calls.append(Call(kind, class_name, repo_id, **strings, reached=reached, chain=self._chain()))
        if sys.exc_info()[0] is None:
            self.before_errors.append(self.calls[-1])

    def _chain(self) -> tuple[tuple[str, int], ...]:
        found: list[tuple[str, int]] = []
        frame: FrameType | None = sys._getframe()
        while frame is not None:
            code = frame.f_code
            if code.co_filename.startswith(self.root) and not code.co_filename.endswith("registry.py"):
                name = self._name(code)
                if name:
                    found.append((name, frame.f_lineno))
            frame = frame.f_back
        return tuple(reversed(found))

    def _name(self, code: CodeType) -> str | None:
        if code.co_filename not in self.names:
            tree = ast.parse(Path(code.co_filename).read_text())
            self.names[code.co_filename] = dict(_functions(tree))
        return self.names[code.co_filename].get(code.co_firstlineno) if code.co_name[0] != "<" else None


def _functions(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        for each in getattr(node, "body", ()) if not isinstance(node, (ast.Lambda, ast.IfExp)) else ():
            if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef)):
                first = min([each.lineno, *(decorator.lineno for decorator in each.decorator_list)])
                yield first, f"{node.name}.{each.name}" if isinstance(node, ast.ClassDef) else each.name


class _Registry:
    """``mmengine.registry.Registry``, as far as loaders use it."""

    def __init__(self, name: str) -> None:
        self.known: dict[str, Any] = {}

    def register_module(self, name: Any = None, module: Any = None, force: bool = False) -> Any:
        def register(made: Any) -> Any:
            for each in name if isinstance(name, list) else [name or made.__name__]:
                self.known[each] = made
            return made

        return register if module is None else register(module)

    def build(self, config: dict[str, Any]) -> Any:
        keywords = {name: value for name, value in config.items() if name not in ("type", "_scope_")}
        kind = config["type"]
        return (self.known[kind] if isinstance(kind, str) else kind)(**keywords)


def _libraries(world: _World) -> dict[str, ModuleType]:
    def hub_class(name: str, *bases: type) -> type:
        def from_pretrained(cls: Any, pretrained_model_name_or_path: Any = None, *rest: Any, **keywords: Any) -> Any:
            world.note("from_pretrained", cls.__name__, pretrained_model_name_or_path, keywords)
            return _made(cls, keywords) if cls.__name__ != name else object.__new__(cls)

        from_pretrained.__qualname__ = f"{name}.from_pretrained"
        return type(name, bases, {"from_pretrained": classmethod(from_pretrained)})

    class Config:
        def __init__(self, **keywords: Any) -> None:
            vars(self).update(keywords)

    class Module:
        def __init__(self, *args: Any, **keywords: Any) -> None:
            vars(self).update(keywords)
            if args:
                self.config = args[0]

        def to(self, *_: Any) -> Any:
            return self

        eval = __call__ = to

    class Plain(Module):
        def __init__(self, **keywords: Any) -> None:
            for name in keywords:
                raise TypeError(f"{type(self).__name__}.__init__() got an unexpected keyword argument '{name}'")

    def hf_hub_download(repo_id: str, filename: str, **keywords: Any) -> str:
        world.note("hf_hub_download", "", repo_id, {"filename": filename, **keywords})
        return "/downloaded/" + filename

    def snapshot_download(repo_id: str, **keywords: Any) -> str:
        world.note("snapshot_download", "", repo_id, keywords)
        return "/downloaded"

    def fail() -> None:
        if world.coin():
            world.shaken = True
            raise ValueError("it fails")

    def build_module(module: Any, builder: Any, **keywords: Any) -> Any:
        return builder.build({**module, **keywords})

    def itself(item: Any) -> Any:
        return item

    def some(item: Any) -> Iterator[Any]:
        while world.coin():
            yield item

    hub = {name: hub_class(name) for name in ("AutoModel", "AutoTokenizer", "T5EncoderModel")}
    contents: dict[str, dict[str, Any]] = {
        "transformers": {**hub, "PreTrainedModel": hub_class("PreTrainedModel", Module), "PretrainedConfig": Config},
        "diffusers": {"AutoencoderKL": hub_class("AutoencoderKL"), "ModelMixin": hub_class("ModelMixin", Module)},
        "huggingface_hub": {"hf_hub_download": hf_hub_download, "snapshot_download": snapshot_download},
        "mmengine": {},
        "mmengine.registry": {"Registry": _Registry, "MODELS": _Registry("model")},
        "torch": {"nn": ModuleType("torch.nn")},
        "outside": {
            "build_module": build_module,
            "coin": world.coin,
            "fail": fail,
            "some": some,
            "itself": lambda item: item,
        },
    }
    contents["torch"]["nn"].Module = Plain  # type: ignore[attr-defined]
    modules: dict[str, ModuleType] = {}
    for name, members in contents.items():
        modules[name] = ModuleType(name)
        modules[name].__dict__.update(members)
    return {**modules, "torch.nn": contents["torch"]["nn"]}


def _made(cls: Any, keywords: dict[str, Any]) -> Any:
    """What ``PreTrainedModel.from_pretrained`` makes: keywords that the config has are the config's."""
    from rewriter.loaders.library import HUB_KEYWORDS

    rest = {name: value for name, value in keywords.items() if name not in HUB_KEYWORDS}
    config = rest.pop("config", None)
    if config is None and getattr(cls, "config_class", None) is not None:
        config = cls.config_class()
        for name in [name for name in rest if hasattr(config, name)]:
            setattr(config, name, rest.pop(name))
    return cls(config, **rest) if config is not None else cls(**rest)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports the checkout's files from compiled code, anew in each run."""

    def __init__(self, root: Path) -> None:
        self.code: dict[str, tuple[CodeType, bool]] = {"opensora": (compile("", "<package>", "exec"), True)}
        for path in root.rglob("opensora/**/*.py"):
            parts = path.relative_to(root).with_suffix("").parts
            package = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if package else parts)
            self.code[name] = (compile(path.read_text(), str(path), "exec"), package)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name not in self.code:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=self.code[name][1])

    def exec_module(self, module: ModuleType) -> None:
        exec(self.code[module.__name__][0], module.__dict__)


@contextmanager
def _importable(finder: _Finder, libraries: dict[str, ModuleType]) -> Iterator[None]:
    before = dict(sys.modules)
    sys.modules.update(libraries)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [*libraries, *(name for name in sys.modules if name.partition(".")[0] == "opensora")]:
            sys.modules.pop(name, None)
        sys.modules.update(before)


def runs(root: Path, type_name: str, keywords: Mapping[str, object], module: str = "opensora.loaders") -> list[Run]:
    """Build ``type_name`` once for every way in which the coins may fall."""
    finder = _Finder(root)
    found: list[Run] = []
    ahead: list[list[bool]] = [[]]
    while ahead and len(found) < MOST_RUNS:
        tosses = ahead.pop()
        known = len(tosses)
        world = _World(root, tosses)
        with _importable(finder, _libraries(world)):
            found.append(_run(world, type_name, keywords, module))
        ahead += [[*tosses[:place], True] for place in range(known, min(len(tosses), MOST_COINS))]
    return found


_REFUSED = re.compile(
    r"(?:(?:builtins|executing|opensora\.\w+)\.)?([\w.<>]+)\(\) got "
    r"(?:an unexpected keyword argument|multiple values for (?:keyword )?argument) '(\w+)'"
)


def _run(world: _World, type_name: str, keywords: Mapping[str, object], module: str) -> Run:
    importlib.import_module(module)
    models = sys.modules["opensora.registry"].MODELS
    try:
        models.build({"type": type_name, **copy.deepcopy(dict(keywords))})
    except TypeError as error:
        told = _REFUSED.search(str(error))
        if told is None:
            raise
        return Run(world.before_errors, rejected=(told[2], told[1].rpartition("<locals>.")[2]))
    except (AssertionError, ValueError, KeyError, IndexError, RuntimeError) as error:
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        line = trace.tb_lineno if trace else 0
        return Run(world.before_errors, failed=line, raised=not isinstance(error, AssertionError))
    return Run(world.calls, shaken=world.shaken)


# --- comparing ------------------------------------------------------------------------------------


def told(call: HubCall) -> Call:
    """What the evaluation says of a call."""
    chain = tuple((step.function, step.line) for step in call.chain)
    return Call(
        call.kind, call.class_name, call.repo_id, call.subfolder, call.revision, call.filename, call.reached, chain
    )


def same(trace: Trace, happened: list[Run]) -> None:
    """Assert that a trace says what happened, no more and no less."""
    assert trace.unknown == ()
    happened_calls = [call for run in happened for call in run.calls]
    if len(happened) == 1 and happened[0].is_whole:
        assert [told(call) for call in trace.calls] == list(dict.fromkeys(happened_calls))
    stopped = any(run.rejected or (run.failed and not run.raised) for run in happened)
    said, done = _surely([told(call) for call in trace.calls]), _surely(happened_calls)
    assert {call: reached for call, reached in said.items() if not stopped or call in done} == done
    certain = {told(call)._replace(reached=frozenset()) for call in trace.calls if call.certain}
    whole = [(run, {call._replace(reached=frozenset()) for call in run.calls}) for run in happened if not run.is_over]
    if whole:
        assert set.intersection(*(calls for _, calls in whole)) <= certain
        assert certain <= set.intersection(*(calls for run, calls in whole if not run.shaken))
    _stops(trace, happened)


def _surely(calls: list[Call]) -> dict[Call, frozenset[str]]:
    """Each call, and the keywords that reach it in every case."""
    found: dict[Call, frozenset[str]] = {}
    for call in calls:
        plain = call._replace(reached=frozenset())
        found[plain] = found.get(plain, call.reached) & call.reached
    return found


def _stops(trace: Trace, happened: list[Run]) -> None:
    rejections = {(each.key, each.function) for each in trace.rejections}
    rejected = {run.rejected for run in happened if run.rejected}
    assert rejected <= rejections
    assert bool(rejections) == bool(rejected)
    failures = {failure.line for failure in trace.failures}
    assert failures <= {run.failed for run in happened if run.failed}
    asserted = {run.failed for run in happened if run.failed and not run.raised}
    assert asserted <= failures or len(happened) > 1


def covers(trace: Trace, happened: list[Run]) -> None:
    """Assert that what happened is among what a trace says, and that it is certain of nothing else."""
    for run in happened:
        for call in run.calls:
            assert any(_fits(each, call) for each in trace.calls), call
    for each in trace.calls:
        for run in happened:
            if each.certain and run.is_whole:
                assert any(_fits(each, call) for call in run.calls), each
    rejections = {(each.key, each.function) for each in trace.rejections}
    assert {run.rejected for run in happened if run.rejected} <= rejections


def _fits(said: HubCall, call: Call) -> bool:
    each = told(said)
    known = all(one is None or one == other for one, other in zip(each[2:6], call[2:6], strict=True))
    return each[:2] == call[:2] and known and each.reached <= call.reached and each.chain[-1] == call.chain[-1]
