"""Hub calls of files that are no configs: which are listed, which are edited, and that not a byte more changes."""

from __future__ import annotations

import ast
import textwrap
from pathlib import Path

import pytest
from deciding import CACHE, write_checkout
from loading import write_files
from proving import prove_loader_edit

from rewriter.decide.scripts import edit_calls, report_calls
from rewriter.model import CACHE_DIR, SourceChange
from rewriter.read.scripts import find_calls

GIVEN = f'cache_dir="{CACHE}"'


def list_calls(root: Path) -> list[tuple[str, int, str, str, str, bool]]:
    """Every call: file, line, callee, what it reads, whether ``cache_dir`` is there, and whether it may be edited."""
    return [
        (str(Path(each.path).relative_to(root)), each.span.line, each.callee, each.reads, each.state, each.editable)
        for each in find_calls([str(root)])
    ]


def rewrite_script(root: Path, source: str | bytes) -> bytes:
    """One script after ``rewrite --scripts``; a second run changes nothing."""
    path = root / "tool.py"
    path.write_bytes(source if isinstance(source, bytes) else textwrap.dedent(source).encode())
    before = path.read_bytes()
    calls = [each for each in find_calls([str(root)]) if each.editable]
    for edit in edit_calls(find_calls([str(root)]), CACHE):
        assert (edit.path, edit.old, edit.kind) == (str(path), before, "script")
        path.write_bytes(edit.new)
    assert edit_calls(find_calls([str(root)]), CACHE) == []
    if calls:
        changes = [SourceChange(str(path), "literal", each.span, CACHE_DIR, default=CACHE) for each in calls]
        prove_loader_edit(before, *changes)
    return path.read_bytes()


EDITED = {
    "transformers": (
        "from transformers import AutoModel\nm = AutoModel.from_pretrained('org/a')\n",
        "from transformers import AutoModel\nm = AutoModel.from_pretrained('org/a', cache_dir='/models/hf')\n",
    ),
    "diffusers under another name, in a function, several lines": (
        """
        def load():
            from diffusers import AutoencoderKL as KL

            return KL.from_pretrained(
                "org/a",
                subfolder="vae",  # the small one
            ).eval()
        """,
        """
        def load():
            from diffusers import AutoencoderKL as KL

            return KL.from_pretrained(
                "org/a",
                subfolder="vae",  # the small one
                cache_dir="/models/hf",
            ).eval()
        """,
    ),
    "a name that only running tells": (
        "from transformers import AutoModel\nm = AutoModel.from_pretrained(args.model)\n",
        'from transformers import AutoModel\nm = AutoModel.from_pretrained(args.model, cache_dir="/models/hf")\n',
    ),
    "hf_hub_download": (
        'from huggingface_hub import hf_hub_download\np = hf_hub_download("org/a", "x.bin")\n',
        'from huggingface_hub import hf_hub_download\np = hf_hub_download("org/a", "x.bin", cache_dir="/models/hf")\n',
    ),
    "snapshot_download under another name and by its module": (
        'import huggingface_hub\nfrom huggingface_hub import snapshot_download as get\nget("org/a")\n'
        'huggingface_hub.snapshot_download(repo_id="org/b")\n',
        'import huggingface_hub\nfrom huggingface_hub import snapshot_download as get\nget("org/a", '
        f'{GIVEN})\nhuggingface_hub.snapshot_download(repo_id="org/b", {GIVEN})\n',
    ),
    "one in another": (
        'from transformers import AutoConfig, AutoModel\nAutoModel.from_pretrained("a/b", '
        'config=AutoConfig.from_pretrained("a/b"))\n',
        'from transformers import AutoConfig, AutoModel\nAutoModel.from_pretrained("a/b", '
        f'config=AutoConfig.from_pretrained("a/b", {GIVEN}), {GIVEN})\n',
    ),
    "two on a line": (
        'from transformers import A\nx, y = A.from_pretrained("a/b"), A.from_pretrained("c/d")\n',
        f'from transformers import A\nx, y = A.from_pretrained("a/b", {GIVEN}), A.from_pretrained("c/d", {GIVEN})\n',
    ),
}


