"""What the evaluation knows of Python and of libraries: string and path functions, comparisons, hub keywords."""

from __future__ import annotations

import ast
import os
from contextlib import suppress
from typing import Any

from rewriter.loaders.values import (
    TRACKED,
    Choice,
    Class,
    Const,
    Dict,
    External,
    Function,
    Instance,
    Module,
    Sequence,
    Unknown,
    Val,
    elements,
    truth,
)

BUILTINS = frozenset(
    {"dict", "list", "tuple", "set", "str", "int", "float", "bool", "len", "isinstance", "getattr", "hasattr", "print",
     "setattr", "super", "type", "range", "enumerate", "zip", "sorted", "max", "min", "sum", "any", "all", "vars",
     "callable", "object"}
)  # fmt: skip

DOWNLOADS = frozenset({"hf_hub_download", "snapshot_download"})

# The parameter that names the repo: transformers, diffusers; huggingface_hub.
HUB_FIRST = {
    "from_pretrained": ("pretrained_model_name_or_path", "pretrained_model_or_path"),
    "hf_hub_download": ("repo_id",),
    "snapshot_download": ("repo_id",),
}

# Keywords that ``from_pretrained`` keeps to itself (transformers 4.x, diffusers): they never become config attributes.
HUB_KEYWORDS = frozenset(
    {"cache_dir", "force_download", "resume_download", "proxies", "local_files_only", "token", "use_auth_token",
     "revision", "subfolder", "torch_dtype", "device_map", "low_cpu_mem_usage", "use_safetensors", "variant",
     "trust_remote_code", "output_loading_info", "ignore_mismatched_sizes", "from_tf", "from_flax"}
)  # fmt: skip

# Libraries whose classes have no ``from_pretrained`` to inherit.
NO_HUB = frozenset({"torch", "builtins", "abc", "typing", "typing_extensions", "enum", "collections", "dataclasses"})

# Classes whose ``__init__`` takes no keyword.
_NO_KEYWORDS = frozenset(
    {"builtins.object", "abc.ABC", "typing.Protocol", "typing_extensions.Protocol", "torch.nn.Module",
     "torch.nn.modules.Module", "torch.nn.modules.module.Module"}
)  # fmt: skip

# Libraries the ``__init__`` of whose classes loads nothing.
MODELS_OF = frozenset({"transformers", "diffusers"})

# Builtins that call a function which they are given.
CALL_WHAT_THEY_GET = frozenset({"sorted", "max", "min"})

# Modules whose functions are given paths and load nothing from the Hub.
_NO_LOADERS = NO_HUB | {"copy", "glob", "json", "logging", "math", "numpy", "os", "pathlib", "re", "shutil", "sys",
                        "warnings"}  # fmt: skip

# Methods of a module that give the module itself back.
SAME_OBJECT = frozenset({"to", "eval", "half", "float", "cuda", "cpu", "train", "requires_grad_", "apply", "bfloat16"})

# Methods of a logger: what it says is nothing to us, and it need not be known which logger it is.
LOGGING = frozenset({"debug", "info", "warning", "warn", "error", "exception", "critical", "log"})

_STRING_METHODS = frozenset(
    {"split", "rsplit", "join", "startswith", "endswith", "strip", "lstrip", "rstrip", "lower", "upper", "replace",
     "partition", "rpartition", "removeprefix", "removesuffix", "title", "splitlines", "format"}
)  # fmt: skip
_ON_DISK = {
    "os.path.exists": os.path.exists,
    "os.path.lexists": os.path.lexists,
    "os.path.isdir": os.path.isdir,
    "os.path.isfile": os.path.isfile,
}
_PATH_FUNCTIONS = {
    "os.path.join": os.path.join,
    "os.path.basename": os.path.basename,
    "os.path.dirname": os.path.dirname,
    "os.path.normpath": os.path.normpath,
    "os.path.expanduser": os.path.expanduser,
    "builtins.str": str,
}
# Functions that give the same path back, in another spelling: a cache_dir stays a cache_dir.
_SAME_PATH = frozenset(
    {"os.path.expanduser", "os.path.expandvars", "os.path.abspath", "os.path.realpath", "os.path.normpath",
     "os.fspath", "builtins.str", "pathlib.Path"}
)  # fmt: skip
_MAX_TEXT = 4096


def loads_nothing(function: str) -> bool:
    """Whether a function, by its name, certainly loads nothing from the Hub with what it is given."""
    first, last = function.split(".")[0], function.rpartition(".")[2]
    return first in _NO_LOADERS or last in LOGGING


def refuses(kind: str, key: str) -> bool:
    """Whether the ``__init__`` of a class from outside the checkout certainly takes no such keyword."""
    return kind in _NO_KEYWORDS or (key in TRACKED and kind.startswith("torch."))


