"""The options of a pre-training run, and their file, config.toml (see :mod:`dnatk.settings`)."""

from __future__ import annotations

import tomllib
from dataclasses import MISSING, dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

from dnatk import __version__
from dnatk.errors import InputError, TrainingError
from dnatk.kmers.vocab import check_k
from dnatk.masking.schedule import Schedule, parse_phases
from dnatk.masking.strategies import DEFAULT_PROB, Masker
from dnatk.output.files import written_whole
from dnatk.settings import CONFIG_FILE, toml
from dnatk.training.windows import Mixture

_TABLE = "pretrain"
# What a resumed run may do differently: it gives the same model.
_FREE = ("accumulate", "keep")


@dataclass(frozen=True)
class PretrainConfig:
    """Everything that decides what a run computes; all of it is written to config.toml.

    Attributes:
        inputs: FASTA or CSV/TSV files.
        init: a model directory to start from; k and the k-mer stride are then its own.
        window: bases of a training window, which is a row of the batch; 0: the widest that fits.
        batch_tokens: tokens of one optimizer step, over all ranks and accumulated batches.
        weights: shares of the inputs in the mixture; empty: by their bases, and
        temperature: T: in proportion to (share of bases)^T.
        repeat_weight: how often soft-masked k-mers become centres of spans, as a share of the
            others' chance; 0: such k-mers are never masked and never scored.
        warmup: fraction of the steps over which the learning rate rises.
        start: "local" (see :mod:`dnatk.training.initialise`) or "normal", BERT's own weights to
            start from.
        keep: how many checkpoints stay; 0: all.
    """

    inputs: tuple[str, ...]
    preset: str = "small"
    init: str = ""
    k: int = 6
    kmer_stride: int = 1
    masking: str = "random-mask"
    span: str = "fixed"
    order: str = "growing"
    phases: str = "5"
    mask_prob: float = 0.0
    mask_ratio: float = 0.0
    corruption: str = "bert"
    max_steps: int = 10_000
    batch_tokens: int = 16_384
    accumulate: int = 1
    window: int = 0
    lr: float = 5e-4
    warmup: float = 0.05
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    start: str = "local"
    min_length: int = 32
    holdout: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    temperature: float = 1.0
    repeat_weight: float = 1.0
    seed: int = 42
    save_steps: int = 1000
    keep: int = 2
    log_steps: int = 10
    precision: str = "auto"

    def spans(self) -> list[tuple[int, Fraction]]:
        """The widths with the fraction of the run at which each ends.

        DNABERT's masking is one phase of k tokens, independent tokens one of 1.
        """
        check_k(self.k)
        phases = {"dnabert": f"{self.k}:1", "token": "1:1"}.get(self.masking, self.phases)
        spans = parse_phases(phases, self.k)
        if self.span == "uniform" and len({width % 2 for width, _ in spans}) > 1:
            raise InputError(
                "--span uniform draws every second width from the smallest on",
                hint="the widths of --phases must be all even or all odd",
            )
        return spans

    def schedule(self) -> Schedule:
        """The phases laid over the steps."""
        return Schedule.build(self.spans(), self.max_steps, self.order)

    @property
    def row_tokens(self) -> int:
        """Tokens of a window, [CLS] and [SEP] among them."""
        return (self.window - self.k) // self.kmer_stride + 3

    def rows(self, ranks: int) -> int:
        """Rows of one pass of one rank.

        The rows of a step are those of one process, whatever their number: else a run would see
        other data on another number of GPUs.

        Raises:
            InputError: they cannot be shared evenly.
        """
        rows = max(1, round(self.batch_tokens / self.row_tokens))
        passes = ranks * self.accumulate
        if rows % passes:
            near = max(1, round(rows / passes)) * passes
            raise InputError(
                f"a step has {rows} rows of {self.row_tokens} tokens, which {ranks} processes "
                f"with {self.accumulate} passes each cannot share evenly",
                hint=f"--batch-tokens {near * self.row_tokens} makes it {near} rows",
            )
        return rows // passes

    def mixture(self) -> Mixture:
        """How often each input is drawn."""
        return Mixture(self.weights, self.temperature)

    def masker(self, vocab_size: int) -> Masker:
        """The masking of this run."""
        return Masker(
            vocab_size=vocab_size,
            smallest=min(width for width, _ in self.spans()),
            mask_prob=self.mask_prob or DEFAULT_PROB[self.masking],
            mask_ratio=self.mask_ratio or None,
            span=self.span,
            corruption=self.corruption,
            repeat_weight=self.repeat_weight,
        )

    def write(self, directory: Path) -> None:
        """Write config.toml, which ``dnatk pretrain --config`` takes."""
        with written_whole(directory / CONFIG_FILE) as partial:
            partial.write_text(self._text(), "utf-8")

    def _text(self) -> str:
        """What config.toml holds: every option; those that are not set are empty texts."""
        lines = [f"# Options of dnatk {__version__}; --config takes them.", f"[{_TABLE}]"]
        for each in fields(self):
            value = getattr(self, each.name)
            # The command line has no option for it.
            if each.name != "max_grad_norm" or value != each.default:
                unset = not value and not each.default and not isinstance(value, tuple)
                lines.append(f"{each.name} = {toml('' if unset else value)}")
        return "\n".join(lines) + "\n"

    def check_same(self, directory: Path) -> None:
        """Raise :class:`TrainingError` naming what differs from the config.toml in a directory."""
        path = directory / CONFIG_FILE
        try:
            config = read_config(directory)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise TrainingError(f"cannot be read: {error}", path=path) from None
        again = _parsed(self._text())  # a name may hold bytes that are no text
        for name in (each.name for each in fields(self) if each.name not in _FREE):
            before, now = getattr(config, name), getattr(again, name)
            if before != now:
                raise TrainingError(
                    f"{name} was {before!r} and is now {now!r}",
                    path=path,
                    hint="--resume goes on with the same options; start another run elsewhere",
                )


def read_config(directory: Path) -> PretrainConfig:
    """The options of the run in a directory.

    Raises:
        TOMLDecodeError, UnicodeDecodeError, OSError: its config.toml cannot be read.
    """
    return _parsed((directory / CONFIG_FILE).read_text("utf-8"))


def _parsed(text: str) -> PretrainConfig:
    document = tomllib.loads(text)
    written = document.get(_TABLE)
    if not isinstance(written, dict):
        written = document  # of 0.3
    values: dict[str, Any] = {}
    for each in fields(PretrainConfig):
        value = written.get(each.name, "")
        if value == "" and each.name != "preset":  # a run from a model has none
            value = () if each.default is MISSING else each.default
        values[each.name] = tuple(value) if isinstance(value, list) else value
    return PretrainConfig(**values)