@pytest.mark.parametrize("name", EDITED)
def test_a_call_of_a_library_that_takes_it_gets_cache_dir(name: str, tmp_path: Path) -> None:
    before, after = map(textwrap.dedent, EDITED[name])
    assert rewrite_script(tmp_path, before).decode() == after


@pytest.mark.parametrize(
    "data",
    [
        b'from transformers import A\r\nA.from_pretrained("a/b")\r\n',
        'from transformers import A\nA.from_pretrained("a/b")  # 模型'.encode(),
        b'from transformers import A\nif 1:\n\tA.from_pretrained("a/b")\t# tab\n\x0c\n',
    ],
    ids=["CRLF", "Chinese", "tabs"],
)
def test_every_other_byte_stays(data: bytes, tmp_path: Path) -> None:
    assert rewrite_script(tmp_path, data) == data.replace(b'"a/b")', f'"a/b", {GIVEN})'.encode())


LISTED = {
    "a ** that may give it": ("from transformers import A\nA.from_pretrained('a/b', **kw)\n", "unsure"),
    "it is there": ("from transformers import A\nA.from_pretrained('a/b', cache_dir=None)\n", "set"),
    "an own class": ("from own import A\nA.from_pretrained('a/b')\n", "open"),
    "a class that is imported relatively": ("from .transformers import A\nA.from_pretrained('a/b')\n", "open"),
    "imported with *": ("from transformers import *\nA.from_pretrained('a/b')\n", "open"),
    "through its module": ("import transformers\ntransformers.A.from_pretrained('a/b')\n", "open"),
    "another library": ("from sentence_transformers import A\nA.from_pretrained('a/b')\n", "open"),
    "rebound": ("from transformers import A\nA = wrap(A)\nA.from_pretrained('a/b')\n", "open"),
    "a parameter of that name": (
        "from transformers import A\ndef f(A):\n    return A.from_pretrained('a/b')\n",
        "open",
    ),
    "a class of that name": (
        "from transformers import A\nclass A(A): pass\nA.from_pretrained('a/b')\n",
        "open",
    ),
    "an exception of that name": (
        "from transformers import A\ntry:\n    f()\nexcept E as A:\n    A.from_pretrained('a/b')\n",
        "open",
    ),
    "imported from two libraries": (
        "from transformers import A\nfrom own import A\nA.from_pretrained('a/b')\n",
        "open",
    ),
    "an object's method": (
        "from transformers import A\nA().from_pretrained('a/b')\nx.from_pretrained('a/b')\n",
        "open",
    ),
    "a function of another package": ("from own import hf_hub_download\nhf_hub_download('a/b', 'x')\n", "open"),
    "a config by name": ("from diffusers import A\nA.load_config('a/b')\n", "open"),
}


@pytest.mark.parametrize("name", LISTED)
def test_what_is_not_known_is_listed_and_never_edited(name: str, tmp_path: Path) -> None:
    source, state = LISTED[name]
    assert rewrite_script(tmp_path, source).decode() == source
    (call,) = [each for each in find_calls([str(tmp_path)]) if each.state == state]
    assert (call.reads, call.editable) == ("a/b", False)
    assert len(report_calls([call])) == (1 if state == "open" else 0)
    assert all("edit it by hand" in each.remedy for each in report_calls([call]))