def to_val(value: object, given: bool) -> Val:
    """A Python object that was computed from known ones."""
    if isinstance(value, (list, tuple)):
        return Sequence([to_val(each, given) for each in value], isinstance(value, tuple))
    if isinstance(value, str) and len(value) > _MAX_TEXT:
        return Unknown()
    return Const(value, given)


def _plain(values: list[Val]) -> list[object] | None:
    """The Python objects behind known values; None if one is not known."""
    found: list[object] = []
    for value in values:
        if isinstance(value, Const):
            found.append(value.value)
        elif isinstance(value, Sequence) and not value.open and (inner := _plain(value.items)) is not None:
            found.append(tuple(inner))
        else:
            return None
    return found


def given(values: list[Val]) -> bool:
    """True if the config has a part in these values."""
    return any(
        (isinstance(value, (Const, Dict)) and value.given) or (isinstance(value, Sequence) and given(value.items))
        for value in values
    )


def method(receiver: Val, name: str, positional: list[Val]) -> Val:
    """``receiver.name(...)`` of a known string."""
    if isinstance(receiver, Const) and isinstance(receiver.value, str) and name in _STRING_METHODS:
        plain = _plain(positional)
        if plain is not None:
            with suppress(TypeError, ValueError, IndexError, KeyError, AttributeError):
                return to_val(getattr(receiver.value, name)(*plain), given([receiver, *positional]))
    return Unknown()


def function(name: str, positional: list[Val], root: str) -> Val:
    """A function from outside the checkout, called with these values."""
    if name.startswith("posixpath."):
        name = "os.path." + name.removeprefix("posixpath.")
    if name in _ON_DISK and len(positional) == 1:
        return _on_disk(name, positional[0], root)
    if name in _SAME_PATH and len(positional) == 1 and positional[0].key is not None:
        return positional[0]
    if name == "builtins.isinstance" and len(positional) == 2:
        return _is_instance(positional[0], positional[1])
    if name in _OF_ONE and len(positional) == 1:
        return _of_one(name, positional[0])
    if name in _PATH_FUNCTIONS and positional:
        return _folded(name, positional)
    if name == "pathlib.Path" and len(positional) == 1 and isinstance(positional[0], Const):
        return positional[0]
    return Unknown()


def _folded(name: str, positional: list[Val]) -> Val:
    """A function of known strings."""
    plain = _plain(positional)
    if plain is not None and all(isinstance(each, str) for each in plain):
        with suppress(TypeError):  # too many of them
            return to_val(_PATH_FUNCTIONS[name](*plain), given(positional))  # type: ignore[operator]
    return Unknown()


_OF_ONE = frozenset({"builtins.len", "builtins.bool", "builtins.list", "builtins.tuple", "builtins.set"})


def _of_one(name: str, value: Val) -> Val:
    """``len(x)``, ``bool(x)``, ``list(x)`` and so on."""
    if name == "builtins.bool":
        decided = truth(value)
        return Unknown() if decided is None else Const(decided, given([value]))
    items = elements(value)
    if items is not None:
        if name == "builtins.set":
            return as_set(items)
        return Const(len(items)) if name == "builtins.len" else Sequence(list(items), name == "builtins.tuple")
    if isinstance(value, Const) and name == "builtins.len" and isinstance(value.value, str):
        return Const(len(value.value), value.given)
    return Unknown()


def as_set(items: list[Val]) -> Sequence:
    """A set of these; its elements are not known where two of them may be the same."""
    found: list[Val] = []
    known = len(items) < 2 or all(isinstance(each, Const) for each in items)
    for each in items:
        if not any(_equal(each, other) for other in found):
            found.append(each)
    made = Sequence(found)
    made.open = not known
    return made


def path_join(parts: list[Val]) -> Val:
    """``Path(a) / b``, a path being held as its string."""
    return _folded("os.path.join", parts)


def _on_disk(name: str, value: Val, root: str) -> Val:
    """``os.path.exists`` and its kin, relative paths taken from the checkout root."""
    if isinstance(value, Choice):
        answers = [_on_disk(name, option, root) for option in value.options]
        known = {answer.value if isinstance(answer, Const) else None for answer in answers}
        return Const(known.pop()) if known in ({True}, {False}) else Unknown()
    if not isinstance(value, Const) or not isinstance(value.value, str):
        return Unknown()
    return Const(value.value != "" and _ON_DISK[name](os.path.join(root, os.path.expanduser(value.value))))


_KINDS: dict[str, type | tuple[type, ...]] = {
    "builtins.str": str,
    "builtins.int": int,
    "builtins.float": float,
    "builtins.bool": bool,
}


def _is_instance(value: Val, kinds: Val) -> Val:
    results = [_is_one(value, kind) for kind in (kinds.items if isinstance(kinds, Sequence) else [kinds])]
    if True in results:
        return Const(True)
    return Unknown() if None in results else Const(False)


