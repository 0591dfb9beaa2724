"""The options of a fine-tuning run, and what the task that it makes says of itself."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dnatk.errors import InputError
from dnatk.model.heads import HEAD_POOLS
from dnatk.model.places import DEFAULT_MODEL
from dnatk.tasks.task import METHODS

# Small trunks take larger steps than the 3e-5 and 1e-4 that 100M-parameter models are tuned with.
LEARNING_RATE = {"full": 3e-4, "lora": 1e-3, "probe": 1e-3}


@dataclass(frozen=True)
class FinetuneConfig:
    """Everything that decides what a run computes, beside its data.

    Attributes:
        model: the trunk, a shipped model, a directory or a hub name.
        method: "full" trains all weights, "lora" adapters of all linear layers (Hu et al., arXiv
            2106.09685), "probe" a linear head on the frozen trunk.
        from_scratch: the trunk's architecture with random weights (a control; full only).
        kmer_stride: from one k-mer to the next, "1" or "k" bases; "": as the trunk was pre-trained.
        pool, dense: see :class:`dnatk.model.heads.HeadConfig`.
        head_start: what the head starts from: "random", or "probe", a linear head fitted to the
            frozen trunk first (Kumar et al., arXiv 2202.10054).
        token_counts: give the outputs a weight for each token too (its ``vocabulary``).
        epochs, max_steps: whichever comes first; max_steps 0: epochs alone.
        lr: peak learning rate; 0: by the method.
        warmup: fraction of the steps.
        dropout: of what the head reads; a linear head that was fitted has none.
        patience: evaluations on dev without a better metric until training stops.
        evaluations: about how often dev is scored in a whole run.
        metric: chooses the checkpoint, the seed, and when to stop; "": by the kind of labels.
        class_weights: "none", or "balanced": inverse to the classes' frequencies.
        rc_augment: read training sequences on random strands.
        layer_decay: factor on the learning rate from a layer to the one below.
        seeds: runs, with seed, seed + 1, ..; the best on dev is kept.
        threshold: "0.5", or the one with the best "mcc" or "f1" on dev.
    """

    model: str = DEFAULT_MODEL
    method: str = "lora"
    from_scratch: bool = False
    kmer_stride: str = ""
    pool: str = "mean"
    dense: bool = True
    head_start: str = "random"
    token_counts: bool = False
    epochs: float = 4.0
    max_steps: int = 0
    batch_size: int = 32
    lr: float = 0.0
    warmup: float = 0.06
    weight_decay: float = 0.01
    dropout: float = 0.1
    patience: int = 5
    evaluations: int = 8
    metric: str = ""
    class_weights: str = "none"
    rc_augment: bool = False
    layer_decay: float = 1.0
    lora_r: int = 16
    lora_alpha: int = 32
    seeds: int = 1
    seed: int = 42
    threshold: str = "0.5"
    precision: str = "auto"
    trust_remote_code: bool = False
    revision: str = ""

    def __post_init__(self) -> None:
        for name, allowed in (
            ("method", METHODS),
            ("pool", HEAD_POOLS),
            ("class_weights", ("none", "balanced")),
            ("threshold", ("0.5", "mcc", "f1")),
            ("kmer_stride", ("", "1", "k")),
            ("head_start", ("random", "probe")),
        ):
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} must be one of {', '.join(allowed)}")
        if self.linear_head and (self.pool == "positions" or self.token_counts):
            raise InputError(
                "a probe reads pooled vectors alone",
                hint="--method lora with --head-start random trains it",
            )
        if self.from_scratch and self.method != "full":
            raise InputError("from scratch there is nothing to adapt: use --method full")

    @property
    def linear_head(self) -> bool:
        """Whether a probe gives the head its weights."""
        return self.method == "probe" or self.head_start == "probe"

    @property
    def head_dropout(self) -> float:
        """Dropout of the head: the weights of a probe are large and cancel out."""
        return 0.0 if self.linear_head else self.dropout

    def rows(self, ranks: int) -> int:
        """Sequences of a step that each of so many processes has.

        Raises:
            InputError: they cannot be shared evenly.
        """
        if self.batch_size % ranks:
            raise InputError(
                f"{ranks} processes cannot share {self.batch_size} sequences of a step evenly",
                hint=f"--batch-size {math.ceil(self.batch_size / ranks) * ranks}",
            )
        return self.batch_size // ranks

    def steps(self, examples: int) -> int:
        """Optimizer steps; the last one of a pass over the examples has what is left of them."""
        steps = math.ceil(math.ceil(examples / self.batch_size) * self.epochs)
        return min(steps, self.max_steps or steps)

    @property
    def learning_rate(self) -> float:
        """The peak learning rate."""
        return self.lr or LEARNING_RATE[self.method]


@dataclass(frozen=True)
class TaskChoices:
    """What a task says of itself, and how it treats regions; see :class:`Task`.

    Attributes:
        length: L; 0: the longest sequence.
        fit: how ``predict`` and ``evaluate`` bring regions to L, see :class:`dnatk.genome.fit.Fit`;
            what is trained on was read by :class:`ReadOptions`. "": "center" where that cut some
            to their middle, else "tile".
        class_names: in words, in the order of the classes; (): as in the data.
        split: how the sets came to be, in words.
    """

    name: str = ""
    description: str = ""
    class_names: tuple[str, ...] = ()
    length: int = 0
    fit: str = ""
    combine: str = "mean"
    rc: str = "none"
    stranded: bool = False
    split: str = ""
