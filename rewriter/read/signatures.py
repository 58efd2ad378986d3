"""What the parameters of a function take, and what they hold when it is called."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence

from rewriter.model import KEYS
from rewriter.read.values import Definition, Env, Items, Unknown, Val


def bind_arguments(
    node: ast.FunctionDef,
    positional: Sequence[Val],
    keywords: Mapping[str, Val],
    complete: bool,
    evaluate: Callable[[ast.expr], Val],
) -> tuple[Env, list[str]]:
    """The local names of a call, and the keywords that the function does not take.

    Args:
        complete: False where more arguments may be given than are known.
        evaluate: of the defaults.
    """
    arguments = node.args
    named = [each.arg for each in (*arguments.posonlyargs, *arguments.args)]
    env: Env = dict.fromkeys([*named, *(each.arg for each in arguments.kwonlyargs)], Unknown())
    for name, default in _defaults(arguments):
        env[name] = evaluate(default) if complete else Unknown()
    env.update(zip(named, positional, strict=False))
    if arguments.vararg is not None:
        env[arguments.vararg.arg] = Unknown()
    rest: dict[str, Val] = {}
    rejected = []
    for key, value in keywords.items():
        if key in env and key not in {each.arg for each in arguments.posonlyargs}:
            env[key] = value
        elif arguments.kwarg is not None:
            rest[key] = value
        else:
            rejected.append(key)
    if arguments.kwarg is not None:
        env[arguments.kwarg.arg] = Items(rest, complete)
    return env, rejected


def accepted_keys(function: Definition | None) -> frozenset[str]:
    """The followed keys that a signature takes, by name or by ``**kwargs``."""
    if function is None or not isinstance(function.node, ast.FunctionDef):
        return frozenset()
    names = parameter_names(function.node)
    return frozenset(KEYS) if function.node.args.kwarg is not None else frozenset(KEYS) & names


def required_parameters(function: Definition | None) -> frozenset[str]:
    """The parameters that have no default, without ``self``."""
    if function is None or not isinstance(function.node, ast.FunctionDef):
        return frozenset()
    arguments = function.node.args
    with_default = {name for name, _ in _defaults(arguments)}
    named = [each.arg for each in (*arguments.posonlyargs, *arguments.args)][1 if function.owner is not None else 0 :]
    return frozenset({*named, *(each.arg for each in arguments.kwonlyargs)} - with_default)


def parameter_names(node: ast.FunctionDef) -> frozenset[str]:
    """The parameters that can be given by name."""
    return frozenset(each.arg for each in (*node.args.args, *node.args.kwonlyargs))


def _defaults(arguments: ast.arguments) -> Iterator[tuple[str, ast.expr]]:
    named = [*arguments.posonlyargs, *arguments.args]
    yield from zip(
        [each.arg for each in named[len(named) - len(arguments.defaults) :]], arguments.defaults, strict=True
    )
    for each, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if default is not None:
            yield each.arg, default
