"""What ``dnatk inspect`` is given: options, labelled sets, the log of a training run."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from dnatk import __version__
from dnatk.analysis.sample import Sample, draw_sample, random_windows
from dnatk.analysis.subject import Subject
from dnatk.errors import InputError
from dnatk.genome.fasta import sha256
from dnatk.labelled.dataset import LabelledSet
from dnatk.labelled.prepare import read_clear
from dnatk.labelled.read import ReadOptions, crop
from dnatk.labelled.splits import split_set
from dnatk.masking import Schedule
from dnatk.model.models import warn_of_untrained
from dnatk.training.config import read_config

METRICS_FILE = "metrics.jsonl"
FORMAT_VERSION = 1
# The longest window that is taken unasked: attention grows with its square.
_LONGEST = 1024
_MOST_LABELLED = {"train": 2000, "dev": 1000}


@dataclass(frozen=True)
class InspectOptions:
    """What is looked at.

    Attributes:
        windows: how many.
        window: bases of each; 0: what the model was trained on, 1024 at most.
        labelled: labelled sequences for the probe of labels; "": none.
        labelled_dev: what it is measured on; "": a quarter of ``labelled``.
        tsne: whether to make the t-SNE map, which takes longest.
        seed: of windows, probes and maps.
        read: how labelled files are read.
    """

    windows: int = 32
    window: int = 0
    labelled: str = ""
    labelled_dev: str = ""
    tsne: bool = True
    seed: int = 42
    read: ReadOptions = field(default_factory=ReadOptions)


def given_sample(subject: Subject, fasta: str | Path, options: InspectOptions, k: int) -> Sample:
    """Windows from a FASTA, its k-mers counted where ``k`` > 0, or of random bases."""
    window = options.window or min(subject.trained_window, _LONGEST)
    shortest = max(subject.k, 1)
    if not shortest <= window <= subject.max_window:
        raise InputError(
            f"a window of {window} bases does not fit",
            hint=f"--window {shortest} to {subject.max_window}",
        )
    warn_of_untrained(window, subject.name, subject.trained_window)
    if not fasta:
        return random_windows(options.windows, window, options.seed)
    return draw_sample(fasta, options.windows, window, options.seed, k=k)


def labelled_sets(
    options: InspectOptions, subject: Subject
) -> tuple[LabelledSet, LabelledSet] | None:
    """(train, dev), cut to what the model was trained on and to a number that is quickly done."""
    if not options.labelled:
        if options.labelled_dev:
            raise InputError("--labelled-dev goes with --labelled", path=options.labelled_dev)
        return None
    read = replace(options.read, seed=options.seed)
    others = {"dev": options.labelled_dev} if options.labelled_dev else {}
    data, given = read_clear(options.labelled, others, read)
    if data.space.kind not in ("binary", "multiclass"):
        raise InputError(
            f"the labels are {data.space.kind}", path=data.path, hint="a probe needs classes"
        )
    sets = {"train": data, **given} if given else _split(data, options.seed)
    rng = np.random.default_rng(options.seed)
    for name, part in sets.items():
        most = _MOST_LABELLED[name]
        if len(part) > most:
            sets[name] = part.take(np.sort(rng.choice(len(part), most, replace=False)))
    return tuple(crop(sets[name], subject.trained_window) for name in ("train", "dev"))


def _split(data: LabelledSet, seed: int) -> dict[str, LabelledSet]:
    try:
        return split_set(data, dev=0.25, test=0.0, seed=seed)
    except InputError as error:  # its advice is of options that are not here
        raise InputError(
            error.message, path=error.path, line=error.line, hint="--labelled-dev FILE"
        ) from None


def training_run(directory: Path) -> tuple[dict, Path, Schedule] | tuple[()] | None:
    """The last numbers of a ``dnatk pretrain`` run, its log and its phases.

    None where the directory is no run, () where its log or config.toml cannot be read.
    """
    path = directory / METRICS_FILE
    if not path.is_file():
        return None
    try:
        config = read_config(directory)
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        schedule = config.schedule()
        last = next(row for row in reversed(rows) if "bits" in row)
        heldout = next((r["heldout_bits"] for r in reversed(rows) if "heldout_bits" in r), None)
        numbers = {
            "steps": last["step"],
            "max_steps": config.max_steps,
            "bits": last["bits"],
            "span": last["span"],
            "tokens": last["tokens"],
            "heldout_bits": heldout,
        }
    except Exception:  # edited by hand, cut short, or of another kind of run
        return ()
    return numbers, path, schedule


def provenance(
    subject: Subject, fasta: str | Path, options: InspectOptions, sample: Sample, labelled
) -> dict:
    """What inspect.json says of the model, the input and the options."""
    width = len(sample.windows[0])
    return {
        "format": "dnatk-inspect",
        "format_version": FORMAT_VERSION,
        "dnatk_version": __version__,
        "model": {
            "name": subject.name,
            "sha256": subject.sha256,
            "k": subject.k,
            "kmer_stride": subject.kmer_stride,
            "layers": subject.layers,
            "heads": subject.heads,
            "hidden": subject.hidden,
        },
        "input": {
            "fasta": str(fasta) or None,
            "fasta_sha256": sha256(fasta) if fasta else None,
            "labelled": options.labelled or None,
            "labelled_sha256": sha256(options.labelled) if options.labelled else None,
            "labelled_dev": options.labelled_dev or None,
            "labelled_dev_sha256": sha256(options.labelled_dev) if options.labelled_dev else None,
            "classes": list(labelled[0].space.classes) if labelled else None,
        },
        "options": {
            "windows": options.windows,
            "window": width,
            "tsne": options.tsne,
            "seed": options.seed,
        },
    }
