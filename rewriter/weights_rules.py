"""What levels load and build of `verify` can find: the codes, and how to recognise and cure each known failure."""

from __future__ import annotations

import re
from dataclasses import dataclass

# code -> (slug, explanation)
WEIGHTS_RULES: dict[str, tuple[str, str]] = {
    "OSR201": (
        "load-interpreter",
        "The interpreter cannot load models. Level load needs torch and transformers or diffusers. Name the "
        "interpreter of your Open-Sora environment with --python, or install `opensora-rewriter[load]`.",
    ),
    "OSR202": (
        "load-files-absent",
        "Files that the loader asks for are not in the cache. With the network cut off, the tokenizer, the config "
        "or the weights are not where the loader looks. `verify --level cache` says which file and how to get it.",
    ),
    "OSR203": (
        "tokenizer-broken",
        "The tokenizer does not work. It does not load, or encodes an English sentence to nothing but unknown and "
        "special tokens: its vocabulary file is damaged or of another model.",
    ),
    "OSR204": (
        "config-broken",
        "The model cannot be built from its config. config.json does not read, or the class that the loader names "
        "cannot be built from it with the installed library versions.",
    ),
    "OSR205": (
        "weights-damaged",
        "A weights file is damaged. Its header does not read, it is shorter than its header promises, or it is a "
        "Git-LFS pointer. Download that file again; `verify --level cache --hash` compares every file with its "
        "hash.",
    ),
    "OSR206": (
        "pickle-unsafe",
        "A pickle that would run code. The .bin file asks for functions that a state dict has no use for. It was "
        "refused and not run. Take the weights from their author again, as safetensors where there are any.",
    ),
    "OSR207": (
        "parameters-missing",
        "Parameters are missing from the weights. The model has parameters that no file holds. Loading would fill "
        "them with random numbers and only print a warning: these weights belong to another model, or were saved "
        "in part.",
    ),
    "OSR208": (
        "parameters-mismatched",
        "Parameters of another shape or kind. The files hold tensors of another shape than the config makes, or "
        "integers for floats. Loading would fail: config.json and weights are of different models.",
    ),
    "OSR209": (
        "parameters-unexpected",
        "The weights hold parameters that the model has no place for. They are ignored on loading. Often the sign "
        "of another version of the model.",
    ),
    "OSR210": (
        "load-torch-too-old",
        "Torch is too old for .bin weights. transformers (4.50 and later) reads pickled .bin files only with "
        "torch 2.6 or later.",
    ),
    "OSR211": (
        "load-died",
        "The check itself died. The child process was killed, crashed, or ran out of time or memory. Out of "
        "memory is by far the most common.",
    ),
    "OSR212": (
        "left-to-build",
        "Not checked at this level. The call reads weights in a way that only running the checkout's own code can "
        "follow: use --level build.",
    ),
    "OSR213": (
        "load-versions",
        "Library versions that do not go together. The interpreter's libraries cannot load these weights, "
        "whatever the files hold.",
    ),
    "OSR301": (
        "build-failed",
        "The component does not build. The checkout's own build_module raised an exception that none of the other "
        "codes explains.",
    ),
    "OSR302": (
        "build-keyword-rejected",
        "The loader rejects a keyword. Open-Sora's registry passes every key of the config dict to the loader, "
        "and this one has no such parameter. `opensora-rewriter rewrite` adds the parameter to the loader's "
        "source.",
    ),
    "OSR303": (
        "build-repo-id-only",
        "The loader accepts its own repo id only. v1.1 and v1.2's t5 assert that from_pretrained is "
        "DeepFloyd/t5-v1_1-xxl. Keep the repo id and give cache_dir.",
    ),
    "OSR304": (
        "build-repo-absent",
        "A repo is not in the cache that reaches its loader. With the network cut off the loader did not find its "
        "files. Either they are not in cache_dir, or cache_dir does not reach this call (v1.2's OpenSoraVAE_V1_2 "
        "loads a repo that no config names).",
    ),
    "OSR305": (
        "build-path-as-repo-id",
        "A local path where a repo id is expected. from_pretrained is a path that does not exist, and was taken "
        "for the name of a repo. v1.0's t5 wants the parent folder of t5-v1_1-xxl. Give the repo id and "
        "cache_dir.",
    ),
    "OSR306": (
        "build-checkpoint-path",
        "A folder without the checkpoint that the loader expects. Open-Sora's load_checkpoint takes .pt files, or "
        "a folder that holds model/ (its own training format), and no Hub snapshot and no .safetensors. Give the "
        "repo id and cache_dir instead of the path.",
    ),
    "OSR307": (
        "build-module-missing",
        "A module is not installed in that interpreter. Building runs the checkout's own code with all that it "
        "imports. Name the interpreter of the environment that Open-Sora runs in, with --python.",
    ),
    "OSR308": (
        "build-transformers-5",
        "Transformers 5 with loaders of v1.2 or v1.3. OpenSoraVAE_V1_2, OpenSoraVAE_V1_3 and STDiT never call "
        "post_init(), on which transformers 5 insists. Install transformers below 5.",
    ),
    "OSR309": (
        "build-torch-too-old",
        "Torch is too old for .bin weights. transformers (4.50 and later) reads pickled .bin files only with "
        "torch 2.6 or later.",
    ),
    "OSR310": (
        "build-versions",
        "Library versions that do not go together. diffusers 0.27, which v1.2 pins, needs huggingface_hub below "
        "0.26; transformers 4.57 needs it below 1.0.",
    ),
    "OSR311": (
        "build-out-of-memory",
        "Out of memory. Building holds the whole model in memory (about 19 GB for the float32 T5). Level load "
        "checks the same files in less than 2 GB.",
    ),
    "OSR312": (
        "build-died",
        "The build died or ran out of time. The child process crashed, was ended by the checkout's code, or "
        "reached the time limit.",
    ),
    "OSR313": (
        "build-config",
        "The config does not load. mmengine could not load the config in that interpreter, so nothing was built.",
    ),
    "OSR314": (
        "build-needs-gpu",
        "The loader wants a GPU. Building asked for CUDA, which this machine or this torch does not have. Run "
        "verify where Open-Sora runs.",
    ),
    "OSR315": (
        "build-type-unknown",
        "The type is not registered. No loader of the checkout is registered under the component's type.",
    ),
    "OSR316": (
        "build-weights-rejected",
        "The weights do not fit the model, or are damaged. The files were found and did not load. `verify --level "
        "load` says which parameters, `verify --level cache --hash` which file.",
    ),
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """A failure that is known: how it reads, what it means, what cures it.

    ``pattern`` is searched in "Type: message (source line)". ``build``/``load``: the code at either level ("" where
    that level cannot meet it). ``cause`` and ``remedy`` are templates of {repo}, {cache}, {config},
    {component}, {python}, {keyword}, {known} (the repo id that belongs to the type) and {select} (what makes
    ``rewrite`` take the component).
    """

    pattern: re.Pattern[str]
    build: str
    load: str
    cause: str
    remedy: str


def _explain(pattern: str, build: str, load: str, cause: str, remedy: str) -> Explanation:
    return Explanation(re.compile(pattern, re.DOTALL), build, load, cause, remedy)


_GET = "fetch it where there is a network: hf download {repo} --cache-dir {cache}"

# The first that matches wins. Sources: Open-Sora issues 146 209 218 320 322 427 441 459 479 525 590 724; the messages
# of transformers 4.39 to 5, diffusers 0.27 to 0.39, huggingface_hub 0.25 to 2.x and torch.
EXPLANATIONS: tuple[Explanation, ...] = (
    _explain(
        r"unexpected keyword argument '(?P<keyword>cache_dir)'", "OSR302", "OSR204",
        "the loader has no parameter {keyword}", "opensora-rewriter rewrite --cache-dir DIR{select} {config}",
    ),
    _explain(
        r"unexpected keyword argument '(?P<keyword>local_files_only)'", "OSR302", "OSR204",
        "the loader has no parameter {keyword}", "opensora-rewriter rewrite --local-files-only{select} {config}",
    ),
    _explain(
        r"AssertionError.*(available_models|from_pretrained (in|==))", "OSR303", "",
        "this loader accepts only its own repo id as from_pretrained",
        'set from_pretrained="DeepFloyd/t5-v1_1-xxl" and cache_dir in {config}, or use '
        "opensora-rewriter rewrite --set text_encoder.from_pretrained=DeepFloyd/t5-v1_1-xxl {config}",
    ),
    _explain(
        r"all_tied_weights_keys", "OSR308", "OSR213",
        "transformers 5 cannot build this class of Open-Sora v1.2 or v1.3", '{python} -m pip install "transformers<5"',
    ),
    _explain(
        r"upgrade torch to at least v?2\.6", "OSR309", "OSR210",
        "transformers refuses .bin weights with this torch",
        '{python} -m pip install "torch>=2.6" (or "transformers<4.50"), or keep the weights as .safetensors',
    ),
    _explain(
        r"cached_download|cannot import name '\w+' from 'huggingface_hub|huggingface[-_]hub[^ ]* is required", "OSR310",
        "OSR213", "diffusers or transformers and huggingface_hub are of versions that do not go together",
        '{python} -m pip install "huggingface_hub<0.26" (for diffusers 0.27), or newer diffusers and transformers',
    ),
    _explain(
        r"No module named '(?P<keyword>[\w.]+)'", "OSR307", "OSR201", "{python} has no {keyword}",
        "name the interpreter of your Open-Sora environment with --python, or install {keyword} there",
    ),
    _explain(
        r"requires the [\w-]+ library|(sentencepiece|tiktoken|protobuf)[^.]*(install|not found)",
        "OSR307", "OSR201", "{python} lacks a library that the tokenizer needs",
        "{python} -m pip install sentencepiece protobuf",
    ),
    _explain(
        r"HFValidationError|Repo id must|Incorrect path_or_model_id", "OSR305", "OSR202",
        "{repo} is a path that does not exist, and was taken for a repo id",
        "put the repo id in its place: opensora-rewriter rewrite --cache-dir DIR --set "
        "{component}.from_pretrained={known} {config}",
    ),
    _explain(
        r"Invalid checkpoint path|checkpoint path.*(not exist|not found)", "OSR306", "OSR204",
        "the path is not what Open-Sora's load_checkpoint takes (a .pt file, or a folder that holds model/)",
        "put the repo id in its place: opensora-rewriter rewrite --cache-dir DIR --set "
        "{component}.from_pretrained={known} {config}",
    ),
    _explain(
        r"MemoryError|can't allocate memory|not enough memory|Cannot allocate memory", "OSR311", "OSR211",
        "not enough memory", "use --level load, which needs little, or a machine with more memory",
    ),
    _explain(
        r"Torch not compiled with CUDA|No CUDA GPUs|Found no NVIDIA driver|CUDA driver|libcuda", "OSR314", "OSR204",
        "building wants a GPU", "run verify on a machine of the kind that Open-Sora runs on",
    ),
    _explain(
        r"is not in the [\w:.]*\s*registry", "OSR315", "OSR212", "no loader is registered under this type",
        "correct the type in {config}; opensora-rewriter trace shows the checkout's loaders",
    ),
    _explain(
        r"UnpicklingError|InvalidHeader|HeaderTooLarge|HeaderTooSmall|MetadataIncompleteBuffer|PytorchStreamReader"
        r"|Unable to load weights from|invalid load key|size mismatch|ignore_mismatched_sizes", "OSR316", "OSR205",
        "the files were found and did not load",
        "opensora-rewriter verify --level load {config}; opensora-rewriter verify --level cache --hash {config}",
    ),
    _explain(
        # transformers 4's slow tokenizers open a vocabulary file that was not found: open(None).
        r"os\.PathLike object, not NoneType \(.*(Tokenizer|vocab_file|merges_file)", "OSR304", "OSR203",
        "the tokenizer files of {repo} are not in {cache}", _GET,
    ),
    _explain(
        r"LocalEntryNotFound|OfflineMode|couldn't connect|outgoing traffic|[Cc]annot find the requested files"
        r"|does not appear to have a file|no file named|not a valid model identifier|Can't load|cached files"
        r"|network is blocked|not found in cache|EntryNotFound|RepositoryNotFound|not the path to a directory",
        "OSR304", "OSR202", "{repo} is not complete in {cache}", _GET,
    ),
)  # fmt: skip
