"""What failures of levels load and build mean: from an exception's text to a code, a cause and a remedy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rewriter.decide.remedies import select_option
from rewriter.process.children import ChildError
from rewriter.words import quote_word

Level = Literal["load", "build"]


@dataclass(frozen=True, slots=True)
class KnownFailure:
    """A failure that is known: how it reads, what it means, what cures it.

    ``pattern`` is searched in "Type Bases: message (source line)". ``build``/``load``: the code at either level (""
    where that level cannot meet it). ``cause`` and ``remedy`` are templates of {repo}, {cache}, {config}, {component},
    {python}, {keyword}, {known} (the repo id in place of a lost path) and {select} (what makes ``rewrite`` take the
    component).
    """

    pattern: str
    build: str
    load: str
    cause: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Code, cause and remedy of a failure; all empty where it is not a known one."""

    code: str = ""
    cause: str = ""
    remedy: str = ""


_FETCH = "fetch it where there is a network: hf download {repo} --cache-dir {cache}"
_PUT_REPO = (
    "put the repo id in its place: opensora-rewriter rewrite --cache-dir DIR --set "
    "{component}.from_pretrained={known} {config}"
)

# The first that matches wins. Sources: Open-Sora issues 146 209 218 320 322 427 441 459 479 525 590 724; the messages
# of transformers 4.39 to 5, diffusers 0.27 to 0.39, huggingface_hub 0.25 to 2.x and torch.
KNOWN_FAILURES: tuple[KnownFailure, ...] = (
    KnownFailure(
        r"unexpected keyword argument '(?P<keyword>cache_dir)'", "OSR302", "OSR204",
        "the loader has no parameter {keyword}", "opensora-rewriter rewrite --cache-dir DIR{select} {config}",
    ),
    KnownFailure(
        r"unexpected keyword argument '(?P<keyword>local_files_only)'", "OSR302", "OSR204",
        "the loader has no parameter {keyword}", "opensora-rewriter rewrite --local-files-only{select} {config}",
    ),
    KnownFailure(
        r"AssertionError.*(available_models|from_pretrained (in|==))", "OSR303", "",
        "this loader accepts only its own repo id as from_pretrained",
        'set from_pretrained="DeepFloyd/t5-v1_1-xxl" and cache_dir in {config}, or use '
        "opensora-rewriter rewrite --set {component}.from_pretrained=DeepFloyd/t5-v1_1-xxl {config}",
    ),
    KnownFailure(
        r"all_tied_weights_keys", "OSR308", "OSR213",
        "transformers 5 cannot build this class of Open-Sora v1.2 or v1.3", '{python} -m pip install "transformers<5"',
    ),
    KnownFailure(
        r"upgrade torch to at least v?2\.6", "OSR309", "OSR210",
        "transformers refuses .bin weights with this torch",
        '{python} -m pip install "torch>=2.6" (or "transformers<4.50"), or keep the weights as .safetensors',
    ),
    KnownFailure(
        r"cached_download|cannot import name '\w+' from 'huggingface_hub|huggingface[-_]hub[^ ]* is required", "OSR310",
        "OSR213", "diffusers or transformers and huggingface_hub are of versions that do not go together",
        '{python} -m pip install "huggingface_hub<0.26" (for diffusers 0.27), or newer diffusers and transformers',
    ),
    KnownFailure(
        r"No module named '(?P<keyword>[\w.]+)'", "OSR307", "OSR201", "{python} has no {keyword}",
        "name the interpreter of your Open-Sora environment with --python, or install {keyword} there",
    ),
    KnownFailure(
        r"requires the [\w-]+ library|(sentencepiece|tiktoken|protobuf)[^.]*(install|not found)",
        "OSR307", "OSR201", "{python} lacks a library that the tokenizer needs",
        "{python} -m pip install sentencepiece protobuf",
    ),
    KnownFailure(
        r"HFValidationError|Repo id must|Incorrect path_or_model_id", "OSR305", "OSR202",
        "{repo} is a path that does not exist, and was taken for a repo id", _PUT_REPO,
    ),
    KnownFailure(
        r"Invalid checkpoint path|checkpoint path.*(not exist|not found)", "OSR306", "OSR204",
        "the path is not what Open-Sora's load_checkpoint takes (a .pt file, or a folder that holds model/)", _PUT_REPO,
    ),
    KnownFailure(
        r"MemoryError|can't allocate memory|not enough memory|Cannot allocate memory", "OSR311", "OSR211",
        "not enough memory", "use --level load, which needs little, or a machine with more memory",
    ),
    KnownFailure(
        r"Torch not compiled with CUDA|No CUDA GPUs|Found no NVIDIA driver|CUDA driver|libcuda", "OSR314", "OSR204",
        "building needs a GPU", "run verify on a machine of the kind that Open-Sora runs on",
    ),
    KnownFailure(
        r"is not in the [\w:.]*\s*registry", "OSR315", "OSR212", "no loader is registered under this type",
        "correct the type in {config}; opensora-rewriter trace shows the checkout's loaders",
    ),
    KnownFailure(
        r"UnpicklingError|InvalidHeader|HeaderTooLarge|HeaderTooSmall|MetadataIncompleteBuffer|PytorchStreamReader"
        r"|Unable to load weights from|invalid load key|size mismatch|ignore_mismatched_sizes", "OSR316", "OSR205",
        "the files were found and did not load",
        "opensora-rewriter verify --level load {config}; opensora-rewriter verify --level cache --hash {config}",
    ),
    KnownFailure(
        # transformers 4's slow tokenizers open a vocabulary file that was not found: open(None).
        r"os\.PathLike object, not NoneType \(.*(Tokenizer|vocab_file|merges_file)", "OSR304", "OSR203",
        "the tokenizer files of {repo} are not in {cache}", _FETCH,
    ),
    KnownFailure(
        r"LocalEntryNotFound|OfflineMode|couldn't connect|outgoing traffic|[Cc]annot find the requested files"
        r"|does not appear to have a file|no file named|not a valid model identifier|Can't load|cached files"
        r"|network is blocked|not found in cache|EntryNotFound|RepositoryNotFound|not the path to a directory",
        "OSR304", "OSR202", "{repo} is not complete in {cache}", _FETCH,
    ),
)  # fmt: skip


