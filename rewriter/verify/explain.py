"""What failures of levels load and build mean: from an exception's text to a code, a cause and a remedy."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any, Literal

from rewriter.decide.remedies import own_weights, suggest_repo
from rewriter.model import Severity
from rewriter.verify.directories import Trouble
from rewriter.verify.needs import format_fetch

Level = Literal["load", "build"]

_REWRITE = "opensora-rewriter rewrite {path} --component {component}"
_PUT_REPO = f"{_REWRITE} --cache-dir DIR --set {{component}}.from_pretrained="
_PIP = "{python} -m pip install"
# Codes at levels build and load ("": not met there), what is searched in "Type Bases: message (source line)" (a group:
# the keyword), cause and remedy; the first that matches wins. Sources: Open-Sora issues 146 209 218 320 322 427 441 459
# 479 525 590 724; messages of transformers 4.39 to 5, diffusers 0.27 to 0.39, huggingface_hub 0.25 to 2.x and torch.
KNOWN_FAILURES = (
    ("OSR302", "OSR204", r"unexpected keyword argument '(cache_dir|local_files_only)'",
     "the loader has no parameter {keyword}", f"{_REWRITE} {{option}}"),
    ("OSR303", "", r"AssertionError.*(?:available_models|from_pretrained (?:in|==))",
     "this loader accepts only its own repo id as from_pretrained", f"{_PUT_REPO}DeepFloyd/t5-v1_1-xxl"),
    ("OSR308", "OSR213", r"all_tied_weights_keys",
     "transformers 5 cannot build this class of Open-Sora v1.2 or v1.3", f'{_PIP} "transformers<5"'),
    ("OSR309", "OSR210", r"upgrade torch to at least v?2\.6",
     "transformers refuses .bin weights with this torch", f'{_PIP} "torch>=2.6"'),
    ("OSR310", "OSR213", r"cached_download|import name '\w+' from 'huggingface_hub|huggingface[-_]hub[^ ]* is required",
     "diffusers or transformers do not fit huggingface_hub", f'{_PIP} "huggingface_hub<0.26", or newer ones'),
    ("OSR307", "OSR201", r"No module named '([\w.]+)'|requires the ([\w-]+) library"
     r"|([Ss]entence[Pp]iece|tiktoken|protobuf)[^.]*(?:install|not found)",
     "{python} has no {keyword}", "install it there, or name your Open-Sora environment with --python"),
    ("OSR305", "OSR202", r"HFValidationError|Repo id must|Incorrect path_or_model_id",
     "{repo} is a path that does not exist, and was taken for a repo id", f"{_PUT_REPO}{{meant}}"),
    ("OSR306", "OSR204", r"Invalid checkpoint path|checkpoint path.*(?:not exist|not found)",
     "Open-Sora's load_checkpoint takes a .pt file, or a folder with model/", f"{_PUT_REPO}{{meant}}"),
    ("OSR311", "OSR211", r"MemoryError|can't allocate memory|not enough memory|Cannot allocate memory",
     "not enough memory", "use a machine with more memory (level load needs little)"),
    ("OSR314", "OSR204", r"Torch not compiled with CUDA|No CUDA GPUs|Found no NVIDIA driver|CUDA driver|libcuda",
     "building needs a GPU", "run verify on a machine of the kind that Open-Sora runs on"),
    ("OSR315", "OSR212", r"is not in the [\w:.]*\s*registry",
     "no loader is registered under this type", "correct the type: opensora-rewriter trace {path}"),
    ("OSR316", "OSR205", r"UnpicklingError|InvalidHeader|HeaderToo(?:Large|Small)|MetadataIncompleteBuffer"
     r"|PytorchStreamReader|Unable to load weights from|invalid load key|size.mismatch",
     "the files were found and did not load", "verify it with --hash, which says which file is damaged"),
    # transformers 4's slow tokenizers open a vocabulary file that was not found: open(None).
    ("OSR304", "OSR203", r"os\.PathLike object, not NoneType \(.*(?:Tokenizer|vocab_file|merges_file)",
     "{repo} is not complete in {cache}", "{fetch}"),
    ("OSR304", "OSR202", r"LocalEntryNotFound|OfflineMode|couldn't connect|outgoing traffic"
     r"|annot find the requested files|does not appear to have a file|no file named|Can't load|cached files"
     r"|EntryNotFound|RepositoryNotFound|not a valid model id|not found in cache|not the path to a directory",
     "{repo} is not complete in {cache}", "{fetch}"),
    # Past huggingface_hub, which fails before it opens a socket (HF_HUB_OFFLINE).
    ("OSR301", "", r"network is blocked", "the loader fetches a file by itself, not through the Hub's cache",
     "fetch that file where there is a network, and put it where the loader looks for it"),
)  # fmt: skip

_PINNED = "use the library versions that your Open-Sora release pins, with --python"
# By the kind of the load probe's problem, or by level and stage of an unknown exception: code, remedy.
_PROBLEMS = {
    "load library": ("OSR213", _PINNED),
    "load tokenizer": ("OSR203", "{fetch}"),
    "no_weights": ("OSR202", "{fetch}"),
    "load weights": ("OSR205", "delete that file, then fetch it again: {fetch}"),
    "unsafe": ("OSR206", "do not load this file; fetch the weights from their author again"),
    "missing": ("OSR207", f"{_PINNED}; or correct the repo"),
    "shape": ("OSR208", f"{_PINNED}; or correct the repo"),
    "unexpected": ("OSR209", "nothing, if the outputs are right"),
    "load": ("OSR204", _PINNED),
    "build config": ("OSR313", "verify it with --level resolve, which says what is wrong"),
    "build": ("OSR301", "run opensora-rewriter verify {path} --level load, and look at the place that is named"),
}


def explain_error(error: Mapping[str, Any], level: Level, subject: str, cache: str, python: str) -> Trouble:
    """What an exception that a probe described (``probes/channel.py``) means; ``cache``: what it read, or ""."""
    chain, place = error["chain"], f" [{error['where']}]" if error["where"] else ""
    text = "\n".join(f"{' '.join(link['bases'])}: {link['message']} ({error['text']})" for link in chain)
    first = f"{chain[0]['type']}: {' '.join(chain[0]['message'].split())[:300]}".removesuffix(": ")
    words = {"repo": error["repo"] or "the repo", "cache": shlex.quote(cache) if cache else "the cache"}
    words |= {"python": shlex.quote(python), "fetch": format_fetch(cache), "path": "{path}", "component": "{component}"}
    words["meant"] = suggest_repo(error["repo"], own_weights(str(error.get("loader")), None))[0]
    cause, (code, remedy) = first, _PROBLEMS.get(f"{level} {error['stage']}", _PROBLEMS[level])
    for build, load, pattern, meaning, cure in KNOWN_FAILURES:
        known = build if level == "build" else load
        if known and (match := re.search(pattern, text, re.DOTALL)):
            words["keyword"] = keyword = next(filter(None, match.groups()), "")
            words["option"] = "--local-files-only" if keyword == "local_files_only" else "--cache-dir DIR"
            code, cause, remedy = known, f"{meaning.format(**words)} ({first})", cure
            break
    return Trouble(code, f"{subject}, {error['stage']}: {cause}{place}", remedy.format(**words))


def explain_problem(problem: Mapping[str, Any], subject: str, cache: str, python: str) -> Trouble:
    """What a problem means that the load probe found in ``subject``; see :func:`explain_error`."""
    kind = problem["kind"]
    if kind == "exception":
        return explain_error(problem, "load", subject, cache, python)
    code, remedy = _PROBLEMS[kind]
    severity: Severity = "warning" if kind == "unexpected" else "error"
    return Trouble(code, f"{subject}: {problem['message']}", remedy.replace("{fetch}", format_fetch(cache)), severity)
