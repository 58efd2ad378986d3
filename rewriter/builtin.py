"""The loaders of the newest release (tag v1.3) as a small table, for a config that comes without its checkout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from rewriter.frozen import Frozen
from rewriter.locality import locality
from rewriter.types import CACHE_DIR, LOCAL_FILES_ONLY, NO_KEYWORDS, Failure, HubCall, Rejection, Trace, Value

_BOTH = frozenset({CACHE_DIR, LOCAL_FILES_ONLY})
_ALL = _BOTH | {"subfolder", "revision"}


class _Call(Frozen):
    """``X.from_pretrained`` of a loader. ``repo_id`` None: the config's ``from_pretrained``.

    ``carries``: the loader's keywords that are passed on to it. ``when`` "remote": only for a ``from_pretrained`` that
    does not exist on disk (or under ``force_huggingface``).
    """

    library: str
    class_name: str
    carries: frozenset[str] = frozenset()
    repo_id: str | None = None
    subfolder: str | None = None
    when: Literal["always", "remote"] = "always"


class _Loader(Frozen):
    """A registered function or class. ``open``: it takes ``**kwargs``. ``needs_path``: without it it fails."""

    function: str
    parameters: str
    calls: tuple[_Call, ...] = ()
    open: bool = False
    needs_path: bool = False


def _model(class_name: str, carries: frozenset[str]) -> tuple[_Call, ...]:
    return (_Call("opensora", class_name, carries, when="remote"),)


_TABLE = {
    "t5": _Loader(
        "T5Encoder.__init__",
        "from_pretrained model_max_length device dtype cache_dir shardformer local_files_only",
        (_Call("transformers", "AutoTokenizer", _BOTH), _Call("transformers", "T5EncoderModel", _BOTH)),
        needs_path=True,
    ),
    "clip": _Loader(
        "ClipEncoder.__init__",
        "from_pretrained model_max_length device dtype",
        (_Call("transformers", "CLIPTokenizer"), _Call("transformers", "CLIPTextModel")),
        needs_path=True,
    ),
    "classes": _Loader("ClassEncoder.__init__", "num_classes model_max_length device dtype"),
    "VideoAutoencoderKL": _Loader(
        "VideoAutoencoderKL.__init__",
        "from_pretrained micro_batch_size cache_dir local_files_only subfolder scaling_factor",
        (_Call("diffusers", "AutoencoderKL", _BOTH | {"subfolder"}),),
    ),
    "VideoAutoencoderKLTemporalDecoder": _Loader(
        "VideoAutoencoderKLTemporalDecoder.__init__",
        "from_pretrained cache_dir local_files_only",
        (_Call("diffusers", "AutoencoderKLTemporalDecoder", _BOTH),),
    ),
    "OpenSoraVAE_V1_2": _Loader(
        "OpenSoraVAE_V1_2",
        "micro_batch_size micro_frame_size from_pretrained local_files_only freeze_vae_2d cal_loss force_huggingface",
        (
            *_model("VideoAutoencoderPipeline", frozenset()),
            _Call(
                "diffusers",
                "AutoencoderKL",
                frozenset({LOCAL_FILES_ONLY}),
                "PixArt-alpha/pixart_sigma_sdxlvae_T5_diffusers",
                "vae",
            ),
        ),
    ),
    "OpenSoraVAE_V1_3": _Loader(
        "OpenSoraVAE_V1_3",
        "from_pretrained force_huggingface dtype z_channels micro_batch_size micro_batch_size_2d micro_frame_size "
        "use_tiled_conv3d tile_size tiled_dim num_tiles temporal_overlap normalization",
        _model("OpenSoraVAE_V1_3_Pipline", frozenset()),
    ),
    "STDiT2-XL/2": _Loader("STDiT2_XL_2", "from_pretrained", _model("STDiT2", frozenset()), open=True),
    "STDiT3-XL/2": _Loader("STDiT3_XL_2", "from_pretrained", _model("STDiT3", _ALL), open=True),
    "STDiT3-3B/2": _Loader("STDiT3_3B_2", "from_pretrained", _model("STDiT3", _ALL), open=True),
}


def trace_builtin(type_name: str, values: Mapping[str, Value]) -> Trace:
    """What building ``type_name`` with these keywords would do by v1.3's loaders; ``builtin`` is True.

    Paths and lines are empty: there is no source to point at. Relative paths cannot be looked up without a checkout.
    """
    loader = _TABLE.get(type_name)
    if loader is None:
        return Trace(type_name, False, builtin=True)
    names = {*loader.parameters.split(), *(_BOTH if loader.open else ())}
    given = [key for key in values if key not in NO_KEYWORDS]
    rejected = [] if loader.open else [key for key in given if key not in names]
    repo = values.get("from_pretrained", Value(True, None, "None"))
    failures: tuple[Failure, ...] = ()
    if loader.needs_path and repo.literal and repo.value is None:
        failures = (Failure("from_pretrained is not None", "", 0),)
    return Trace(
        type_name,
        True,
        builtin=True,
        accepts=frozenset(_BOTH & names),
        calls=tuple(_hub_call(call, repo, values) for call in loader.calls if _happens(call, repo, values)),
        rejections=tuple(Rejection(key, loader.function, "", 0) for key in rejected),
        failures=failures,
    )


def _happens(call: _Call, repo: Value, values: Mapping[str, Value]) -> bool:
    if call.when == "always" or not repo.literal:
        return True
    forced = values.get("force_huggingface")
    if forced is not None and (not forced.literal or forced.value):
        return True
    return isinstance(repo.value, str) and locality(repo.value, None) != "local"


def _hub_call(call: _Call, repo: Value, values: Mapping[str, Value]) -> HubCall:
    repo_id = call.repo_id or (repo.value if isinstance(repo.value, str) else None)
    return HubCall(
        callee=f"{call.class_name}.from_pretrained",
        kind="from_pretrained",
        library=call.library,
        class_name=call.class_name,
        path="",
        line=0,
        column=0,
        repo_id=repo_id,
        repo_text=repo_id if repo_id is not None else repo.text,
        hard_coded=call.repo_id is not None,
        subfolder=call.subfolder or _carried(call, "subfolder", values),
        revision=_carried(call, "revision", values),
        reached=frozenset(key for key in call.carries & _BOTH if key in values),
        certain=repo.literal or call.when == "always",
    )


def _carried(call: _Call, key: str, values: Mapping[str, Value]) -> str | None:
    value = values[key].value if key in call.carries and key in values else None
    return value if isinstance(value, str) else None
