"""The released loaders as a table, for configs that lie in no checkout: a guess, and said to be one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rewriter.model import KEYS, LOCAL_FILES_ONLY, HubCall, Rejection, Trace, Value

PIXART_VAE = "PixArt-alpha/pixart_sigma_sdxlvae_T5_diffusers"


@dataclass(frozen=True, slots=True)
class ReleasedLoader:
    """What a registered type of v1.0.0 to v1.3 does.

    ``parameters``: all that some release takes. ``callees``: its hub calls on ``from_pretrained``, as
    ``library.Class``. ``passes``: keys that reach them. ``open``: it takes ``**kwargs``. ``hidden``: a repo that it
    reads besides, with its subfolder and class.
    """

    parameters: str
    callees: tuple[str, ...] = ()
    passes: frozenset[str] = frozenset()
    open: bool = False
    hidden: tuple[str, str, str] | None = None


RELEASED: Mapping[str, ReleasedLoader] = {
    "t5": ReleasedLoader(
        "from_pretrained model_max_length device dtype cache_dir shardformer local_files_only",
        ("transformers.AutoTokenizer", "transformers.T5EncoderModel"),
        frozenset(KEYS),
    ),
    "clip": ReleasedLoader(
        "from_pretrained model_max_length device dtype", ("transformers.CLIPTokenizer", "transformers.CLIPTextModel")
    ),
    "classes": ReleasedLoader("num_classes model_max_length device dtype"),
    "VideoAutoencoderKL": ReleasedLoader(
        "from_pretrained micro_batch_size cache_dir local_files_only subfolder scaling_factor patch_size",
        ("diffusers.AutoencoderKL",),
        frozenset(KEYS),
    ),
    "VideoAutoencoderKLTemporalDecoder": ReleasedLoader(
        "from_pretrained cache_dir local_files_only", ("diffusers.AutoencoderKLTemporalDecoder",), frozenset(KEYS)
    ),
    "OpenSoraVAE_V1_2": ReleasedLoader(
        "micro_batch_size micro_frame_size from_pretrained local_files_only freeze_vae_2d cal_loss force_huggingface",
        ("opensora.VideoAutoencoderPipeline",),
        hidden=(PIXART_VAE, "vae", "diffusers.AutoencoderKL"),
    ),
    "OpenSoraVAE_V1_3": ReleasedLoader(
        "from_pretrained force_huggingface dtype z_channels micro_batch_size micro_batch_size_2d micro_frame_size "
        "use_tiled_conv3d tile_size tiled_dim num_tiles temporal_overlap normalization",
        ("opensora.OpenSoraVAE_V1_3_Pipline",),
    ),
    "STDiT2-XL/2": ReleasedLoader("from_pretrained", ("opensora.STDiT2",), open=True),
    "STDiT3-XL/2": ReleasedLoader("from_pretrained", ("opensora.STDiT3",), frozenset(KEYS), open=True),
    "STDiT3-3B/2": ReleasedLoader("from_pretrained", ("opensora.STDiT3",), frozenset(KEYS), open=True),
}


def trace_released(type_name: str, values: Mapping[str, Value]) -> Trace:
    """What the released loader of that type would do with these keywords; not found where none is known."""
    loader = RELEASED.get(type_name)
    if loader is None:
        return Trace(type_name, False, guessed=True)
    present = values.get("from_pretrained", Value.of(None))
    repo = present.value if isinstance(present.value, str) else None
    text = present.text if repo is None else repo
    reached = frozenset(key for key in loader.passes if key in values)
    calls = []
    for callee in loader.callees if repo is not None or not present.known else ():
        library, _, class_name = callee.partition(".")
        subfolder = values.get("subfolder", Value.of(None)).value
        calls.append(
            _hub_call(library, class_name, repo, text, reached, subfolder if isinstance(subfolder, str) else None)
        )
    if loader.hidden is not None:
        repo_id, folder, callee = loader.hidden
        library, _, class_name = callee.partition(".")
        given = frozenset({LOCAL_FILES_ONLY} & set(values))
        calls.append(_hub_call(library, class_name, repo_id, repo_id, given, folder, hard_coded=True))
    names = {*loader.parameters.split(), *(KEYS if loader.open else ())}
    rejected = [] if loader.open else [key for key in values if key not in names]
    return Trace(
        type_name,
        True,
        True,
        accepts=frozenset(KEYS) & names,
        calls=tuple(calls),
        rejections=tuple(Rejection(key, type_name, "", 0) for key in rejected),
    )


def _hub_call(
    library: str,
    class_name: str,
    repo_id: str | None,
    text: str,
    reached: frozenset[str],
    subfolder: str | None,
    hard_coded: bool = False,
) -> HubCall:
    callee = f"{class_name}.from_pretrained"
    return HubCall(
        callee, "from_pretrained", library, class_name, "", 0, 0, repo_id, text, hard_coded, subfolder, reached=reached
    )
