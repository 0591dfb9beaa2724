"""dnatk: DNA language models, from raw genome to answers.

The public Python API. Importing ``dnatk`` loads neither torch nor transformers: names are
resolved on first use.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.3.0"

_LAZY = {
    "read_embeddings": "dnatk.output.hdf5",
    "read_predictions": "dnatk.output.predictions_hdf5",
    "embed": "dnatk.inference.embed",
    "predict": "dnatk.inference.predict",
    "pretrain": "dnatk.training.pretrain",
    "load_encoder": "dnatk.model.loading",
    "Genome": "dnatk.genome.fasta",
    "Vocabulary": "dnatk.kmers.vocab",
}

__all__ = ["__version__", *_LAZY]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'dnatk' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
