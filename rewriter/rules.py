"""The table of findings: one entry a code, with what it means, what to do, and an example."""

from __future__ import annotations

from dataclasses import dataclass

from rewriter.types import Severity


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of finding.

    ``name``: a slug for SARIF and links. ``title``: one line. ``explanation``: why it matters and what cures it.
    ``before``/``after``: config source that has the finding, and the same after the cure (empty where no edit cures).
    """

    code: str
    name: str
    title: str
    severity: Severity
    explanation: str
    before: str = ""
    after: str = ""


def _rule(code: str, name: str, title: str, severity: Severity, explanation: str, before: str = "",
          after: str = "") -> Rule:  # fmt: skip
    return Rule(code, name, title, severity, " ".join(explanation.split()), before.strip(), after.strip())


_RULES = (
    _rule(
        "OSR001", "cache-dir-missing", "a Hub-loaded component has no cache_dir", "error",
        """The loader registered under this type reads its weights through the Hugging Face Hub and takes cache_dir, but
        the config gives none (or None), so the weights come from the default cache or from the network.
        `opensora-rewriter rewrite --cache-dir DIR` adds it.""",
        """
vae = dict(
    type="VideoAutoencoderKL",
    from_pretrained="stabilityai/sd-vae-ft-ema",
)
""",
        """
vae = dict(
    type="VideoAutoencoderKL",
    from_pretrained="stabilityai/sd-vae-ft-ema",
    cache_dir="/models/hf/hub",
)
""",
    ),
    _rule(
        "OSR002", "cache-dir-relative", "cache_dir is a relative path", "error",
        """A relative cache_dir means another folder in every working directory, and `~` is not expanded by the loaders.
        `rewrite --cache-dir DIR` writes it absolute.""",
        """
text_encoder = dict(type="t5", from_pretrained="DeepFloyd/t5-v1_1-xxl", cache_dir="./hub")
""",
        """
text_encoder = dict(type="t5", from_pretrained="DeepFloyd/t5-v1_1-xxl", cache_dir="/models/hf/hub")
""",
    ),
    _rule(
        "OSR003", "cache-dir-other", "cache_dir is not the one asked for", "error",
        """The command line (or the settings) names another cache_dir than the config. Paths are compared as written,
        after normalising; links are not resolved.""",
        """
vae = dict(type="VideoAutoencoderKL", from_pretrained="stabilityai/sd-vae-ft-ema", cache_dir="/old/hub")
""",
        """
vae = dict(type="VideoAutoencoderKL", from_pretrained="stabilityai/sd-vae-ft-ema", cache_dir="/models/hf/hub")
""",
    ),
    _rule(
        "OSR004", "loader-rejects", "the loader rejects the keyword", "error",
        """Open-Sora's registry passes every key of the dict to the loader. This loader (or a function that it hands its
        keywords to) has no such parameter: mmengine loads the config, and building it raises a TypeError. v1.2's
        OpenSoraVAE_V1_2, every `clip` and all of v1.0 are such loaders. `rewrite` edits the loader together with the
        config; with --no-source, or where the source cannot be edited, the component is refused and left as it was. So
        it is where a dict that is made from it, in this file or in one that names this one as its `_base_`, has a
        loader that would reject the keyword.""",
        """
vae = dict(type="OpenSoraVAE_V1_2", from_pretrained="hpcai-tech/OpenSora-VAE-v1.2")
""",
        """
