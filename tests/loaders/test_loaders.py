"""What small loaders do, each with the right answer: the calls they make, or that nobody can know (OSR007)."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from loading import trace, write_package

from rewriter.model import Trace, Value

HEAD = """\
import contextlib
import functools
import os
from dataclasses import dataclass
from functools import partial

import diffusers
import torch
from diffusers import AutoencoderKL
from huggingface_hub import hf_hub_download, snapshot_download
from opensora.registry import DATASETS, MODELS, build_module
from torch import nn
from transformers import AutoModel, AutoTokenizer, PretrainedConfig, PreTrainedModel

"""
FUNCTION = """
@MODELS.register_module("loader")
def loader(from_pretrained=None, cache_dir=None, local_files_only=False, split=None):
"""
KEYWORDS: Mapping[str, object] = {"from_pretrained": "org/name", "cache_dir": "/cache"}


@dataclass(frozen=True, slots=True)
class Call:
    """One hub call as it should be found: its repo (None: not known) and the keys that arrive."""

    repo: str | None = "org/name"
    reached: frozenset[str] = frozenset()
    certain: bool = True
    subfolder: str | None = None
    filename: str | None = None


def takes(repo: str | None = "org/name", *keys: str, maybe: bool = False, **more: str) -> Call:
    """A call that ``cache_dir`` (or these keys) reaches. ``maybe``: a condition on the way is not known."""
    return Call(repo, frozenset(keys or ("cache_dir",)), not maybe, more.get("subfolder"), more.get("filename"))


def lacks(repo: str | None = "org/name", maybe: bool = False, **more: str) -> Call:
    """A call that ``cache_dir`` does not reach."""
    return Call(repo, frozenset(), not maybe, more.get("subfolder"), more.get("filename"))


@dataclass(frozen=True, slots=True)
class Case:
    """A loader and the right answer.

    ``source``: the body of a function ``loader(from_pretrained, cache_dir, local_files_only, split)``, or whole sources
    that register "loader". ``calls``: in any order. ``rejects``: keys that are a TypeError. ``fails``: an assertion or
    ``raise`` is certainly reached. ``unknown``: it must be said that not everything is known.
    """

    source: str
    calls: tuple[Call, ...] = ()
    rejects: tuple[str, ...] = ()
    fails: bool = False
    unknown: bool = False
    keywords: Mapping[str, object] = field(default_factory=lambda: KEYWORDS)


def known(source: str, *calls: Call, **more: object) -> Case:
    return Case(source, calls, **more)  # type: ignore[arg-type]


def unknown(source: str, **keywords: object) -> Case:
    return Case(source, unknown=True, keywords=keywords or KEYWORDS)


def trace_case(root: Path, case: Case) -> Trace:
    source = textwrap.dedent(case.source)
    if "MODELS." not in source:
        source = FUNCTION + textwrap.indent(source, "    ")
    write_package(root, {"loaders.py": HEAD + source})
    return trace(root, "loader", **case.keywords)


def list_calls(result: Trace) -> list[Call]:
    found = {Call(call.repo_id, call.reached, call.certain, call.subfolder, call.filename) for call in result.calls}
    return sorted(found, key=repr)


# --- shapes of the releases and of what is derived from them: all of them must be known ------------

REAL = {
    "a library call with the keyword": known(
        "return AutoModel.from_pretrained(from_pretrained, cache_dir=cache_dir)", takes()
    ),
    "a library call without it": known("return AutoModel.from_pretrained(from_pretrained)", lacks()),
    "both keys": known(
        "AutoModel.from_pretrained(from_pretrained, cache_dir=cache_dir, local_files_only=local_files_only)",
        takes("org/name", "cache_dir", "local_files_only"),
        keywords={**KEYWORDS, "local_files_only": True},
    ),
    "another value under the key": known("AutoModel.from_pretrained(from_pretrained, cache_dir='/mine')", lacks()),
    "the repo by keyword": known(
        "AutoModel.from_pretrained(pretrained_model_name_or_path=from_pretrained, cache_dir=cache_dir)", takes()
    ),
    "a subfolder": known(
        "AutoencoderKL.from_pretrained(from_pretrained, subfolder='vae', cache_dir=cache_dir)", takes(subfolder="vae")
    ),
    "a class through its module": known(
        "diffusers.models.AutoencoderKL.from_pretrained(from_pretrained, cache_dir=cache_dir)", takes()
    ),
    "a download of one file": known(
        "hf_hub_download(repo_id=from_pretrained, filename='m.bin', cache_dir=cache_dir)", takes(filename="m.bin")
    ),
    "a repo that the loader names": known(
        "AutoModel.from_pretrained('org/hidden', cache_dir=cache_dir)", takes("org/hidden")
    ),
    "chained with eval and to": known(
        "return AutoModel.from_pretrained(from_pretrained, cache_dir=cache_dir).eval().to('cpu')", takes()
    ),
    "registered by name=": known(
        """
        @MODELS.register_module(name="loader")
        class Encoder:
            def __init__(self, from_pretrained, cache_dir=None):
                AutoModel.from_pretrained(from_pretrained, cache_dir=cache_dir)
        """,
        takes(),
    ),
    "registered under a constant": known(
        """
        NAME = "loader"

        @MODELS.register_module(NAME)
        def make(from_pretrained, cache_dir=None):
            AutoModel.from_pretrained(from_pretrained, cache_dir=cache_dir)
        """,
        takes(),
    ),
    "a class that rejects the key": known(
        """
        @MODELS.register_module("loader")
        class Encoder(nn.Module):
            def __init__(self, from_pretrained=None):
                super().__init__()
                self.model = AutoModel.from_pretrained(from_pretrained)
        """,
        lacks(),
        rejects=("cache_dir",),
    ),
    "registered by a call": known(
        """
        class Encoder:
            def __init__(self, from_pretrained, cache_dir=None):
                AutoModel.from_pretrained(from_pretrained, cache_dir=cache_dir)

        MODELS.register_module("loader", module=Encoder)
        """,
        takes(),
    ),
    "a wrapper and an embedder": known(
        """
        class Embedder:
            def __init__(self, device, from_pretrained=None, *, cache_dir=None, kwargs=None):
                if kwargs is None:
                    kwargs = {"torch_dtype": torch.float}
                self.tokenizer = AutoTokenizer.from_pretrained(from_pretrained, cache_dir=cache_dir)
                self.model = AutoModel.from_pretrained(from_pretrained, cache_dir=cache_dir, **kwargs).eval()

        @MODELS.register_module("loader")
        class Encoder:
            def __init__(self, from_pretrained=None, device="cuda", cache_dir=None):
                assert from_pretrained is not None, "needs a path"
                self.t5 = Embedder(device=device, from_pretrained=from_pretrained, cache_dir=cache_dir)
                self.dim = self.t5.model.config.d_model
        """,
        takes(),
    ),
    "an embedder that rejects the key": known(
        """
        class Embedder:
            def __init__(self, path):
                self.model = AutoModel.from_pretrained(path)

        @MODELS.register_module("loader")
        class Encoder:
            def __init__(self, from_pretrained=None, cache_dir=None):
                self.clip = Embedder(path=from_pretrained, cache_dir=cache_dir).to("cpu")
        """,
        lacks(),
        rejects=("cache_dir",),
    ),
    "__init__ of the base class": known(
        """
        class Base(nn.Module):
            def __init__(self, from_pretrained, cache_dir=None):
                super().__init__()
                self.model = AutoModel.from_pretrained(from_pretrained, cache_dir=cache_dir)

        @MODELS.register_module("loader")
        class Encoder(Base):
            pass
        """,
        takes(),
    ),
    "super().__init__ with arguments": known(
        """
        class Base(nn.Module):
            def __init__(self, path, folder=None):
                super().__init__()
                self.model = AutoModel.from_pretrained(path, cache_dir=folder)

        @MODELS.register_module("loader")
        class Encoder(Base):
            def __init__(self, from_pretrained, cache_dir=None):
                super().__init__(from_pretrained, folder=cache_dir)
        """,
        takes(),
    ),
    "a method of its own": known(
        """
        @MODELS.register_module("loader")
        class Encoder:
            def __init__(self, from_pretrained, cache_dir=None):
                self.model = self.load(from_pretrained, cache_dir)

            def load(self, path, folder):
                return AutoModel.from_pretrained(path, cache_dir=folder)
        """,
        takes(),
    ),
    "a static method of its own": known(
        """
        @MODELS.register_module("loader")
        class Encoder:
            def __init__(self, from_pretrained, cache_dir=None):
                self.model = Encoder.load(from_pretrained, cache_dir=cache_dir)

            @staticmethod
            def load(path, cache_dir=None):
                return AutoModel.from_pretrained(path, cache_dir=cache_dir)
        """,
        takes(),
    ),
    "a class method of its own": known(
        """
        @MODELS.register_module("loader")
        class Encoder:
            def __init__(self, from_pretrained, cache_dir=None):
                self.model = self.load(from_pretrained, cache_dir=cache_dir)

            @classmethod
            def load(cls, path, cache_dir=None):
                return AutoModel.from_pretrained(path, cache_dir=cache_dir)
        """,
        takes(),
    ),
    "self holds the path": known(
        """
        @MODELS.register_module("loader")
        class Encoder:
            def __init__(self, from_pretrained, cache_dir=None):
                self.path = from_pretrained
                self.cache_dir = cache_dir
                self.model = AutoModel.from_pretrained(self.path, cache_dir=self.cache_dir)
        """,
        takes(),
    ),
    "a model class of its own": known(
        """
        class Model(PreTrainedModel):
            pass

        @MODELS.register_module("loader")
        def loader(from_pretrained=None, **kwargs):
            return Model.from_pretrained(from_pretrained, **kwargs)
        """,
        takes(),
    ),
    "STDiT2: the keywords are dropped": known(
        """
        class Model(PreTrainedModel):
            pass

        @MODELS.register_module("loader")
        def loader(from_pretrained=None, **kwargs):
            if from_pretrained is not None:
                if os.path.isdir(from_pretrained) or os.path.isfile(from_pretrained):
                    return Model(PretrainedConfig(**kwargs))
                else:
                    return Model.from_pretrained(from_pretrained)
            else:
                return Model(PretrainedConfig(**kwargs))
        """,
        lacks(),
    ),
    "STDiT3: no path and not forced": known(
        """
        class Model(PreTrainedModel):
            pass

        @MODELS.register_module("loader")
        def loader(from_pretrained=None, **kwargs):
            force_huggingface = kwargs.pop("force_huggingface", False)
            if force_huggingface or from_pretrained is not None and not os.path.exists(from_pretrained):
                model = Model.from_pretrained(from_pretrained, **kwargs)
            else:
                model = None
            return model
        """,
        takes(),
    ),
    "the path is None": known(
        "if from_pretrained is not None:\n    AutoModel.from_pretrained(from_pretrained)",
        keywords={"from_pretrained": None, "cache_dir": "/cache"},
    ),
    "an early return": known(
        "if from_pretrained is None:\n    return None\nAutoModel.from_pretrained(from_pretrained, cache_dir=cache_dir)",
        takes(),
    ),
    "an assertion that holds": known(
        """
        assert from_pretrained in ["org/name"]
        AutoModel.from_pretrained(from_pretrained, cache_dir=cache_dir)
        """,
        takes(),
    ),
    "v1.1's assertion on another repo": known(
        """
        class Embedder:
            available_models = ["DeepFloyd/t5-v1_1-xxl"]

            def __init__(self, from_pretrained, cache_dir=None):
                assert from_pretrained in self.available_models
                self.model = AutoModel.from_pretrained(from_pretrained, cache_dir=cache_dir)

        @MODELS.register_module("loader")
        class Encoder:
            def __init__(self, from_pretrained, cache_dir=None):
                self.t5 = Embedder(from_pretrained, cache_dir=cache_dir)
        """,
        takes(),
        fails=True,
    ),
    "in a constant of the module": known(
        """
        KNOWN = ("org/name", "org/other")

        @MODELS.register_module("loader")
        def loader(from_pretrained, cache_dir=None):
            if from_pretrained in KNOWN:
                return AutoModel.from_pretrained(from_pretrained, cache_dir=cache_dir)
            return AutoModel.from_pretrained("org/fallback")
        """,
        takes(),
    ),
    "raise that is reached": known(
        "if split == 'bad':\n    raise ValueError('no')\nAutoModel.from_pretrained(from_pretrained)",
        fails=True,
        keywords={**KEYWORDS, "split": "bad"},
    ),
    "tuple assignment": known(
        """
        tokenizer_path, path = from_pretrained, from_pretrained
        AutoTokenizer.from_pretrained(tokenizer_path, cache_dir=cache_dir)
        AutoModel.from_pretrained(path, cache_dir=cache_dir)
        """,
        takes(),
    ),
    "a or b": known("AutoModel.from_pretrained(from_pretrained or 'org/default', cache_dir=cache_dir)", takes()),
    "or with no path": known(
        "AutoModel.from_pretrained(from_pretrained or 'org/default', cache_dir=cache_dir)",
        takes("org/default"),
        keywords={"cache_dir": "/cache"},
    ),
    "dict then **": known(
        "kwargs = dict(cache_dir=cache_dir, subfolder='vae')\nAutoencoderKL.from_pretrained(from_pretrained, **kwargs)",
        takes(subfolder="vae"),
    ),
    "a display then **": known(
        "kwargs = {'cache_dir': cache_dir}\nAutoencoderKL.from_pretrained(from_pretrained, **kwargs)", takes()
    ),
    "kwargs.pop of the key": known(
        """
        @MODELS.register_module("loader")
        def loader(from_pretrained, **kwargs):
            folder = kwargs.pop("cache_dir", None)
            return AutoModel.from_pretrained(from_pretrained, cache_dir=folder)
        """,
        takes(),
    ),
    "kwargs without the popped key": known(
        """
        @MODELS.register_module("loader")
        def loader(from_pretrained, **kwargs):
            kwargs.pop("cache_dir", None)
            return AutoModel.from_pretrained(from_pretrained, **kwargs)
        """,
        lacks(),
    ),
    "kwargs.get of the key": known(
        """
        @MODELS.register_module("loader")
        def loader(from_pretrained, **kwargs):
            return AutoModel.from_pretrained(from_pretrained, cache_dir=kwargs.get("cache_dir"))
        """,
        takes(),
    ),
    "**kwargs through a helper": known(
        """
        def load(path, **kwargs):
            return AutoModel.from_pretrained(path, **kwargs)

        @MODELS.register_module("loader")
        def loader(from_pretrained, **kwargs):
            return load(from_pretrained, **kwargs)
        """,
        takes(),
    ),
    "**kwargs into a class that rejects them": known(
        """
        class Temporal(nn.Module):
            def __init__(self, channels=4):
                super().__init__()

        @MODELS.register_module("loader")
        def loader(from_pretrained=None, **kwargs):
            return Temporal(**kwargs)
        """,
        rejects=("cache_dir",),
    ),
    "OpenSoraVAE_V1_2": known(
        """
        @MODELS.register_module()
        class KL(nn.Module):
            def __init__(self, from_pretrained=None, cache_dir=None, subfolder=None):
                super().__init__()
                self.module = AutoencoderKL.from_pretrained(from_pretrained, cache_dir=cache_dir, subfolder=subfolder)

        @MODELS.register_module()
        def Temporal(from_pretrained=None, **kwargs):
            return None

        class Pipeline(PreTrainedModel):
            def __init__(self, config):
                super().__init__(config=config)
                self.spatial_vae = build_module(config.vae_2d, MODELS)
                self.temporal_vae = build_module(config.vae_temporal, MODELS)

        @MODELS.register_module("loader")
        def loader(from_pretrained=None, cal_loss=False):
            vae_2d = dict(type="KL", from_pretrained="org/hidden", subfolder="vae")
            vae_temporal = dict(type="Temporal", from_pretrained=None)
            kwargs = dict(vae_2d=vae_2d, vae_temporal=vae_temporal, cal_loss=cal_loss)
            if from_pretrained is not None and not os.path.isdir(from_pretrained):
                model = Pipeline.from_pretrained(from_pretrained, **kwargs)
            else:
                model = Pipeline(PretrainedConfig(**kwargs))
            return model
        """,
        lacks(),
        lacks("org/hidden", subfolder="vae"),
        rejects=("cache_dir",),
    ),
    "a nested dict that hands the key on": known(
        """
        @MODELS.register_module()
        class KL(nn.Module):
            def __init__(self, from_pretrained=None, cache_dir=None):
                self.module = AutoencoderKL.from_pretrained(from_pretrained, cache_dir=cache_dir)

        @MODELS.register_module("loader")
        def loader(from_pretrained=None, cache_dir=None):
            part = dict(type="KL", from_pretrained="org/hidden", cache_dir=cache_dir)
            return build_module(part, MODELS)
        """,
        takes("org/hidden"),
    ),
    "v1.3's load_checkpoint": known(
        """
        def load_from_hf_hub(repo_path, cache_dir):
            repo_id = "/".join(repo_path.split("/")[:-1])
            repo_file = repo_path.split("/")[-1]
            try:
                return hf_hub_download(repo_id=repo_id, filename=repo_file, cache_dir=cache_dir)
            except Exception as error:
                print(error)
                return None

        def load_checkpoint(model, ckpt_path, cache_dir=None):
            if not os.path.exists(ckpt_path):
                ckpt_path = load_from_hf_hub(ckpt_path, cache_dir)
            model.load_state_dict(torch.load(ckpt_path))
            return model

        class Pipeline(PreTrainedModel):
            pass

        @MODELS.register_module("loader")
        def loader(from_pretrained=None, force_huggingface=False, cache_dir=None):
            if force_huggingface or (from_pretrained is not None and not os.path.exists(from_pretrained)):
                return Pipeline.from_pretrained(from_pretrained, cache_dir=cache_dir)
            model = Pipeline(PretrainedConfig())
            if from_pretrained:
                load_checkpoint(model, from_pretrained)
            return model
        """,
        takes(),
    ),
    "v1.2's load_checkpoint: nothing of the Hub": known(
        """
        def load_checkpoint(model, ckpt_path):
            if ckpt_path.endswith(".pt"):
                model.load_state_dict(torch.load(ckpt_path))
            elif os.path.isdir(ckpt_path):
                model.load(os.path.join(ckpt_path, "model"))
            else:
                raise ValueError(f"invalid path {ckpt_path}")

        @MODELS.register_module("loader")
        def loader(from_pretrained=None, **kwargs):
            model = nn.Linear(1, 1)
            if from_pretrained is not None:
                load_checkpoint(model, from_pretrained)
            return model
        """,
        fails=True,  # a repo id is no checkpoint path: the last branch raises
    ),
    "an else that os.path decides": known(
        "if os.path.isdir(from_pretrained):\n    AutoModel.from_pretrained('org/local')\n"
        "else:\n    AutoModel.from_pretrained(from_pretrained)",
        lacks(),
    ),
    "a flag of the config": known(
        "if split == 'a':\n    AutoModel.from_pretrained('org/a')\nelse:\n    AutoModel.from_pretrained('org/b')",
        lacks("org/a"),
        keywords={**KEYWORDS, "split": "a"},
    ),
    "a branch that nobody can decide": known(
        """
        if torch.cuda.is_available():
            AutoModel.from_pretrained('org/a')
        else:
            AutoModel.from_pretrained('org/b')
        """,
        lacks("org/a", maybe=True),
        lacks("org/b", maybe=True),
    ),
    "a repo that depends on such a branch": known(
        "repo = 'org/a'\nif torch.cuda.is_available():\n    repo = 'org/b'\nAutoModel.from_pretrained(repo)",
        lacks(None),
    ),
    "the key is lost on one branch": known(
        """
        if torch.cuda.is_available():
            cache_dir = None
        AutoModel.from_pretrained(from_pretrained, cache_dir=cache_dir)
        """,
        lacks(),
    ),
    "a constant of the module": known(
        """
        REPO = "org/constant"

        @MODELS.register_module("loader")
        def loader(from_pretrained=None, cache_dir=None):
            return AutoModel.from_pretrained(REPO, cache_dir=cache_dir)
        """,
        takes("org/constant"),
    ),
    "an import in the function": known(
        "from transformers import T5EncoderModel\nT5EncoderModel.from_pretrained(from_pretrained, cache_dir=cache_dir)",
        takes(),
    ),
    "a property that loads nothing": known(
        """
        @MODELS.register_module("loader")
        class Encoder:
            def __init__(self, from_pretrained, cache_dir=None):
                self.model = AutoModel.from_pretrained(from_pretrained, cache_dir=cache_dir)

            @property
            def dtype(self):
                return self.model.dtype
        """,
        takes(),
    ),
    "v1.3's partial of a tokenizer that is built": known(
        """
        @MODELS.register_module("loader")
        class Encoder:
            def __init__(self, from_pretrained, cache_dir=None):
                self.tokenizer = AutoTokenizer.from_pretrained(from_pretrained, cache_dir=cache_dir)
                self.tokenize_fn = partial(self.tokenizer, padding="max_length")
        """,
        takes(),
    ),
    "a config that only running tells": known(
        "AutoModel.from_pretrained(from_pretrained, cache_dir=cache_dir)",
        takes(None),
        keywords={"from_pretrained": Value("os.environ['REPO']"), "cache_dir": "/cache"},
    ),
    "a dict with a type that nobody registers": known(
        """
        @MODELS.register_module("loader")
        def loader(from_pretrained=None, cache_dir=None):
            options = dict(type="cosine", lr=1e-4)
            return AutoModel.from_pretrained(from_pretrained, cache_dir=cache_dir)
        """,
        takes(),
    ),
}


# --- what cannot be followed: it must be said, and never be "nothing is loaded" --------------------

UNKNOWN = {
    "getattr of the method": unknown("return getattr(AutoModel, 'from_pretrained')(from_pretrained)"),
    "getattr of the class": unknown(
        "import transformers\nreturn getattr(transformers, split).from_pretrained(from_pretrained)",
        **KEYWORDS,
        split="T5EncoderModel",
    ),
    "partial of the method": unknown(
        "load = partial(AutoModel.from_pretrained, cache_dir=cache_dir)\nreturn load(from_pretrained)"
    ),
    "the method in a list": unknown("for load in [AutoModel.from_pretrained]:\n    load(from_pretrained)"),
    "hf_hub_download under another name": unknown("get = hf_hub_download\nreturn get(from_pretrained, 'm.bin')"),
    "a module's dict that is filled later": unknown(
        """
        LOADERS = {}

        @MODELS.register_module("loader")
        def loader(from_pretrained, cache_dir=None):
            return LOADERS["t5"](from_pretrained)

        def load_t5(path):
            return AutoModel.from_pretrained(path)

        LOADERS["t5"] = load_t5
        """
    ),
    "a function in the function": unknown(
        "def load(path):\n    return AutoModel.from_pretrained(path)\nreturn load(from_pretrained)"
    ),
    "a lambda": unknown("load = lambda: AutoModel.from_pretrained('org/x')\nreturn load()"),
    "a function that is handed on": unknown(
        """
        def load(path):
            return AutoModel.from_pretrained(path)

        @MODELS.register_module("loader")
        def loader(from_pretrained=None):
            return list(map(load, ["org/x"]))
        """
    ),
    "a class in the function": unknown(
        "class Inner:\n    def load(self):\n        return AutoModel.from_pretrained('org/x')\nreturn Inner().load()"
    ),
    "a method through its class": unknown(
        """
        class Helper:
            def load(self, path):
                return AutoModel.from_pretrained(path)

        @MODELS.register_module("loader")
        def loader(from_pretrained, cache_dir=None):
            helper = Helper()
            return type(helper).load(helper, from_pretrained)
        """
    ),
    "a property that loads": unknown(
        """
        @MODELS.register_module("loader")
        class Encoder:
            def __init__(self, from_pretrained, cache_dir=None):
                self.path = from_pretrained
                self.dim = self.model.config.d_model

            @property
            def model(self):
                return AutoModel.from_pretrained(self.path)
        """
    ),
    "a registered dataclass": unknown(
        """
        @MODELS.register_module("loader")
        @dataclass
        class Encoder:
            from_pretrained: str
            cache_dir: str = None

            def __post_init__(self):
                self.model = AutoModel.from_pretrained(self.from_pretrained)
        """
    ),
    "__new__ that loads": unknown(
        """
        @MODELS.register_module("loader")
        class Encoder:
            def __new__(cls, from_pretrained, cache_dir=None):
                return AutoModel.from_pretrained(from_pretrained)
        """
    ),
    "__new__ that drops a key": unknown(
        """
        class Base:
            def __new__(cls, from_pretrained, cache_dir=None):
                made = super().__new__(cls)
                made.__init__(from_pretrained)
                return made

        @MODELS.register_module("loader")
        class Encoder(Base):
            def __init__(self, from_pretrained, cache_dir=None):
                self.model = AutoModel.from_pretrained(from_pretrained, cache_dir=cache_dir)
        """
    ),
    "a metaclass": unknown(
        """
        class Meta(type):
            def __call__(cls, from_pretrained, cache_dir=None):
                return type.__call__(cls, from_pretrained)

        @MODELS.register_module("loader")
        class Encoder(metaclass=Meta):
            def __init__(self, from_pretrained, cache_dir=None):
                self.model = AutoModel.from_pretrained(from_pretrained, cache_dir=cache_dir)
        """
    ),
    "a decorator of its own": unknown(
        """
        def load_first(function):
            def inner(from_pretrained, **kwargs):
                AutoModel.from_pretrained(from_pretrained)
                return function(from_pretrained, **kwargs)
            return inner

        @MODELS.register_module("loader")
        @load_first
        def loader(from_pretrained, cache_dir=None):
            return None
        """
    ),
    "a context manager of its own": unknown(
        """
        class Loading:
            def __enter__(self):
                return AutoModel.from_pretrained("org/entered")

            def __exit__(self, *error):
                return True

        @MODELS.register_module("loader")
        def loader(from_pretrained, cache_dir=None):
            with Loading() as model:
                return model
        """
    ),
    "global": unknown(
        """
        REPO = "org/a"

        @MODELS.register_module("loader")
        def loader(from_pretrained, cache_dir=None):
            global REPO
            REPO = from_pretrained
            load()

        def load():
            AutoModel.from_pretrained(REPO)
        """
    ),
    "eval": unknown("return eval('AutoModel.from_' + 'pretrained')(from_pretrained)"),
    "importlib": unknown(
        "import importlib\nreturn importlib.import_module('transformers').AutoModel.from_pretrained(from_pretrained)"
    ),
    "build_module of what is not in sight": unknown(
        "return build_module(split, MODELS)", **KEYWORDS, split=Value("make_part()")
    ),
    "build_module of a dict from a helper": unknown(
        """
        @MODELS.register_module("part")
        def part(from_pretrained, cache_dir=None):
            return AutoModel.from_pretrained(from_pretrained)

        def describe(kind):
            found = {}
            found["type"] = kind
            return found

        @MODELS.register_module("loader")
        def loader(from_pretrained, cache_dir=None):
            return build_module(describe("part"), MODELS)
        """
    ),
    "MODELS.get": unknown(
        """
        @MODELS.register_module("part")
        def part(from_pretrained, cache_dir=None):
            return AutoModel.from_pretrained(from_pretrained)

        @MODELS.register_module("loader")
        def loader(from_pretrained, cache_dir=None):
            return MODELS.get("part")(from_pretrained)
        """
    ),
    "a library that takes no cache_dir": unknown(
        "from sentence_transformers import SentenceTransformer\nreturn SentenceTransformer(from_pretrained)"
    ),
    "a library class that loads in its constructor": unknown(
        "from transformers import pipeline\nreturn pipeline('text-generation', model=from_pretrained)"
    ),
    "from_pretrained of an unheard of library": unknown(
        "from modellib import Model\nreturn Model.from_pretrained(from_pretrained)"
    ),
    "a function that the checkout has not": unknown(
        "from opensora.missing import load\nreturn load(from_pretrained, cache_dir=cache_dir)"
    ),
    "super().from_pretrained": unknown(
        """
        class Model(PreTrainedModel):
            @classmethod
            def load(cls, path):
                return super().from_pretrained(path)

        @MODELS.register_module("loader")
        def loader(from_pretrained, cache_dir=None):
            return Model.load(from_pretrained)
        """
    ),
    "a base class that nobody knows": unknown(
        """
        from elsewhere import Base

        @MODELS.register_module("loader")
        class Encoder(Base):
            pass
        """
    ),
    "match": unknown(
        "match split:\n    case None:\n        AutoModel.from_pretrained(from_pretrained)\n    case _:\n        pass"
    ),
    "async": unknown(
        """
        @MODELS.register_module("loader")
        class Encoder:
            def __init__(self, from_pretrained, cache_dir=None):
                run(self.load(from_pretrained))

            async def load(self, path):
                return AutoModel.from_pretrained(path)
        """
    ),
}


# --- traps with an answer that is known, or that is at least not wrong ------------------------------


TRAPS = {
    "a dict that is handed on by keyword": known(
        """
        def fill(options):
            options["cache_dir"] = None

        @MODELS.register_module("loader")
        def loader(from_pretrained=None, cache_dir=None):
            options = dict(cache_dir=cache_dir)
            fill(options=options)
            return AutoModel.from_pretrained(from_pretrained, **options)
        """,
        lacks(),
    ),
    "a key that a loop pops": known(
        """
        @MODELS.register_module("loader")
        def loader(from_pretrained=None, **kwargs):
            for key in ("dtype", "cache_dir"):
                kwargs.pop(key, None)
            return AutoModel.from_pretrained(from_pretrained, **kwargs)
        """,
        lacks(),
    ),
    "a split with a keyword": known(
        "AutoModel.from_pretrained('x/org/name'.split('/', maxsplit=1)[1])",
        lacks(None),
    ),
    "a component with spaces": known(
        """
        @MODELS.register_module("inner")
        class Inner:
            def __init__(self, path):
                AutoModel.from_pretrained(path)

        def make():
            return dict(type = "inner", path="org/x")

        @MODELS.register_module("loader")
        def loader(from_pretrained=None, cache_dir=None):
            make()
        """,
        lacks("org/x"),
    ),
    "an f-string of a constant": known(
        """
        NAME = "name"

        @MODELS.register_module("loader")
        def loader(from_pretrained=None, cache_dir=None):
            return AutoModel.from_pretrained(f"org/{NAME}", cache_dir=cache_dir)
        """,
        takes("org/name"),
    ),
    "a class in a variable": known(
        "cls = AutoModel\nif split:\n    cls = AutoTokenizer\ncls.from_pretrained('org/x')",
        lacks("org/x"),
    ),
    "a generator": known(
        "yield AutoModel.from_pretrained(from_pretrained)",
        lacks(),
    ),
    "the second round of a loop": known(
        "repo = 'org/first'\nfor _ in range(2):\n    AutoModel.from_pretrained(repo)\n    repo = from_pretrained",
        lacks(None, maybe=True),
    ),
    "the key is lost in the second round": known(
        """
        for _ in range(2):
            AutoModel.from_pretrained(from_pretrained, cache_dir=cache_dir)
            cache_dir = None
        """,
        lacks(maybe=True),
    ),
    "a context manager that swallows": known(
        """
        with contextlib.suppress(OSError):
            AutoModel.from_pretrained('org/first')
            from_pretrained = 'org/second'
        AutoModel.from_pretrained(from_pretrained, cache_dir=cache_dir)
        """,
        lacks("org/first", maybe=True),
        takes(None),
    ),
    "try and its handler": known(
        """
        try:
            model = AutoModel.from_pretrained(from_pretrained, cache_dir=cache_dir)
        except OSError:
            model = AutoModel.from_pretrained('org/fallback')
        """,
        takes(maybe=True),
        lacks("org/fallback", maybe=True),
    ),
    "a path that is changed": known(
        "from_pretrained = from_pretrained.replace('name', 'other')\nAutoModel.from_pretrained(from_pretrained)",
        lacks(None),
    ),
    "a recursion": known(
        """
        def load(path, depth=0):
            if depth:
                return load(path, depth - 1)
            return AutoModel.from_pretrained(path)

        @MODELS.register_module("loader")
        def loader(from_pretrained, cache_dir=None):
            return load(from_pretrained, 3)
        """,
        lacks(maybe=True),
    ),
    "a path that grows": known("path = 'org'\npath += '/name'\nAutoModel.from_pretrained(path)", lacks(None)),
    "a key that is deleted": known(
        "more = dict(cache_dir=cache_dir)\ndel more['cache_dir']\nAutoModel.from_pretrained('org/x', **more)",
        lacks("org/x"),
    ),
    "a walrus": known("if (repo := from_pretrained) is not None:\n    AutoModel.from_pretrained(repo)", lacks()),
    "a comprehension": known(
        "return [AutoModel.from_pretrained(repo) for repo in ('org/a', 'org/b')]", lacks(None, maybe=True)
    ),
}


@pytest.mark.parametrize("name", REAL)
def test_a_real_loader_has_a_known_answer(name: str, tmp_path: Path) -> None:
    case = REAL[name]

    result = trace_case(tmp_path, case)

    assert result.unknown == ()
    assert list_calls(result) == sorted(case.calls, key=repr)
    assert {each.key for each in result.rejections} == set(case.rejects)
    assert bool(result.failures) == case.fails


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_cannot_be_followed_is_said_with_its_line(name: str, tmp_path: Path) -> None:
    result = trace_case(tmp_path, UNKNOWN[name])

    assert result.found
    assert result.unknown != ()
    assert all(f"{tmp_path}/opensora/loaders.py:" in reason for reason in result.unknown)


@pytest.mark.parametrize("name", TRAPS)
def test_a_trap_is_answered_rightly_or_said_to_be_unknown(name: str, tmp_path: Path) -> None:
    """A certain call may be called uncertain, and a repo or an arriving key may be missing; nothing may be added."""
    case = TRAPS[name]

    result = trace_case(tmp_path, case)

    if result.unknown:
        return
    found = list_calls(result)
    assert found, "a loader that loads is never silently without a call"
    for expected in case.calls:
        matching = [each for each in found if each.repo in (expected.repo, None)]
        assert matching, (expected, found)
        assert any(each.reached <= expected.reached for each in matching), (expected, found)
    assert len({call.line for call in result.calls}) >= len(case.calls)


# --- files, imports, registrations -----------------------------------------------------------------

LOAD = """from transformers import AutoModel