def _is_one(value: Val, kind: Val) -> bool | None:
    name = kind.name if isinstance(kind, External) else None
    if isinstance(value, Dict):
        return True if name == "builtins.dict" else False if name in _KINDS else None
    if isinstance(value, Const):
        if name in _KINDS:
            return isinstance(value.value, _KINDS[name])
        return False if value.value is None or name is not None else None
    if isinstance(value, Sequence):
        return None if name in ("builtins.list", "builtins.tuple", "builtins.set") else False if name else None
    return None


def add(left: Val, right: Val) -> Val:
    """``left + right``."""
    if isinstance(left, Sequence) and isinstance(right, Sequence):
        if left.open or right.open:
            return Unknown()
        return Sequence([*left.items, *right.items], left.fixed)
    if isinstance(left, Const) and isinstance(right, Const):
        one, two = left.value, right.value
        if isinstance(one, (int, float)) and isinstance(two, (int, float)):
            return Const(one + two, left.given or right.given)
        if isinstance(one, str) and isinstance(two, str):
            return concatenate([left, right])
    return Unknown()


def concatenate(parts: list[Val]) -> Val:
    """Known strings (and numbers inside an f-string) put together."""
    plain = _plain(parts)
    if plain is None or any(isinstance(each, tuple) for each in plain):
        return Unknown()
    return to_val("".join(str(each) for each in plain), given(parts))


def item(value: Val, index: Val) -> Val:
    """``value[index]``."""
    if not isinstance(index, Const):
        return Unknown()
    if isinstance(value, Dict):
        return value.items.get(index.value, Unknown())
    if isinstance(index.value, int):
        place = slice(index.value, index.value + 1 or None)
        part = cut(value, [Const(place.start), Const(place.stop)])
        if isinstance(part, Sequence) and part.items:
            return part.items[0]
        if isinstance(part, Const) and part.value:
            return part
    return Unknown()


def cut(value: Val, bounds: list[Val]) -> Val:
    """``value[a:b:c]``."""
    plain: list[Any] | None = _plain(bounds)
    if plain is None or not all(each is None or isinstance(each, int) for each in plain):
        return Unknown()
    part = slice(*plain)
    with suppress(ValueError):  # a step of 0
        if isinstance(value, Sequence) and not value.open:
            return Sequence(value.items[part], value.fixed)
        if isinstance(value, Const) and isinstance(value.value, str):
            return Const(value.value[part], value.given)
    return Unknown()


def compare(operator: ast.cmpop, left: Val, right: Val) -> bool | None:
    """A comparison; None: undecided."""
    if isinstance(left, Choice) or isinstance(right, Choice):
        lefts = left.options if isinstance(left, Choice) else [left]
        rights = right.options if isinstance(right, Choice) else [right]
        answers = {compare(operator, one, two) for one in lefts for two in rights}
        return answers.pop() if len(answers) == 1 else None
    if isinstance(operator, (ast.Is, ast.IsNot, ast.Eq, ast.NotEq)):
        exact = isinstance(operator, (ast.Is, ast.IsNot))
        answer = _same(left, right) if exact else _equal(left, right)
        positive = isinstance(operator, (ast.Is, ast.Eq))
        return None if answer is None else answer == positive
    if isinstance(operator, (ast.In, ast.NotIn)):
        answer = _contains(right, left)
        return None if answer is None else answer == isinstance(operator, ast.In)
    return _order(operator, left, right)


def _same(left: Val, right: Val) -> bool | None:
    """``left is right``."""
    if isinstance(left, Const) and isinstance(right, Const) and type(left.value) is not type(right.value):
        return False
    return _equal(left, right)


def _equal(left: Val, right: Val) -> bool | None:
    if isinstance(left, Const) and isinstance(right, Const):
        return left.value == right.value and (left.value is None) == (right.value is None)
    for one, two in ((left, right), (right, left)):
        if isinstance(one, Const) and isinstance(two, (Dict, Sequence, Instance, Class, Function, Module)):
            return False
    return True if left is right and isinstance(left, (Class, Function, Instance)) else None


def _contains(container: Val, value: Val) -> bool | None:
    if isinstance(container, Sequence):
        answers = [_equal(each, value) for each in container.items]
        return True if True in answers else None if None in answers or container.open else False
    if isinstance(container, Dict) and isinstance(value, Const):
        found = value.value in container.items
        return True if found else None if container.open else False
    if not (isinstance(container, Const) and isinstance(value, Const)):
        return None
    whole, part = container.value, value.value
    return part in whole if isinstance(whole, str) and isinstance(part, str) else None


def _order(operator: ast.cmpop, left: Val, right: Val) -> bool | None:
    if not (isinstance(left, Const) and isinstance(right, Const)):
        return None
    one, two = left.value, right.value
    if not (isinstance(one, (int, float)) and isinstance(two, (int, float))):
        return None
    if isinstance(operator, ast.Lt):
        return one < two
    if isinstance(operator, ast.LtE):
        return one <= two
    return one > two if isinstance(operator, ast.Gt) else one >= two
