"""``dnatk inspect``: what a pre-trained model has learnt, as numbers, figures and one page.

Reproduces what Liang et al. (arXiv 2310.07644) show of token embeddings and of attention, and
measures it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dnatk.analysis.attention_stats import attention_maps, attention_numbers
from dnatk.analysis.inspect_inputs import (
    InspectOptions,
    given_sample,
    labelled_sets,
    provenance,
    training_run,
)
from dnatk.analysis.layer_probes import base_probe, label_probe
from dnatk.analysis.norms import norm_numbers
from dnatk.analysis.subject import Subject, find_subject
from dnatk.analysis.token_maps import (
    drawn,
    kmer_rows,
    pca_map,
    silhouettes,
    token_numbers,
    tsne_map,
)
from dnatk.errors import InputError
from dnatk.output.files import check_directory, directory_written_whole
from dnatk.progress import NullProgress, Progress
from dnatk.settings import CONFIG_FILE

__all__ = ["Findings", "InspectOptions", "inspect", "look"]

NUMBERS_FILE, PAGE_FILE = "inspect.json", "index.html"


@dataclass
class Findings:
    """The numbers, and what figures need beside them.

    Attributes:
        numbers: what inspect.json holds.
        maps: name -> points (N, 2) of the token maps.
        index_N: the k-mers on these.
        rows_VD, count_V: k-mer embeddings and counts.
        attention: layer (from 0) -> (T, T) attention of one window.
        history: metrics.jsonl and the phases of its run.
    """

    numbers: dict
    maps: dict[str, np.ndarray] = field(default_factory=dict)
    index_N: np.ndarray | None = None
    rows_VD: np.ndarray | None = None
    count_V: np.ndarray | None = None
    attention: dict[int, np.ndarray] = field(default_factory=dict)
    history: list | None = None


def inspect(
    model: str | Path,
    fasta: str | Path = "",
    output: str | Path | None = None,
    *,
    options: InspectOptions | None = None,
    record: str = "",
    device: str = "auto",
    force: bool = False,
    progress: Progress | None = None,
) -> dict:
    """Look at a model, and write figures, inspect.json and index.html to ``output``.

    Args:
        model: a directory, or the name of an installed model.
        fasta: where windows and k-mer counts come from; "": windows of random bases.
        output: a directory that appears whole or not at all; None writes nothing.
        record: what is written to its config.toml; "" writes none.
        force: replace an ``output`` that holds an inspect.json.

    Returns:
        The numbers, as in inspect.json.

    Raises:
        InputError, ModelError, OutputError: nothing is left under ``output``.
    """
    options, progress = options or InspectOptions(), progress or NullProgress()
    inputs = (model, fasta, options.labelled, options.labelled_dev)
    target = None if output is None else _checked(output, force, inputs)
    if options.windows < 1:
        raise InputError("at least one window is needed", hint="--windows 1 or more")
    if fasta and not Path(fasta).is_file():
        raise InputError("no such file", path=fasta, hint="a FASTA file, no pipe")
    subject = find_subject(model, device)
    findings = look(subject, fasta, options, progress)
    if target is not None:
        _write(findings, target, force, record, progress)
    return findings.numbers


def look(
    subject: Subject, fasta: str | Path, options: InspectOptions, progress: Progress
) -> Findings:
    """All that is to be found, nothing written."""
    labelled = labelled_sets(options, subject)
    found = Findings({"notes": []})
    table = subject.kmer_rows()
    sample = given_sample(subject, fasta, options, table[0] if table else 0)
    parts = {
        "tokens": _tokens(found, subject, table, options, progress),
        "attention": _attention(found, subject, sample, progress),
        "bases": _bases(found, subject, sample, options, progress),
        "labels": None,
        "norms": None,
        "training": _training(found, subject),
    }
    if labelled:
        parts["labels"] = label_probe(subject, *labelled, progress=progress)
    if table and sample.counts is not None:
        found.rows_VD, found.count_V = table[1], sample.counts
        parts["norms"] = norm_numbers(table[1], sample.counts)
    found.numbers |= parts | provenance(subject, fasta, options, sample, labelled)
    found.numbers = tidy(found.numbers)
    return found


def _tokens(found: Findings, subject, table, options, progress) -> dict | None:
    if table is None:
        found.numbers["notes"].append("Its tokens are no k-mers of one length: no token map.")
        return None
    k, table_VD = table
    rows_VD = kmer_rows(table_VD, k)
    if k < 3:
        found.numbers["notes"].append(
            f"Of {k}-mers the central and the marginal bases are all there are: what they explain "
            "says nothing."
        )
    progress.start("token embeddings", 1, "tables")
    numbers = token_numbers(rows_VD, k, options.seed)
    decoder_VD = subject.decoder_rows()
    numbers["decoder"] = None
    if decoder_VD is not None:
        numbers["decoder"] = token_numbers(decoder_VD, k, options.seed)
    found.index_N = drawn(k, options.seed)
    x_ND = rows_VD[found.index_N]
    found.maps["pca"], numbers["pca_explained"] = pca_map(x_ND)
    numbers["mapped"] = len(found.index_N)
    numbers["tsne_silhouette"] = None
    if options.tsne and len(found.index_N) > 4 and not math.isnan(numbers["r2"]["central"]):
        import torch

        found.maps["tsne"] = tsne_map(x_ND, options.seed, torch.get_num_threads())
        numbers["tsne_silhouette"] = silhouettes(
            found.maps["tsne"], k, found.index_N, options.seed, metric="euclidean"
        )
    progress.advance(1)
    progress.finish()
    return numbers


def _attention(found: Findings, subject, sample, progress) -> dict | None:
    if not subject.shows_attention:
        found.numbers["notes"].append("The model does not show its attention.")
        return None
    layers = sorted({0, (subject.layers - 1) // 2, subject.layers - 1})
    maps = attention_maps(subject, sample.windows[0], layers)
    found.attention = dict(zip(layers, maps, strict=True))
    return attention_numbers(subject, sample.windows, progress=progress)


def _bases(found: Findings, subject, sample, options, progress) -> dict | None:
    try:
        return base_probe(subject, sample, seed=options.seed, progress=progress)
    except InputError as error:
        found.numbers["notes"].append(f"No probe of bases: {error}.")
        return None


def _training(found: Findings, subject) -> dict | None:
    run = training_run(subject.directory)
    if run is None:
        return None
    if not run:
        found.numbers["notes"].append("Its metrics.jsonl is no log of a pre-training run.")
        return None
    numbers, *found.history = run
    return numbers


def tidy(value):
    """``value`` as JSON has it: floats of six digits, null for what is not finite."""
    if isinstance(value, Mapping):
        return {str(key): tidy(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [tidy(each) for each in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def _checked(output: str | Path, force: bool, inputs: Iterable[str | Path]) -> Path:
    path = Path(output)
    empty = path.is_dir() and not any(path.iterdir())
    marker = "" if empty else NUMBERS_FILE
    return check_directory(path, marker=marker, force=force or empty, inputs=inputs)


def _write(findings: Findings, target: Path, force: bool, record: str, progress: Progress) -> None:
    """Figures, numbers and the page, under another name until all are there."""
    from dnatk.analysis.inspect_page import page
    from dnatk.analysis.inspect_plots import draw_figures

    try:
        with directory_written_whole(target, replace=force) as staging:
            figures = draw_figures(findings, staging, progress)
            text = json.dumps(findings.numbers, indent=1, sort_keys=True, allow_nan=False)
            (staging / NUMBERS_FILE).write_text(text + "\n")
            (staging / PAGE_FILE).write_text(page(findings.numbers, figures), encoding="utf-8")
            if record:
                (staging / CONFIG_FILE).write_text(record, "utf-8")
    finally:
        progress.finish()