def load(path, cache_dir=None):
    return AutoModel.from_pretrained(path, cache_dir=cache_dir)
"""
REGISTERED = """
from opensora.registry import MODELS
{imports}

@MODELS.register_module("loader")
def loader(from_pretrained, cache_dir=None):
    return {call}(from_pretrained, cache_dir=cache_dir)
"""
IMPORTS = {
    "absolute": ("from opensora.utils.hub import load", "load"),
    "under another name": ("from opensora.utils.hub import load as fetch", "fetch"),
    "the module": ("import opensora.utils.hub", "opensora.utils.hub.load"),
    "the module under a name": ("import opensora.utils.hub as hub", "hub.load"),
    "a module of a package": ("from opensora.utils import hub", "hub.load"),
    "relative": ("from ..utils.hub import load", "load"),
    "a relative module": ("from ..utils import hub", "hub.load"),
    "re-exported": ("from opensora.utils import load", "load"),
    "by a star": ("from opensora.utils.hub import *", "load"),
}


@pytest.mark.parametrize("name", IMPORTS)
def test_a_helper_is_found_through_an_import(name: str, tmp_path: Path) -> None:
    imports, call = IMPORTS[name]
    files = {
        "models/__init__.py": "",
        "models/loader.py": REGISTERED.format(imports=imports, call=call),
        "utils/__init__.py": "from .hub import load\n",
        "utils/hub.py": LOAD,
    }
    write_package(tmp_path, files)

    result = trace(tmp_path, "loader", **KEYWORDS)

    assert result.unknown == ()
    assert list_calls(result) == [takes()]
    assert result.files == {str(tmp_path / "opensora/models/loader.py"), str(tmp_path / "opensora/utils/hub.py")}


def test_an_imported_constant_is_known_and_a_call_into_a_file_that_cannot_load_is_passed_over(
    tmp_path: Path,
) -> None:
    imports = "from opensora.hub import load\nfrom opensora.names import REPO\nfrom opensora.layers import Block, gelu"
    source = REGISTERED.format(imports=imports, call="load").replace("load(from_pretrained", "load(REPO")
    block = source.replace("    return", "    Block(gelu, act=gelu, size=3)\n    return")
    files = {"hub.py": LOAD, "names.py": 'REPO = "org/name"\n', "layers.py": "no Python\n", "loader.py": block}
    write_package(tmp_path, files)

    result = trace(tmp_path, "loader", **KEYWORDS)

    assert result.unknown == ()
    assert [(call.repo_id, call.hard_coded, call.reached) for call in result.calls] == [
        ("org/name", True, {"cache_dir"})
    ]


@pytest.mark.parametrize("mode", ["raw", "ema"])
def test_an_imported_constant_decides_in_a_function_that_is_walked_for_what_else_it_is_given(
    mode: str, tmp_path: Path
) -> None:
    source = REGISTERED.format(
        imports="from opensora.hub import load\nfrom opensora.names import MODE, check", call="load"
    )
    source = source.replace("    return", "    check(from_pretrained, mode=MODE)\n    return")
    names = f'MODE = "{mode}"\n\ndef check(path, mode):\n    assert mode == "raw"\n'
    write_package(tmp_path, {"hub.py": LOAD, "names.py": names, "loader.py": source})

    result = trace(tmp_path, "loader", **KEYWORDS)

    expected = [] if mode == "raw" else ["mode == 'raw'"]
    assert [failure.text for failure in result.failures] == expected


def test_the_path_to_a_call_is_reported_function_by_function(tmp_path: Path) -> None:
    files = {
        "utils/hub.py": LOAD,
        "loader.py": REGISTERED.format(imports="from opensora.utils.hub import load", call="load"),
    }
    write_package(tmp_path, files)

    (call,) = trace(tmp_path, "loader", **KEYWORDS).calls

    assert [step.function for step in call.chain] == ["loader", "load"]
    assert [Path(step.path).name for step in call.chain] == ["loader.py", "hub.py"]
    assert [dict(step.held)["cache_dir"] for step in call.chain] == ["cache_dir", "cache_dir"]
    assert (call.line, call.callee, call.kind, call.library) == (
        4,
        "AutoModel.from_pretrained",
        "from_pretrained",
        "transformers",
    )
    assert not call.hard_coded


@pytest.mark.parametrize("folder", ["", "src/"])
@pytest.mark.parametrize("package", ["opensora", "javisdit", "clipvidgen"])
def test_a_package_of_any_name_is_read(folder: str, package: str, tmp_path: Path) -> None:
    source = REGISTERED.format(imports=f"from {package}.hub import load", call="load").replace("opensora", package)
    write_package(tmp_path / folder, {"hub.py": LOAD, "loader.py": source}, package)

    result = trace(tmp_path, "loader", **KEYWORDS)

    assert result.unknown == ()
    assert list_calls(result) == [takes()]


def test_a_sibling_package_registers_and_helps(tmp_path: Path) -> None:
    write_package(tmp_path, {"hub.py": LOAD})
    loader = REGISTERED.format(imports="from opensora.hub import load", call="load")
    write_package(tmp_path, {"registry.py": "", "audio.py": loader}, "models")

    assert list_calls(trace(tmp_path, "loader", **KEYWORDS)) == [takes()]


TWICE = """
from opensora.registry import MODELS
from transformers import AutoModel

