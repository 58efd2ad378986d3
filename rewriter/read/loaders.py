"""Trace a loader: from its registered name to the hub calls that it makes. Nothing of the checkout is executed."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from rewriter.model import KEYS, Trace, Value
from rewriter.read.census import find_unwalked
from rewriter.read.modules import Sources
from rewriter.read.values import Definition, Known, Unknown, Val
from rewriter.read.walk import Walk


def trace_loader(sources: Sources, type_name: str, values: Mapping[str, Value]) -> Trace:
    """What building ``type_name`` with these keywords would do; the same question is answered once.

    Args:
        sources: the packages of the checkout.
        type_name: the registered name. values: the keywords of its dict, without those that mmengine keeps.
    """
    given = {key: value if key == "from_pretrained" else _drop_number(value) for key, value in values.items()}
    request = type_name, tuple((key, value.text, repr(value.value)) for key, value in sorted(given.items()))
    if request not in sources.traces:
        sources.traces[request] = _trace(sources, type_name, given)
    return sources.traces[request]


def _drop_number(value: Value) -> Value:
    """Numbers and lists of them decide nothing about what is loaded: they are not known to a walk."""
    return value if not value.known or isinstance(value.value, (str, bool, dict, type(None))) else Value("")


def _trace(sources: Sources, type_name: str, values: Mapping[str, Value]) -> Trace:
    loaders = sources.find_loaders(type_name)
    if not loaders:
        return Trace(type_name, False)
    loader = loaders[0]
    path, line = loader.module.path, loader.node.lineno
    if len(loaders) > 1:
        places = " and ".join(f"{each.module.path}:{each.node.lineno}" for each in loaders)
        reason = f"`{type_name}` is registered in {places}, and which of them the package imports cannot be known"
        return Trace(type_name, True, path=path, line=line, unknown=(reason,), files=frozenset({path}))
    walk = Walk(sources, values)
    walk.enter(loader, [], {key: _make_value(key, value) for key, value in values.items()}, True, ())
    accepts, required = _read_signature(sources, loader)
    return Trace(
        type_name,
        True,
        path=path,
        line=line,
        accepts=accepts,
        required=required,
        calls=tuple(walk.calls),
        rejections=tuple(each for each in walk.rejections if each.key in values),
        failures=tuple(walk.failures),
        unknown=tuple(dict.fromkeys([*walk.unknown, *find_unwalked(walk)])),
        files=frozenset(each.module.path for each in walk.entered.values()),
    )


def _make_value(key: str, value: Value) -> Val:
    """A keyword of the config as the walk sees it."""
    own = key if key in KEYS else None
    return Known(value.value, True, own) if value.known else Unknown(value.text, True, own)


def _read_signature(sources: Sources, loader: Definition) -> tuple[frozenset[str], frozenset[str]]:
    """The followed keys that a loader takes, by name or by ``**kwargs``, and its parameters without a default."""
    is_class = isinstance(loader.node, ast.ClassDef)
    function = sources.find_method(loader, "__init__") if is_class else loader
    if function is None or not isinstance(function.node, ast.FunctionDef):
        return frozenset(), frozenset()
    arguments = function.node.args
    named = [each.arg for each in (*arguments.posonlyargs, *arguments.args)]
    required = named[1 if is_class else 0 : len(named) - len(arguments.defaults)]
    pairs = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    required += [each.arg for each, default in pairs if default is None]
    names = {*named[len(arguments.posonlyargs) :], *(each.arg for each in arguments.kwonlyargs)}
    return frozenset(KEYS) if arguments.kwarg is not None else frozenset(KEYS) & names, frozenset(required)