def explain_error(error: Mapping[str, Any], level: Level, words: Mapping[str, str]) -> Explanation:
    """What an exception that a probe described means (see ``probes/channel.py``, ``describe_error``).

    ``words``: "repo" (used where the probe saw none), "cache", "config", "component", "known" and "python", for the
    templates; empty where not known.
    """
    filled = {"repo": "the repo", "cache": "the cache", "component": "COMPONENT", "known": "ORG/NAME"}
    filled |= {key: value for key, value in words.items() if value}
    filled |= {key: quote_word(words[key]) for key in ("cache", "config", "python") if words.get(key)}
    filled |= {"select": select_option(filled["component"]), "repo": error["repo"] or filled["repo"]}
    for known in KNOWN_FAILURES:
        code = known.build if level == "build" else known.load
        for link in error["chain"] if code else ():
            subject = f"{' '.join(link['bases'])}: {link['message']} ({error['text']})"
            match = re.search(known.pattern, subject, re.DOTALL)
            if match is not None:
                filled["keyword"] = match.groupdict().get("keyword") or ""
                # Without a cache_dir the loader looks where a download without one goes.
                remedy = known.remedy if words.get("cache") else known.remedy.replace(" --cache-dir {cache}", "")
                return Explanation(code, known.cause.format(**filled), remedy.format(**filled))
    return Explanation()


def explain_death(error: ChildError, level: Level, activity: str) -> Explanation:
    """Why a task got no answer: its code, the message and the remedy. ``activity``: "building vae"."""
    codes = {"start": ("OSR201", "OSR307"), "memory": ("OSR211", "OSR311")}.get(error.reason, ("OSR211", "OSR312"))
    output = f"; its last output: {error.output}" if error.output else ""
    return Explanation(codes[level == "build"], f"{activity}: {error.message}{output}", error.remedy)


def first_line(error: Mapping[str, Any]) -> str:
    """The exception in one line, its message in at most 300 characters."""
    link = error["chain"][0]
    text = " ".join(link["message"].split())
    return f"{link['type']}: {text[:300]}" if text else str(link["type"])
