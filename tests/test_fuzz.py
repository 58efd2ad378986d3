"""Generated configs through the whole command: no crash, no byte changed outside an edit, idempotent, undone.

The batches run the real command line, writer included, over folders of generated files beside a fixture's loaders.
``OPENSORA_REWRITER_FUZZ=N`` (``make fuzz``) makes N of them with fresh seeds; a failure names the seed, and
``OPENSORA_REWRITER_SEED`` repeats it.
"""

from __future__ import annotations

import ast
import os
import random
import re
import shutil
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesmith
import pytest
import strategies
from conftest import FIXTURES
from hypothesis import given, settings
from hypothesis import strategies as st
from proving import changes_for, prove_config_edit

from rewriter.api import check_source, rewrite_source
from rewriter.configs import read_config

if TYPE_CHECKING:
    from click.testing import Result

Run = Callable[..., "Result"]

LONG = "OPENSORA_REWRITER_FUZZ" in os.environ
BATCHES = 8
FILES = max(strategies.MAX_EXAMPLES // BATCHES, 250)
SEED = int(os.environ.get("OPENSORA_REWRITER_SEED", str(time.time_ns()) if LONG else "20240617"))

NAMES = ("vae", "text_encoder", "vae_2d")
LOADED = [
    ("t5", "DeepFloyd/t5-v1_1-xxl"),
    ("t5", "DeepFloyd/t5-v1_1-xxl"),
    ("VideoAutoencoderKL", "stabilityai/sd-vae-ft-ema"),
    ("clip", "openai/clip-vit-large-patch14"),
    ("VideoAutoencoderKL", "stabilityai/sd-vae-ft-ema"),
    ("VideoAutoencoderKLTemporalDecoder", "maxin-cn/Latte"),
    ("OpenSoraVAE_V1_2", "hpcai-tech/OpenSora-VAE-v1.2"),
    ("classes", None),
    ("unheard-of", "org/name"),
    ("VideoAutoencoderKL", "./pretrained_models/vae"),
    ("VideoAutoencoderKL", 'os.environ["VAE"]'),
]
ATOMS = [
    *("4", "-1", "None", "True", '"vae"', "'é模'", "(1, 2)", "[0, '#']", 'r"\\d"', '"""two\nlines"""', 'f"{dtype}"'),
    *("(  # why\n 3)", "lambda a, b: a", "[i for i in ()]", "{1: 2}", "os.path.join('a', 'b')", "\"a\" 'b'", "dtype"),
]
EXTRA = {
    "t5": ["model_max_length", "shardformer"],
    "clip": ["model_max_length"],
    "VideoAutoencoderKL": ["subfolder", "micro_batch_size", "scaling_factor"],
    "OpenSoraVAE_V1_2": ["micro_batch_size", "freeze_vae_2d"],
}
NOTES = ["", "", "", "  # a note, with = and )", "  # 模", "\n    # cache_dir=1,", "  #"]
BETWEEN = ["", "\n", "# dict(vae=1)\n", 'text = """\nvae = dict(\n"""\n', "\f\n", "def f():\n    vae = dict(a=1)\n"]
DIRS = [
    "/models/hf",
    "/模型/é",
    "/q'uo\"te",
    "/back\\slash",
    "/{{$HOME:x}}",
    "/new\nline\x1b[31m",
    "/with space#",
    "/e",
]


# --- sources from a seed -------------------------------------------------------------------------


def dict_of(draw: random.Random, depth: int = 0) -> str:
    """One ``dict(...)`` or ``{...}`` of a component, in one of the styles that people write."""
    kind, path = draw.choice(LOADED)
    items = [("type", repr(kind))]
    if path is not None and draw.random() < 0.95:
        items.append(("from_pretrained", path if path.startswith("os.") else f'"{path}"'))
    known = EXTRA.get(kind, [])
    items += [(key, draw.choice(ATOMS)) for key in draw.sample(known, draw.randint(0, len(known)))]
    if draw.random() < 0.05:
        items.append(("é_1", draw.choice(ATOMS)))  # no loader takes it
    if draw.random() < 0.15:
        items.append(("cache_dir", draw.choice(["None", "'/old'", 'os.environ["HUB"]', '"/models/hf"'])))
    if depth < 2 and draw.random() < 0.15:
        items.append(("vae_2d", dict_of(draw, depth + 1)))
    if draw.random() < 0.3:
        draw.shuffle(items)
    call = draw.random() < 0.8
    sign = draw.choice(["=", "=", "=", " = ", "= "]) if call else draw.choice([": ", ":", "  :  "])
    quote = draw.choice("\"'")
    parts = [f"{key if call else quote + key + quote}{sign}{value}" for key, value in items]
    if draw.random() < 0.1:
        parts.append("**common")
    return ("dict(" if call else "{") + laid_out(draw, parts) + (")" if call else "}")


def laid_out(draw: random.Random, parts: list[str]) -> str:
    indent = draw.choice(["    ", "  ", "\t", "        "])
    end = draw.choice([",", ""])
    style = draw.randrange(5)
    if style == 0:
        return draw.choice([", ", ",", " , "]).join(parts) + end
    if style == 1:  # hugging brackets
        return f",\n{indent}".join(parts) + end
    if style == 2:  # comma first
        return f"\n{indent}" + f"\n{indent}, ".join(parts) + "\n"
    lines = [part + ("," if i < len(parts) - 1 else end) + draw.choice(NOTES) for i, part in enumerate(parts)]
    first = draw.choice(["", "  # vae"])
    return first + "".join(f"\n{indent}{line}" for line in lines) + "\n"


def statement(draw: random.Random) -> str:
    name = draw.choice(["vae", "vae", "text_encoder", "text_encoder", "model", "other"])
    source = dict_of(draw)
    indented = source.replace("\n", "\n    ")
    return draw.choice(
        [
            *(f"{name} = {source}",) * 6,
            f"{name}: dict = {source}",
            f"{name} = {source}{draw.choice(['', ' '])}; x = 1",
            f"model = dict(type='STDiT3-XL/2', {name}={indented})",
            f"if dtype:\n    {name} = {indented}\nelse:\n    {name} = None",
            f"kept = {source}\n{name} = kept",
            f"a = {name} = {source}",
            f"{name} = {source} if dtype else {{}}",
            f"{name} = ({source})",
            f"{name} = {source}\n{name}['subfolder'] = 'x'\n{name}.update(scaling_factor=2)",
            f"{name} = {source}\nfor i in (): {name}['type'] = i",
            f"{name} = dict(common, **{source})",
            f"{name} = {source}  # opensora-rewriter: ignore[OSR001]",
        ]
    )


def config_of(seed: int) -> bytes:
    """The bytes of one config that Python compiles."""
    draw = random.Random(seed)
    text = "import os\ncommon = {}\ndtype = 'bf16'\n"
    for _ in range(draw.randint(1, 3)):
        text += draw.choice(BETWEEN) + statement(draw) + "\n"
    if draw.random() < 0.3:
        text = text[:-1]
    encoding = draw.choice(["utf-8", "utf-8", "utf-8", "utf-8-sig", "gbk"])
    if encoding == "gbk":
        text = "# coding: gbk\n" + text
    newline = draw.choice(["\n", "\n", "\n", "\r\n", "\r"])
    data = text.replace("\n", newline).encode(encoding)
    return data if strategies.parses(data) else b"vae = dict(type='t5', from_pretrained='DeepFloyd/t5-v1_1-xxl')\n"


# --- the command over folders of them ------------------------------------------------------------


def words_of(data: bytes, without: str) -> str:
    """The file with no ``cache_dir`` of that value, no spaces and no commas."""
    text = data.decode("gbk" if data.startswith(b"# coding: gbk") else "utf-8")
    if without:
        text = re.sub(rf"""['"]?cache_dir['"]?\s*[=:]\s*{without}""", "", text)
    return re.sub(r"[\s,]", "", text)


def tree_of(data: bytes) -> str:
    """The syntax tree with every ``cache_dir`` taken out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = ast.parse(data)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            node.keywords = [keyword for keyword in node.keywords if keyword.arg != "cache_dir"]
        elif isinstance(node, ast.Dict):
            kept = [i for i, k in enumerate(node.keys) if not (isinstance(k, ast.Constant) and k.value == "cache_dir")]
            node.keys, node.values = [node.keys[i] for i in kept], [node.values[i] for i in kept]
    return ast.dump(tree)


def written(cache_dir: str) -> str:
    """What stands for a literal of ``cache_dir``, in any quotes and escapes."""
    return r"""("([^"\\\n]|\\.)*"|'([^'\\\n]|\\.)*')"""