def test_what_reads_nothing_from_the_hub_is_not_listed(tmp_path: Path) -> None:
    source = """
        from transformers import A
        A.from_pretrained("./ckpts/a")
        A.from_pretrained("/mnt/x")
        A.from_config(config)
        A.save_pretrained("a/b")
        print("from_pretrained('a/b')")
    """
    assert rewrite_script(tmp_path, source).decode() == textwrap.dedent(source)
    assert find_calls([str(tmp_path)]) == []


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A checkout with a demo, tools, a loader that `rewrite` threads, and a helper in its package."""
    call = 'from transformers import AutoModel\n\nmodel = AutoModel.from_pretrained("org/a")\n'
    body = "def loader(from_pretrained):\n    AutoModel.from_pretrained(from_pretrained)\n"
    write_checkout(
        tmp_path, "@MODELS.register_module('loader')\n" + body, {"a.py": call + "vae = None\n"}, package="javisdit"
    )
    files = ("gradio/app.py", "scripts/run.py", "tools/deep/x.py", "javisdit/helper.py", ".venv/y.txt")
    return write_files(tmp_path, dict.fromkeys(files, call))


def test_all_files_but_configs_and_registered_loaders_are_read(project: Path) -> None:
    assert list_calls(project) == [
        ("gradio/app.py", 3, "AutoModel.from_pretrained", "org/a", "open", True),
        ("javisdit/helper.py", 3, "AutoModel.from_pretrained", "org/a", "open", False),
        ("scripts/run.py", 3, "AutoModel.from_pretrained", "org/a", "open", True),
        ("tools/deep/x.py", 3, "AutoModel.from_pretrained", "org/a", "open", True),
    ]


def test_calls_without_cache_dir_are_warnings_with_a_remedy_that_edits(project: Path) -> None:
    found = report_calls(find_calls([str(project)]))
    assert {(each.code, each.severity) for each in found} == {("OSR013", "warning")}
    assert [Path(each.path).name for each in found if each.remedy == "edit it by hand"] == ["helper.py"]
    edits = edit_calls(find_calls([str(project)]), CACHE)
    assert [Path(each.path).name for each in edits] == ["app.py", "run.py", "x.py"]
    assert all(ast.parse(each.new) for each in edits)


def test_a_folder_without_configs_works_and_gives_its_own_files_only(project: Path) -> None:
    assert [each[0] for each in list_calls(project / "tools")] == ["deep/x.py"]
    assert len(edit_calls(find_calls([str(project / "tools")]), CACHE)) == 1
    twice = find_calls([str(project / "tools"), str(project)])
    assert len(twice) == len(find_calls([str(project)])), "each call once"


def test_a_link_that_leads_out_is_not_written(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    away = tmp_path_factory.mktemp("away") / "x.py"
    (project / "gradio/app.py").rename(away)
    for folder in (project / "gradio", write_files(tmp_path_factory.mktemp("bare"), {"y.py": ""})):
        (folder / "link.py").symlink_to(away)
        (call,) = find_calls([str(folder)])
        assert (call.state, call.editable) == ("open", False)
        assert edit_calls([call], CACHE) == []


def test_odd_files_do_not_stop_the_run(project: Path) -> None:
    (project / "scripts/bad.py").write_bytes(b"def (\n")
    (project / "scripts/nul.py").write_bytes(b"\0")
    (project / "scripts/dangling.py").symlink_to("nowhere")
    calls = find_calls([str(project)])
    assert [each.state for each in calls].count("open") == 4
    findings = [each for each in report_calls(calls) if each.code == "OSR900"]
    assert [(Path(each.path).name, each.severity, each.line) for each in findings] == [
        ("bad.py", "warning", 1),
        ("dangling.py", "warning", 1),
        ("nul.py", "warning", 1),
    ]
    assert all(each.message.endswith("; its hub calls are not known") for each in findings)


def test_a_directory_is_written_as_a_safe_literal(tmp_path: Path) -> None:
    path = write_files(tmp_path, {"a.py": EDITED["transformers"][0]}) / "a.py"
    for directory in ("/m'); boom('", '/m"', "/m\\", "/m\n", "/m{x}"):
        (edit,) = edit_calls(find_calls([str(tmp_path)]), directory)
        call = next(node for node in ast.walk(ast.parse(edit.new)) if isinstance(node, ast.Call))
        assert ast.literal_eval(call.keywords[0].value) == directory
    assert path.read_text() == EDITED["transformers"][0]
