"""The built-in table of v1.3's loaders says what their sources say."""

from __future__ import annotations

import pytest
from conftest import FIXTURES
from loading import values

from rewriter.builtin import trace_builtin
from rewriter.loaders import Sources

TYPES = [
    "t5", "clip", "classes", "VideoAutoencoderKL", "VideoAutoencoderKLTemporalDecoder", "OpenSoraVAE_V1_2",
    "OpenSoraVAE_V1_3", "STDiT2-XL/2", "STDiT3-XL/2", "STDiT3-3B/2",
]  # fmt: skip


@pytest.mark.parametrize("type_name", TYPES)
@pytest.mark.parametrize(
    "keywords",
    [
        {"from_pretrained": "org/name"},
        {"from_pretrained": "org/name", "cache_dir": "/c", "local_files_only": True},
        {"from_pretrained": "/nowhere/at/all", "force_huggingface": True},
        {"from_pretrained": None},
        {"from_pretrained": "org/name", "subfolder": "vae"},
    ],
)
def test_the_table_agrees_with_the_sources_of_v1_3(type_name: str, keywords: dict[str, object]) -> None:
    table = trace_builtin(type_name, values(**keywords))
    read = Sources(str(FIXTURES / "v1.3")).trace(type_name, values(**keywords))
    assert table.builtin
    assert table.found

    def facts(trace: object) -> object:
        return (
            trace.accepts,  # type: ignore[attr-defined]
            sorted(
                (c.class_name, c.library, c.repo_id, c.repo_text, c.hard_coded, c.subfolder, c.reached, c.certain)
                for c in trace.calls  # type: ignore[attr-defined]
                if c.repo_text != "None"  # loads nothing; how a loader refuses None is its own matter
            ),
            [r.key for r in trace.rejections if not r.chain],  # type: ignore[attr-defined]
        )

    assert facts(table) == facts(read)


def test_an_unknown_type_is_not_found() -> None:
    assert not trace_builtin("MyOwnVAE", values(from_pretrained="o/n")).found