@pytest.mark.generated
@pytest.mark.parametrize("batch", range(BATCHES))
def test_the_command_keeps_its_promises_on_generated_configs(batch: int, run: Run, tmp_path: Path) -> None:
    root = Path(shutil.copytree(FIXTURES / ("v1.2", "v1.3")[batch % 2], tmp_path / "checkout"))
    shutil.rmtree(root / "configs")
    folder = root / "configs" / "inference"
    folder.mkdir(parents=True)
    first = SEED + batch * FILES
    old = {folder / f"seed_{seed}.py": config_of(seed) for seed in range(first, first + FILES)}
    for path, data in old.items():
        path.write_bytes(data)
    cache_dir = DIRS[batch]
    asked = ("--cache-dir", cache_dir, "--quiet")
    undo = [word for name in NAMES for word in ("--unset", f"{name}.cache_dir")]

    def command(*words: str) -> str:
        done = run(*words, cwd=root)
        assert done.exit_code in (0, 1), (words, done.output[-2000:], done.exception)
        assert "Traceback" not in done.output
        return done.output

    def contents() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in old}

    command("check", *asked)
    assert contents() == old, "check wrote"
    command("rewrite", *asked, "--no-resolve")
    new = contents()
    edited = {path for path in old if new[path] != old[path]}
    assert len(edited) > FILES // 3, "the generator makes too few configs that can be set"
    for path in edited:
        was, now = old[path], new[path]
        assert tree_of(was) == tree_of(now), f"{path.name}: something else changed"
        if b"cache_dir" not in was:
            assert words_of(was, "") == words_of(now, written(cache_dir)), f"{path.name}: another byte changed"
    again = command("rewrite", *asked, "--no-resolve", "--output-format", "concise")
    assert contents() == new, "a second run changes something"
    refused = {line.split(": ")[0] for line in again.splitlines()}
    checked = [line.split(": ") for line in command("check", *asked, "--output-format", "concise").splitlines()]
    left = {place for place, words, *_ in checked if words.startswith(("OSR001", "OSR002", "OSR003"))}
    assert left <= refused, "a component was left without the directory, and nobody said so"
    command("rewrite", *undo, "--quiet", "--no-resolve")
    undone = contents()
    for path in edited:
        if b"cache_dir" not in old[path]:
            assert undone[path] == old[path], f"{path.name}: --unset does not restore it"
    print(f"{FILES} generated configs from seed {first}, {len(edited)} of them edited")