# with `def OpenSoraVAE_V1_2(..., cache_dir=None)` and its Hub calls edited in the same run
vae = dict(type="OpenSoraVAE_V1_2", from_pretrained="hpcai-tech/OpenSora-VAE-v1.2", cache_dir="/models/hf/hub")
""",
    ),
    _rule(
        "OSR005", "keyword-dropped", "the loader takes the keyword, but a Hub call never sees it", "error",
        """The loader's signature takes the key, yet at least one Hub call on its way is made without it, so that call
        goes to the default cache or the network. v1.1's `STDiT2-XL/2` drops its keywords like that. `rewrite` threads
        the key through the loader's source.""",
        """
model = dict(type="STDiT2-XL/2", from_pretrained="hpcai-tech/OpenSora-STDiT-v2-stage3", cache_dir="/models/hf/hub")
""",
    ),
    _rule(
        "OSR006", "path-missing", "a local path that does not exist, or that the loader does not take", "error",
        """A `from_pretrained` (or cache_dir) is meant as a path on this machine, and nothing is there; or the loader
        accepts one repo id only (v1.1 and v1.2 `t5`). cache_dir cannot help a path. `check` reports a missing path as a
        warning (an error with --must-exist); `rewrite` refuses a component whose only weights are at such a path.
        `--set COMPONENT.from_pretrained=ORG/NAME` gives it a repo id.""",
        """
vae = dict(type="OpenSoraVAE_V1_3", from_pretrained="/home/someone/OpenSora-VAE-v1.3")
""",
        """
vae = dict(type="OpenSoraVAE_V1_3", from_pretrained="hpcai-tech/OpenSora-VAE-v1.3", cache_dir="/models/hf/hub")
""",
    ),
    _rule(
        "OSR007", "undecidable", "cannot be decided without running the config", "error",
        """The type, the keyword or the whole dict is computed when the config runs (a call, `**common` of unknown
        content, a `_base_` outside of the run), or the type is registered nowhere in the checkout's sources. Nothing is
        guessed and nothing is written; write the dict as a literal, or name the missing file or source. A warning where
        calls of the Hub are known, and the loader does something besides that cannot be followed.""",
        """
vae = make_vae("VideoAutoencoderKL")
""",
        """
vae = dict(type="VideoAutoencoderKL", from_pretrained="stabilityai/sd-vae-ft-ema", cache_dir="/models/hf/hub")
""",
    ),
    _rule(
        "OSR008", "overridden", "set, but overridden later in the file", "error",
        """A later statement (or a `**` spread behind it, in the dict itself) gives the key again, so what stands in the
        dict never reaches the loader. Change or remove what comes later.""",
        """
vae = dict(type="VideoAutoencoderKL", from_pretrained="stabilityai/sd-vae-ft-ema", cache_dir="/models/hf/hub")
vae["cache_dir"] = None
""",
        """
vae = dict(type="VideoAutoencoderKL", from_pretrained="stabilityai/sd-vae-ft-ema", cache_dir="/models/hf/hub")
""",
    ),
    _rule(
        "OSR009", "cache-dir-unused", "cache_dir where nothing is loaded", "error",
        """This component reads nothing through the Hub (`classes`, a local folder that exists), so cache_dir is at best
        without effect and at worst a TypeError. `rewrite --cache-dir` removes it.""",
        """
text_encoder = dict(type="classes", num_classes=1000, cache_dir="/models/hf/hub")
""",
        """
text_encoder = dict(type="classes", num_classes=1000)
""",
    ),
    _rule(
        "OSR010", "other-component", "another component of this config still loads from the Hub", "warning",
        """The selected components are fine, but another one of the same config (mostly `model`) reads from the Hub
        without cache_dir. `--component model` selects it too, `--all-components` every one.""",
        """
model = dict(type="STDiT3-XL/2", from_pretrained="hpcai-tech/OpenSora-STDiT-v3")
""",
        """
model = dict(type="STDiT3-XL/2", from_pretrained="hpcai-tech/OpenSora-STDiT-v3", cache_dir="/models/hf/hub")
""",
    ),
    _rule(
        "OSR011", "local-files-only-missing", "local_files_only is asked for and not set", "error",
        """Without local_files_only=True (or HF_HUB_OFFLINE=1) a cut-off machine waits minutes for network retries
        before the cache is used. `rewrite --local-files-only` sets it where the loader takes it.""",
        """
vae = dict(type="VideoAutoencoderKL", from_pretrained="stabilityai/sd-vae-ft-ema", cache_dir="/models/hf/hub")
""",
        """
vae = dict(
    type="VideoAutoencoderKL",
    from_pretrained="stabilityai/sd-vae-ft-ema",
    cache_dir="/models/hf/hub",
    local_files_only=True,
)
""",
    ),
    _rule(
        "OSR012", "ignore-unused", "an ignore comment that hides nothing", "error",
        """A comment `# opensora-rewriter: ignore[CODE]` hides CODE on the line of its component. This one hides
        nothing: the fault is mended, the code is unknown or not one that can be ignored (OSR900 to OSR902), or the
        comment stands on another line than the dict's first. Left in place it would hide the next fault. Comments on
        components that the run does not look at, and codes that its options do not ask for, are left alone.""",
        """
text_encoder = dict(type="classes", num_classes=1000)  # opensora-rewriter: ignore[OSR001]
""",
        """
text_encoder = dict(type="classes", num_classes=1000)
""",
    ),
    _rule(
        "OSR900", "unreadable", "the file cannot be read", "error",
        """Syntax, encoding, size or permissions: the message says which, with the line. A Python file that does not
        parse cannot be checked or rewritten; the rest of the run goes on.""",
    ),
    _rule(
        "OSR901", "mmengine-fails", "mmengine cannot load the config", "error",
        """mmengine raised an error on the file as it was before any edit, so nothing can be proved about it; the file
        is left as it is and the rest of the run goes on.""",
    ),
    _rule(
        "OSR902", "mmengine-differs", "mmengine resolves something else than was written", "error",
        """After the edit mmengine's resolved dict differs in more than the keys asked for, or a key did not arrive:
        something in the config depends on the dict (`len(vae)`), or takes the key away again. Or a key that is set
        already resolves to something else. The file is left as it is, with the bases whose edit makes a difference in
        it, and the rest is proved again; where that stays, the run is aborted and nothing is written. If nothing in the
        config explains it, please report it together with the config.""",
    ),
)  # fmt: skip

CONFIG_RULES: dict[str, Rule] = {rule.code: rule for rule in _RULES}
"""What ``check`` and ``rewrite`` find."""


def all_rules() -> dict[str, Rule]:
    """Every finding of every command, by code: configs, caches and locks, weights and builds."""
    from rewriter.cache_rules import CACHE_RULES
    from rewriter.weights_rules import WEIGHTS_RULES

    plain = {**CACHE_RULES, **WEIGHTS_RULES}
    others = {code: _of_verify(code, slug, text) for code, (slug, text) in plain.items()}
    return dict(sorted({**CONFIG_RULES, **others}.items()))


# Findings of verify and lock that do not stop a load.
_WARNINGS = frozenset({"OSR117", "OSR118", "OSR125", "OSR209", "OSR212"})


def _of_verify(code: str, slug: str, text: str) -> Rule:
    words = slug.replace("-", " ").replace("lfs", "LFS").replace("hf home", "HF_HOME")
    return Rule(code, slug, words, "warning" if code in _WARNINGS else "error", text)
