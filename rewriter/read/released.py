"""The released loaders as a table, for configs that lie in no checkout: a guess, and said to be one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from rewriter.model import RESERVED_KEYS, HubCall, Rejection, Trace, Value


class ReleasedLoader(NamedTuple):
    """What a registered type of v1.0.0 to v1.3 does.

    ``parameters``: all that some release takes (``**``: any). ``calls``: of each hub call ``library.Class``, its repo
    and subfolder ("": the config's), and the followed keys that reach it.
    """

    parameters: str
    calls: tuple[tuple[str, str, str, str], ...] = ()


_BOTH = "cache_dir local_files_only"
_PIXART = "diffusers.AutoencoderKL", "PixArt-alpha/pixart_sigma_sdxlvae_T5_diffusers", "vae", "local_files_only"
_STDIT3 = ReleasedLoader("from_pretrained cache_dir local_files_only **", (("opensora.STDiT3", "", "", _BOTH),))
RELEASED: Mapping[str, ReleasedLoader] = {
    "t5": ReleasedLoader(
        "from_pretrained model_max_length device dtype cache_dir shardformer local_files_only",
        (("transformers.AutoTokenizer", "", "", _BOTH), ("transformers.T5EncoderModel", "", "", _BOTH)),
    ),
    "clip": ReleasedLoader(
        "from_pretrained model_max_length device dtype",
        (("transformers.CLIPTokenizer", "", "", ""), ("transformers.CLIPTextModel", "", "", "")),
    ),
    "classes": ReleasedLoader("num_classes model_max_length device dtype"),
    "VideoAutoencoderKL": ReleasedLoader(
        "from_pretrained micro_batch_size cache_dir local_files_only subfolder scaling_factor patch_size",
        (("diffusers.AutoencoderKL", "", "", _BOTH),),
    ),
    "VideoAutoencoderKLTemporalDecoder": ReleasedLoader(
        "from_pretrained cache_dir local_files_only", (("diffusers.AutoencoderKLTemporalDecoder", "", "", _BOTH),)
    ),
    "OpenSoraVAE_V1_2": ReleasedLoader(
        "micro_batch_size micro_frame_size from_pretrained local_files_only freeze_vae_2d cal_loss force_huggingface",
        (("opensora.VideoAutoencoderPipeline", "", "", ""), _PIXART),
    ),
    "OpenSoraVAE_V1_3": ReleasedLoader(
        "from_pretrained force_huggingface dtype z_channels micro_batch_size micro_batch_size_2d micro_frame_size "
        "use_tiled_conv3d tile_size tiled_dim num_tiles temporal_overlap normalization",
        (("opensora.OpenSoraVAE_V1_3_Pipline", "", "", ""),),
    ),
    "STDiT2-XL/2": ReleasedLoader("from_pretrained **", (("opensora.STDiT2", "", "", ""),)),
    "STDiT3-XL/2": _STDIT3,
    "STDiT3-3B/2": _STDIT3,
}


def trace_released(type_name: str, values: Mapping[str, Value]) -> Trace:
    """What the released loader of that type would do with what a dict holds; not found where none is known."""
    if (loader := RELEASED.get(type_name)) is None:
        return Trace(False, guessed=True)
    present, given = (values.get(key, Value.of(None)) for key in ("from_pretrained", "subfolder"))
    calls = []
    for callee, own_repo, own_folder, keys in loader.calls:
        repo_id = own_repo or (present.value if isinstance(present.value, str) else None)
        folder = own_folder or (given.value if isinstance(given.value, str) else None)
        if repo_id is not None or not present.known:
            library, _, name = callee.partition(".")
            place = f"{name}.from_pretrained", "from_pretrained", library, name, "", 0, 0
            reached = frozenset(keys.split()) & values.keys()
            calls.append(HubCall(*place, repo_id, repo_id or present.text, bool(own_repo), folder, reached=reached))
    takes = {*loader.parameters.split(), *RESERVED_KEYS}
    rejected = [Rejection(key, type_name, "", 0) for key in values if key not in takes and "**" not in takes]
    return Trace(True, True, calls=tuple(calls), rejections=tuple(rejected))
