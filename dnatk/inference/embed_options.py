"""How ``dnatk embed`` makes vectors of sequences."""

from __future__ import annotations

from dataclasses import dataclass

from dnatk.errors import InputError
from dnatk.genome.windows import Tiling
from dnatk.model.models import Model, warn_of_untrained
from dnatk.model.pooling import POOLS


@dataclass(frozen=True)
class EmbedOptions:
    """How sequences become vectors.

    Attributes:
        pool: mean, max, cls (one vector a row) or none (a vector for every k-mer).
        layer: 0 the embeddings, n after layer n, negative from the end.
        window, stride: bases; None: the longest window that the model is trained for, and the
            stride at which neighbouring windows share no k-mer and none is lost.
        rc: "none", or "average" with the other strand.
        on_error: "fail" or "na", for regions that cannot be scored.
        batch_tokens: of one forward; None: by the device.
    """

    pool: str = "mean"
    layer: int = -1
    window: int | None = None
    stride: int | None = None
    rc: str = "none"
    device: str = "auto"
    precision: str = "auto"
    dtype: str = "float16"
    on_error: str = "fail"
    batch_tokens: int | None = None

    def __post_init__(self) -> None:
        for name, allowed in (
            ("pool", POOLS),
            ("rc", ("none", "average")),
            ("dtype", ("float16", "float32")),
            ("on_error", ("fail", "na")),
        ):
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} must be one of {', '.join(allowed)}")

    def tiling(self, model: Model, *, pieces: bool = False) -> Tiling:
        """Window and stride for a model, checked against what it can take.

        Args:
            pieces: each window is a row of its own, so that there may be gaps between them; else
                a row has all k-mers of its sequence.
        """
        window = model.trained_window if self.window is None else self.window
        if not model.tokens.aligned and (self.rc, self.pool) == ("average", "none"):
            raise InputError(
                "--rc average with --pool none: with this model's tokenizer the two strands have "
                "different tokens",
                hint="pool them, or leave --rc away",
            )
        if self.pool == "cls" and not model.has_cls:
            raise InputError(
                "--pool cls: this model has no first token that tells of a sequence",
                hint="--pool mean or max",
            )
        if not model.k:
            # Where a text's tokens begin depends on the text: windows share none of them.
            if self.stride not in (None, window):
                raise InputError(
                    f"--stride {self.stride}: the windows of a model without k-mers do not overlap",
                    hint="leave --stride away",
                )
            return Tiling(window, window, 1)
        if window > model.max_window:
            raise InputError(
                f"--window {window} is more than the model takes",
                hint=f"at most {model.max_window} bases",
            )
        warn_of_untrained(window, model.name, model.trained_window)
        tokens = (window - model.k) // model.kmer_stride + 1
        most = max(1, tokens) * model.kmer_stride
        stride = most if self.stride is None else self.stride
        if stride > most and not pieces:
            raise InputError(
                f"--stride {stride} leaves out k-mers of a row between its windows of {window}",
                hint=f"at most {most}",
            )
        return Tiling(window, stride, model.k, model.kmer_stride)