@MODELS.register_module("loader")
def loader(from_pretrained, cache_dir=None):
    return AutoModel.from_pretrained("{repo}")
"""


OLD, NEW = TWICE.format(repo="org/old"), TWICE.format(repo="org/new")
BOTH = "from . import new, old\n"
TWO = {
    "the imported one counts": ({"__init__.py": "from . import new\n", "t5 copy.py": OLD, "new.py": NEW}, "org/new"),
    "models win over datasets": ({"a.py": OLD.replace("MODELS", "DATASETS"), "b.py": NEW}, "org/new"),
    "none is imported": ({"old.py": OLD, "new.py": NEW}, None),
    "both are imported": ({"__init__.py": BOTH, "old.py": OLD, "new.py": NEW}, None),
}


@pytest.mark.parametrize("name", TWO)
def test_of_two_registrations_one_counts_or_both_are_named(name: str, tmp_path: Path) -> None:
    files, repo = TWO[name]
    write_package(tmp_path, files)

    result = trace(tmp_path, "loader", **KEYWORDS)

    assert list_calls(result) == ([lacks(repo)] if repo else [])
    named = [path in reason for reason in result.unknown for path in ("old.py", "new.py")]
    assert (result.found, named) == (True, [] if repo else [True, True])


def test_a_type_that_nobody_registers_is_not_found(tmp_path: Path) -> None:
    write_package(tmp_path, {"loader.py": TWICE})

    result = trace(tmp_path, "no-such-type", **KEYWORDS)

    assert (result.found, result.calls, result.unknown) == (False, (), ())


def test_what_a_loader_lacks_is_reported(tmp_path: Path) -> None:
    source = """
        from opensora.registry import MODELS

        @MODELS.register_module("plain")
        def plain(path, *, size, cache_dir=None):
            pass
        """
    write_package(tmp_path, {"loader.py": source})

    found = trace(tmp_path, "plain", size=1)

    assert (Path(found.path).name, found.line, found.lacking) == ("loader.py", 5, {"path"})


def test_a_file_that_cannot_be_read_makes_what_it_defines_unknown(tmp_path: Path) -> None:
    files = {
        "utils.py": "def load(:\n",
        "loader.py": REGISTERED.format(imports="from opensora.utils import load", call="load"),
    }
    write_package(tmp_path, files)

    assert trace(tmp_path, "loader", **KEYWORDS).unknown != ()


def test_a_deep_chain_of_helpers_ends(tmp_path: Path) -> None:
    helpers = "".join(f"def load{n}(path):\n    load{n + 1}(path)\n    load{n + 1}(path)\n\n" for n in range(30))
    last = "def load30(path):\n    AutoModel.from_pretrained(path)\n\n"
    write_package(tmp_path, {"loader.py": HEAD + helpers + last + FUNCTION + "    load0(from_pretrained)\n"})

    assert trace(tmp_path, "loader", **KEYWORDS).unknown != ()
