"""What failures of levels load and build mean: from an exception's text to a code, a cause and a remedy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from rewriter.process.children import ChildError
from rewriter.verify.directories import Trouble
from rewriter.verify.needs import format_fetch
from rewriter.words import quote_word

Level = Literal["load", "build"]


# Codes at levels build and load ("": not met there), and what is searched in "Type Bases: message (source line)"; the
# first that matches wins. Sources: Open-Sora issues 146 209 218 320 322 427 441 459 479 525 590 724; the messages of
# transformers 4.39 to 5, diffusers 0.27 to 0.39, huggingface_hub 0.25 to 2.x and torch.
KNOWN_FAILURES = (
    ("OSR302", "OSR204", r"unexpected keyword argument '(?P<keyword>cache_dir|local_files_only)'"),
    ("OSR303", "", r"AssertionError.*(available_models|from_pretrained (in|==))"),
    ("OSR308", "OSR213", r"all_tied_weights_keys"),
    ("OSR309", "OSR210", r"upgrade torch to at least v?2\.6"),
    ("OSR310", "OSR213", r"cached_download|cannot import name '\w+' from 'huggingface_hub"),
    ("OSR310", "OSR213", r"huggingface[-_]hub[^ ]* is required"),
    ("OSR307", "OSR201", r"No module named '(?P<keyword>[\w.]+)'"),
    ("OSR307", "OSR201", r"requires the (?P<keyword>[\w-]+) library"),
    ("OSR307", "OSR201", r"(?P<keyword>[Ss]entence[Pp]iece|tiktoken|protobuf)[^.]*(install|not found)"),
    ("OSR305", "OSR202", r"HFValidationError|Repo id must|Incorrect path_or_model_id"),
    ("OSR306", "OSR204", r"Invalid checkpoint path|checkpoint path.*(not exist|not found)"),
    ("OSR311", "OSR211", r"MemoryError|can't allocate memory|not enough memory|Cannot allocate memory"),
    ("OSR314", "OSR204", r"Torch not compiled with CUDA|No CUDA GPUs|Found no NVIDIA driver|CUDA driver|libcuda"),
    ("OSR315", "OSR212", r"is not in the [\w:.]*\s*registry"),
    ("OSR316", "OSR205", r"UnpicklingError|InvalidHeader|HeaderToo(Large|Small)|MetadataIncompleteBuffer"),
    ("OSR316", "OSR205", r"PytorchStreamReader|Unable to load weights from|invalid load key|size.mismatch"),
    # transformers 4's slow tokenizers open a vocabulary file that was not found: open(None).
    ("OSR304", "OSR203", r"os\.PathLike object, not NoneType \(.*(Tokenizer|vocab_file|merges_file)"),
    ("OSR304", "OSR202", r"LocalEntryNotFound|OfflineMode|couldn't connect|outgoing traffic"),
    ("OSR304", "OSR202", r"annot find the requested files|does not appear to have a file|no file named|Can't load"),
    ("OSR304", "OSR202", r"EntryNotFound|RepositoryNotFound|not a valid model id|cached files|not found in cache"),
    ("OSR304", "OSR202", r"not the path to a directory"),
    (
        "OSR301",
        "",
        r"network is blocked",
    ),  # past huggingface_hub, which fails before it opens a socket (HF_HUB_OFFLINE)
)
_REWRITE = "opensora-rewriter rewrite {path} --component {component}"
_PUT_REPO = f"{_REWRITE} --cache-dir DIR --set {{component}}.from_pretrained="
_PIP = "{python} -m pip install"
# By the code at level build: cause and remedy.
_MEANINGS = {
    "OSR301": (
        "the loader fetches a file by itself, not through the Hub's cache",
        "fetch that file where there is a network, and put it where the loader looks for it",
    ),
    "OSR302": ("the loader has no parameter {keyword}", f"{_REWRITE} {{option}}"),
    "OSR303": ("this loader accepts only its own repo id as from_pretrained", f"{_PUT_REPO}DeepFloyd/t5-v1_1-xxl"),
    "OSR304": ("{repo} is not complete in {cache}", "{fetch}"),
    "OSR305": ("{repo} is a path that does not exist, and was taken for a repo id", f"{_PUT_REPO}{{known}}"),
    "OSR306": ("Open-Sora's load_checkpoint takes a .pt file, or a folder with model/", f"{_PUT_REPO}{{known}}"),
    "OSR307": ("{python} has no {keyword}", "install it there, or name your Open-Sora environment with --python"),
    "OSR308": ("transformers 5 cannot build this class of Open-Sora v1.2 or v1.3", f'{_PIP} "transformers<5"'),
    "OSR309": ("transformers refuses .bin weights with this torch", f'{_PIP} "torch>=2.6"'),
    "OSR310": ("diffusers or transformers do not fit huggingface_hub", f'{_PIP} "huggingface_hub<0.26", or newer ones'),
    "OSR311": ("not enough memory", "use a machine with more memory (level load needs little)"),
    "OSR314": ("building needs a GPU", "run verify on a machine of the kind that Open-Sora runs on"),
    "OSR315": ("no loader is registered under this type", "correct the type: opensora-rewriter trace {path}"),
    "OSR316": ("the files were found and did not load", "verify it with --hash, which says which file is damaged"),
}


def explain_error(error: Mapping[str, Any], level: Level, *, repo: str, cache: str, python: str, known: str) -> Trouble:
    """What an exception that a probe described (``probes/channel.py``) means; all empty where it is not known.

    ``repo``: where the probe saw none. ``cache``: the directory that was read, or "". ``known``: the repo id to put in
    the place of a lost path, or "".
    """
    words = {"repo": error["repo"] or repo or "the repo", "cache": quote_word(cache) if cache else "the cache"}
    words |= {"python": quote_word(python), "known": known or "ORG/NAME", "path": "{path}", "component": "{component}"}
    for build, load, pattern in KNOWN_FAILURES:
        code = build if level == "build" else load
        for link in error["chain"] if code else ():
            subject = f"{' '.join(link['bases'])}: {link['message']} ({error['text']})"
            match = re.search(pattern, subject, re.DOTALL)
            if match is not None:
                keyword = match.groupdict().get("keyword") or ""
                option = "--local-files-only" if keyword == "local_files_only" else "--cache-dir DIR"
                words |= {"keyword": keyword, "option": option, "fetch": format_fetch(cache)}
                cause, remedy = (text.format(**words) for text in _MEANINGS[build])
                return Trouble(code, cause, remedy)
    return Trouble()


def explain_death(error: ChildError, level: Level, activity: str) -> Trouble:
    """Why a task got no answer: its code, the message and the remedy. ``activity``: "building vae"."""
    codes = {"start": ("OSR201", "OSR307"), "memory": ("OSR211", "OSR311")}.get(error.reason, ("OSR211", "OSR312"))
    output = f"; its last output: {error.output}" if error.output else ""
    return Trouble(codes[level == "build"], f"{activity}: {error.message}{output}", error.remedy)


def first_line(error: Mapping[str, Any]) -> str:
    """The exception in one line, its message in at most 300 characters."""
    link = error["chain"][0]
    text = " ".join(link["message"].split())
    return f"{link['type']}: {text[:300]}" if text else str(link["type"])
