"""dnatk: DNA language models, from raw genome to answers.

The public Python API. Importing ``dnatk`` loads neither torch nor transformers: names are
resolved on first use.

>>> import dnatk
>>> vectors = dnatk.embed_sequences(["ACGTTGCATCAGG", "TTGACATATAATGC"], device="cpu")
>>> vectors.shape
(2, 256)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.7.0"

if TYPE_CHECKING:
    from dnatk.errors import (
        DnatkError,
        InputError,
        ModelError,
        NoGenomeError,
        OutputError,
        ReferenceError_,
        TrainingError,
    )
    from dnatk.genome.fasta import Genome
    from dnatk.genome.regions import Region
    from dnatk.inference.embed import EmbedSummary, embed
    from dnatk.inference.embed_options import EmbedOptions
    from dnatk.inference.evaluate import Evaluation, evaluate
    from dnatk.inference.in_memory import embed_sequences, predict_sequences
    from dnatk.inference.predict import predict
    from dnatk.inference.predict_job import PredictSummary
    from dnatk.inference.predict_options import PredictOptions
    from dnatk.kmers.vocab import Vocabulary
    from dnatk.labelled.dataset import LabelledSet
    from dnatk.labelled.read import read_labelled
    from dnatk.labelled.rows import ReadOptions
    from dnatk.labelled.splits import split_set
    from dnatk.model.loading import load_encoder
    from dnatk.output.frames import read_embeddings, read_predictions
    from dnatk.output.status import Status
    from dnatk.tasks.registry import find_task
    from dnatk.tasks.scorer import Scorer, load_scorer
    from dnatk.tasks.task import Task
    from dnatk.training.config import PretrainConfig
    from dnatk.training.finetune import finetune
    from dnatk.training.finetune_config import FinetuneConfig, TaskChoices
    from dnatk.training.pretrain import pretrain

# Where the names are; the imports above say the same to type checkers.
_WHERE = {
    "errors": (
        "DnatkError",
        "InputError",
        "ModelError",
        "NoGenomeError",
        "OutputError",
        "ReferenceError_",
        "TrainingError",
    ),
    "genome.fasta": ("Genome",),
    "genome.regions": ("Region",),
    "inference.embed": ("EmbedSummary", "embed"),
    "inference.embed_options": ("EmbedOptions",),
    "inference.evaluate": ("Evaluation", "evaluate"),
    "inference.in_memory": ("embed_sequences", "predict_sequences"),
    "inference.predict": ("predict",),
    "inference.predict_job": ("PredictSummary",),
    "inference.predict_options": ("PredictOptions",),
    "kmers.vocab": ("Vocabulary",),
    "labelled.dataset": ("LabelledSet",),
    "labelled.read": ("read_labelled",),
    "labelled.rows": ("ReadOptions",),
    "labelled.splits": ("split_set",),
    "model.loading": ("load_encoder",),
    "output.frames": ("read_embeddings", "read_predictions"),
    "output.status": ("Status",),
    "tasks.registry": ("find_task",),
    "tasks.scorer": ("Scorer", "load_scorer"),
    "tasks.task": ("Task",),
    "training.config": ("PretrainConfig",),
    "training.finetune": ("finetune",),
    "training.finetune_config": ("FinetuneConfig", "TaskChoices"),
    "training.pretrain": ("pretrain",),
}
_MODULE = {name: module for module, names in _WHERE.items() for name in names}

__all__ = [
    "DnatkError",
    "EmbedOptions",
    "EmbedSummary",
    "Evaluation",
    "FinetuneConfig",
    "Genome",
    "InputError",
    "LabelledSet",
    "ModelError",
    "NoGenomeError",
    "OutputError",
    "PredictOptions",
    "PredictSummary",
    "PretrainConfig",
    "ReadOptions",
    "ReferenceError_",
    "Region",
    "Scorer",
    "Status",
    "Task",
    "TaskChoices",
    "TrainingError",
    "Vocabulary",
    "__version__",
    "embed",
    "embed_sequences",
    "evaluate",
    "find_task",
    "finetune",
    "load_encoder",
    "load_scorer",
    "predict",
    "predict_sequences",
    "pretrain",
    "read_embeddings",
    "read_labelled",
    "read_predictions",
    "split_set",
]

if not TYPE_CHECKING:  # to whom it would say that any name is there

    def __getattr__(name):
        if name in _MODULE:
            import importlib

            return getattr(importlib.import_module(f"dnatk.{_MODULE[name]}"), name)
        raise AttributeError(f"module 'dnatk' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