@pytest.mark.generated
def test_mmengine_agrees_on_generated_configs(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("mmengine")
    root = Path(shutil.copytree(FIXTURES / "v1.2", tmp_path / "checkout"))
    shutil.rmtree(root / "configs")
    folder = root / "configs" / "inference"
    folder.mkdir(parents=True)
    count = max(strategies.MAX_EXAMPLES // 20, 80)
    for seed in range(SEED, SEED + count):
        (folder / f"seed_{seed}.py").write_bytes(config_of(seed))
    before = {path: path.read_bytes() for path in folder.iterdir()}
    done = run("rewrite", "--cache-dir", "/models/hf", "--resolve", "always", cwd=root)
    assert done.exit_code in (0, 1), done.output[-2000:]  # 2: mmengine contradicts, nothing is written
    edited = [path for path, data in before.items() if path.read_bytes() != data]
    assert len(edited) > count // 8
    print(f"{count} generated configs, {len(edited)} confirmed by mmengine and written")


# --- whole modules -------------------------------------------------------------------------------

PLANTED = [
    'vae = dict(type="VideoAutoencoderKL", from_pretrained="a/b")',
    'vae = dict(\n    type="VideoAutoencoderKL",\n    from_pretrained="a/b",  # note\n)',
    'vae = {"type": "VideoAutoencoderKL", "from_pretrained": "a/b"}; x = 1',
    'text_encoder = dict(type="t5", from_pretrained="DeepFloyd/t5-v1_1-xxl",\n    subfolder="é")',
    'model = dict(vae=dict(type="VideoAutoencoderKL",\n  from_pretrained="a/b"))',
]


def planted(module: str, source: str, at: int) -> bytes | None:
    """``module`` with a component before its statement number ``at`` (or at its end); None where that is no Python."""
    data = module.encode("utf-8", "surrogatepass") if module.isascii() else module.encode("utf-8", "replace")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            body = ast.parse(data).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    lines = data.splitlines(keepends=True)
    starts = [node.lineno - 1 for node in body if node.col_offset == 0] + [len(lines)]
    line = starts[at % len(starts)]
    if line and not lines[line - 1].endswith((b"\n", b"\r")):
        lines[line - 1] += b"\n"
    new = b"".join([*lines[:line], source.encode(), b"\n", *lines[line:]])
    return new if strategies.parses(new) else None


@settings(strategies.fuzz, max_examples=max(strategies.MAX_EXAMPLES // 20, 100))
@given(hypothesmith.from_grammar(), st.sampled_from(PLANTED), st.integers(0, 20))
def test_components_planted_in_whole_modules(module: str, source: str, at: int) -> None:
    data = planted(module, source, at)
    if data is None or read_config(data, "/x.py").problem is not None:
        return
    prove_config_edit(data, lambda config: changes_for(config, ("vae", "text_encoder"), "cache_dir", "/models/hf"))


# --- what they found, as cases -------------------------------------------------------------------


@pytest.mark.parametrize("branch", ["vae = None", "vae = dict(type='VideoAutoencoderKL', from_pretrained='c/d')"])
def test_a_dict_that_a_branch_replaces_is_no_contradiction_of_mmengine(branch: str, run: Run, tmp_path: Path) -> None:
    pytest.importorskip("mmengine")
    path = tmp_path / "sample.py"
    path.write_text(f"vae = dict(type='VideoAutoencoderKL', from_pretrained='a/b')\nif 1 > 0:\n    {branch}\n")
    done = run("rewrite", path, "--cache-dir", "/models/hf", "--resolve", "always")
    assert done.exit_code == 0, done.output
    assert "from_pretrained='a/b', cache_dir='/models/hf')" in path.read_text()


# --- anything at all -----------------------------------------------------------------------------


@strategies.fuzz
@given(strategies.config_source(), strategies.cache_dirs)
def test_any_generated_source_is_decided_and_edited_or_refused(data: bytes, cache_dir: str) -> None:
    source = data.decode("utf-8", "surrogateescape")
    check_source(source)
    if not cache_dir.strip() or "\0" in cache_dir:
        return  # the command line refuses these
    first = rewrite_source(source, cache_dir=cache_dir)
    again = rewrite_source(first.source, cache_dir=cache_dir)
    assert again.source == first.source
    if "cache_dir" not in source and not any(finding.code == "OSR900" for finding in first.findings):
        names = [f"{name}.cache_dir" for name in ("vae", "text_encoder", "vae_2d")]
        assert rewrite_source(first.source, unsets=names).source == source


@strategies.fuzz
@given(st.text(max_size=200) | strategies.config_source().map(lambda data: data.decode("latin-1")), st.data())
def test_broken_text_is_a_finding_and_never_an_exception(text: str, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(text)))
    piece = data.draw(st.sampled_from(["", "(", '"""', "\0", "\ufeff", "\\", "\r", "\x0c", "vae="]))
    broken = text[:cut] + piece + text[cut:][data.draw(st.integers(0, 3)) :]
    broken = broken.encode("utf-8", "replace").decode()
    result = rewrite_source(broken, cache_dir="/models/hf")
    if not strategies.parses(broken.encode()):
        assert result.source == broken or strategies.parses(result.source.encode())
