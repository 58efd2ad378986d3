"""The released loaders as a table, for configs that lie in no checkout: a guess, and said to be one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from rewriter.model import KEYS, LOCAL_FILES_ONLY, HubCall, Rejection, Trace, Value


class ReleasedLoader(NamedTuple):
    """What a registered type of v1.0.0 to v1.3 does.

    ``parameters``: all that some release takes (``**``: any). ``classes``: ``library.Class`` that it loads from
    ``from_pretrained``; the followed keys that its parameters name reach them, but for OpenSoraVAE_V1_2's. ``hidden``:
    a class that it loads besides, its repo and subfolder, which ``local_files_only`` alone reaches.
    """

    parameters: str
    classes: tuple[str, ...] = ()
    hidden: tuple[str, str, str] | None = None


_PIXART = "diffusers.AutoencoderKL", "PixArt-alpha/pixart_sigma_sdxlvae_T5_diffusers", "vae"
RELEASED: Mapping[str, ReleasedLoader] = {
    "t5": ReleasedLoader(
        "from_pretrained model_max_length device dtype cache_dir shardformer local_files_only",
        ("transformers.AutoTokenizer", "transformers.T5EncoderModel"),
    ),
    "clip": ReleasedLoader(
        "from_pretrained model_max_length device dtype", ("transformers.CLIPTokenizer", "transformers.CLIPTextModel")
    ),
    "classes": ReleasedLoader("num_classes model_max_length device dtype"),
    "VideoAutoencoderKL": ReleasedLoader(
        "from_pretrained micro_batch_size cache_dir local_files_only subfolder scaling_factor patch_size",
        ("diffusers.AutoencoderKL",),
    ),
    "VideoAutoencoderKLTemporalDecoder": ReleasedLoader(
        "from_pretrained cache_dir local_files_only", ("diffusers.AutoencoderKLTemporalDecoder",)
    ),
    "OpenSoraVAE_V1_2": ReleasedLoader(
        "micro_batch_size micro_frame_size from_pretrained local_files_only freeze_vae_2d cal_loss force_huggingface",
        ("opensora.VideoAutoencoderPipeline",),
        _PIXART,
    ),
    "OpenSoraVAE_V1_3": ReleasedLoader(
        "from_pretrained force_huggingface dtype z_channels micro_batch_size micro_batch_size_2d micro_frame_size "
        "use_tiled_conv3d tile_size tiled_dim num_tiles temporal_overlap normalization",
        ("opensora.OpenSoraVAE_V1_3_Pipline",),
    ),
    "STDiT2-XL/2": ReleasedLoader("from_pretrained **", ("opensora.STDiT2",)),
    "STDiT3-XL/2": ReleasedLoader("from_pretrained cache_dir local_files_only **", ("opensora.STDiT3",)),
    "STDiT3-3B/2": ReleasedLoader("from_pretrained cache_dir local_files_only **", ("opensora.STDiT3",)),
}


def trace_released(type_name: str, values: Mapping[str, Value]) -> Trace:
    """What the released loader of that type would do with these keywords; not found where none is known."""
    loader = RELEASED.get(type_name)
    if loader is None:
        return Trace(type_name, False, guessed=True)
    names = {*loader.parameters.split()}
    accepts = frozenset(KEYS) if "**" in names else frozenset(KEYS) & names
    present = values.get("from_pretrained", Value.of(None))
    repo = present.value if isinstance(present.value, str) else None
    reads = [
        (each, repo, present.text, values.get("subfolder", Value.of(None)).value, False) for each in loader.classes
    ]
    reached = frozenset(key for key in KEYS if key in names and key in values)
    if loader.hidden is not None:
        reached -= {LOCAL_FILES_ONLY}
    calls = [_hub_call(*each, reached) for each in reads if repo is not None or not present.known]
    if loader.hidden is not None:
        callee, repo_id, subfolder = loader.hidden
        calls.append(_hub_call(callee, repo_id, repo_id, subfolder, True, frozenset({LOCAL_FILES_ONLY} & set(values))))
    rejected = [Rejection(key, type_name, "", 0) for key in values if not {key, "**"} & names]
    return Trace(type_name, True, True, accepts=accepts, calls=tuple(calls), rejections=tuple(rejected))


def _hub_call(
    callee: str, repo_id: str | None, text: str, subfolder: object, hard_coded: bool, reached: frozenset[str]
) -> HubCall:
    library, _, name = callee.partition(".")
    place = f"{name}.from_pretrained", "from_pretrained", library, name, "", 0, 0
    folder = subfolder if isinstance(subfolder, str) else None
    return HubCall(*place, repo_id, repo_id or text, hard_coded, folder, reached=reached)
