"""Generated sources of config files (hypothesis): every style of FACTS.md's list, and those nobody would write."""

from __future__ import annotations

import ast
import os
import warnings
from collections.abc import Callable

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

MAX_EXAMPLES = int(os.environ.get("OPENSORA_REWRITER_FUZZ", "150"))

fuzz = settings(
    max_examples=MAX_EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)

Draw = Callable[[st.SearchStrategy[str]], str]

PATHS = [
    *("/models/hf", "relative/dir", "~/hub", "C:\\models\\hf", "/with space", "/q'uote", '/q"uote', "/both'\"", "/a\\"),
    *("/new\nline", "/\t\x1b[31m", "/模型/缓存", "/é", "", "{{$HOME:x}}", "/{{{", "\ud800", "#no", "'''", "\u2028"),
]

cache_dirs = st.one_of(st.sampled_from(PATHS), st.text(max_size=12))
values = st.one_of(
    cache_dirs,
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.lists(st.one_of(st.integers(), st.text(max_size=4)), max_size=3),
    st.tuples(st.integers(), st.text(max_size=4)),
    st.tuples(st.dictionaries(st.text(max_size=4), st.integers(), max_size=2)),  # bare, it would be a component
)

_ATOMS = [
    *('"t5"', "'clip'", "None", "True", "-1", "1e-4", "(1, 2)", "[0, '#']", "\"a\" 'b'", 'r"c:\\d"', '"""x"""', "b'x'"),
    *('f"{dtype}"', 'os.path.join("a", "b")', "dtype", "common", '"模"', '"é"', "(  # why\n   3\n)", "lambda a, b: a"),
    *("[i for i in ()]", "{1: 2}", "{}", "dict()", '"x" if dtype else None', '"\\d"'),
]
_GAPS = [
    *("", " ", "  ", "\n", "\n    ", "\n\t", "  # note\n    ", "\n\n    # on its own: dict(a=1)\n\n  ", " \\\n  "),
    *("\n# left\n", " # é 模\n", "\f", "\n        "),
]
_KEYS = ["type", "from_pretrained", "subfolder", "micro_batch_size", "model_max_length", "shardformer", "vae_2d", "é_1"]
_STYLES = ["one line", "multi line", "multi line, no comma", "hugging", "comma first", "free"]


_spaces = st.sampled_from(["", " ", "  ", " \\\n  "])


def gap() -> st.SearchStrategy[str]:
    return st.sampled_from(_GAPS)


@st.composite
def dict_source(draw: Draw, depth: int = 2, indent: str = "") -> str:
    """The source of one ``dict(...)`` or ``{...}``."""
    call = draw(st.booleans())
    keys = draw(st.lists(st.sampled_from(_KEYS), unique=True, max_size=5))
    style = draw(st.sampled_from(_STYLES))
    inner = indent + draw(st.sampled_from(["    ", "  ", "\t"]))
    sign = draw(st.sampled_from(["", " "])) if style != "free" else None
    items = []
    for key in keys:
        if depth and draw(st.integers(0, 4)) == 0:
            value = draw(dict_source(depth=depth - 1, indent=inner))
        else:
            value = draw(st.sampled_from(_ATOMS))
        if value[0] == "l" and not call:
            value = f"({value})"
        before, after = (draw(_spaces), draw(_spaces)) if sign is None else (sign, sign)
        if call:
            items.append(f"{key}{before}={after}{value}")
        else:
            quote = draw(st.sampled_from("'\""))
            items.append(f"{quote}{key}{quote}{before}:{after if sign is None else ' '}{value}")
    return ("dict(" if call else "{") + draw(_layout(items, style, indent, inner)) + (")" if call else "}")


@st.composite
def _layout(draw: Draw, items: list[str], style: str, indent: str, inner: str) -> str:
    if not items:
        return draw(gap()) if style == "free" else ""
    trailing = draw(st.booleans())
    if style == "one line":
        space = draw(st.sampled_from(["", " "]))
        return f",{space}".join(items) + ("," if trailing else "")
    if style == "free":
        text = draw(gap())
        for i, item in enumerate(items):
            last = i == len(items) - 1
            comma = "," if not last or trailing else ""
            text += item + draw(gap()) + comma + (draw(gap()) if comma else "")
        return text
    note = st.sampled_from(["", "", "", "  # note", " #", "  # é 模", "\n" + inner + "# apart", "\n"])
    if style == "comma first":
        return items[0] + "".join(draw(note) + "\n" + inner + ", " + item for item in items[1:]) + "\n" + indent
    comma = "" if style == "multi line, no comma" else ","
    if style == "hugging":
        body = (",\n" + inner).join(items)
        return body + (",\n" + indent if trailing else "")
    lines = [item + ("," if i < len(items) - 1 else comma) + draw(note) for i, item in enumerate(items)]
    return draw(st.sampled_from(["", "  # note"])) + "\n" + inner + ("\n" + inner).join(lines) + "\n" + indent


@st.composite
def statement(draw: Draw) -> str:
    """One top-level statement, most of which bind ``text_encoder`` or ``vae``."""
    name = draw(st.sampled_from(["text_encoder", "vae", "model", "other"]))
    kind = draw(st.integers(0, 15))
    source = draw(dict_source())
    if kind <= 6:
        return f"{name} = {source}"
    indented = draw(dict_source(indent="    "))
    return {
        7: f"{name}: dict = {source}",
        8: f"if dtype:\n    {name} = {indented}\nelse:\n    {name} = None",
        9: f"a = {name} = {source}",
        10: f"x, {name} = 1, {source}",
        11: f"dtype = 'bf16'; {name} = {source}; y = 2",
        12: f"{name} = ({source})",
        13: f"model = dict(vae={indented}, é={source})",
        14: f"\f{name} = {source}  # after",
        15: f"{name} = {source}\n{name}['type'] = 'x'\n{name}.update(subfolder='y')",
    }[kind]


_BETWEEN = [
    "",
    "\n",
    "# a comment\n",
    'text = """\ncache_dir=\n  dict(vae=1)\n"""\n',
    "def f():\n    vae = dict(a=1)\n",
    "\f\n",
]


@st.composite
def config_source(draw: Draw) -> bytes:
    """The bytes of a config file that Python parses."""
    parts = ['import os\ncommon = {}\ndtype = "bf16"\n']
    for _ in range(draw(st.integers(1, 3))):
        parts += [draw(st.sampled_from(_BETWEEN)), draw(statement()), "\n"]
    text = "".join(parts)
    if draw(st.booleans()):
        text = text.removesuffix("\n")
    newline = draw(st.sampled_from(["\n", "\n", "\r\n", "\r", "mixed"]))
    if newline == "mixed":
        text = "".join(draw(st.sampled_from(["\n", "\r\n", "\r"])) if c == "\n" else c for c in text)
    else:
        text = text.replace("\n", newline)
    data = text.encode()
    return data if parses(data) else b"vae = dict(type='x')\n"


def parses(data: bytes) -> bool:
    """Whether Python takes it, down to its byte code."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(ast.parse(data), "config", "exec")
    except (SyntaxError, ValueError):
        return False
    return True
