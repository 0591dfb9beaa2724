#!/usr/bin/env python3
"""Promoters against random windows: a linear probe of a model's embeddings beside k-mer counts.

    examples/evaluate_promoters.py MODEL FASTA PROMOTERS.bed [--json promoters.json]

Logistic regression on mean-pooled embeddings (read along the strand, last layer unless --layer
says otherwise), on 4-mer and 6-mer frequencies of the same strand-oriented sequence, and, as a
control, on embeddings of the same architecture with random weights.

Every promoter gets a random window of its contig, length and strand that overlaps no promoter of
either strand and holds no N; each seed draws them anew. Contigs given by --holdout are the test
set and should be those that the model never saw; all others train. The strength of the
regularisation is chosen by cross-validation over contigs inside the training part, from the same
grid for every feature set. "CV AUROC" is that score: choose layers by it, never by the test
columns. Identical sequences (or reverse complements) in both parts are counted, and where there
are any the scores without them are printed too; diverged copies are not looked for.

Windows cut at a fixed distance from an annotated start codon all hold ATG at the same offset: an
embedding that knows positions can read the label off that one place, k-mer counts cannot. Report
--jitter 50 too, which moves every promoter window by up to 50 bases either way.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dnatk import read_embeddings
from dnatk.analysis.background import draw_background, kmer_frequencies, oriented, usable_regions
from dnatk.analysis.probe import GRID, probe, score
from dnatk.errors import DnatkError, InputError
from dnatk.genome.bed import read_bed
from dnatk.genome.fasta import Genome
from dnatk.genome.regions import Region
from dnatk.inference.embed import EmbedOptions, embed
from dnatk.labelled.places import Spans, read_bases
from dnatk.labelled.twins import canonical
from dnatk.model.encoder import resolve_layer
from dnatk.model.loading import read_model

METRICS = ("auroc", "auprc", "accuracy")
HELD_OUT = ["chrXIV", "chrXVI"]


def shift(regions: Sequence[Region], most: int, rng: np.random.Generator) -> list[Region]:
    """Each region moved by a random whole number of bases within -most .. most, length kept."""
    moves = rng.integers(-most, most + 1, len(regions)).tolist()
    return [
        replace(region, start=region.start + by, end=region.end + by)
        for region, by in zip(regions, moves, strict=True)
    ]


def embeddings(
    fasta: str, regions: Sequence[Region], model: str | Path, options: EmbedOptions
) -> np.ndarray:
    """(N, D) of the regions in their order, through ``dnatk embed --bed``."""
    with tempfile.TemporaryDirectory() as scratch:
        bed, output = Path(scratch) / "regions.bed", Path(scratch) / "regions.h5"
        lines = [f"{r.contig}\t{r.start}\t{r.end}\t.\t0\t{r.strand}\n" for r in regions]
        bed.write_text("".join(lines))
        embed(fasta, output, bed=bed, model=model, options=options)
        frame, vectors = read_embeddings(output)
    if list(frame["start"]) != [r.start for r in regions] or not np.isfinite(vectors).all():
        raise RuntimeError("the embeddings are not those of the regions")
    return vectors


def write_control(model: str, directory: Path, seed: int = 0) -> Path:
    """The model's architecture with random weights, as a model directory of its own."""
    import torch
    from transformers import AutoConfig, AutoModelForMaskedLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    source = read_model(model).directory
    torch.manual_seed(seed)
    config = AutoConfig.from_pretrained(source, local_files_only=True)
    AutoModelForMaskedLM.from_config(config).save_pretrained(directory)
    for name in ("vocab.txt", "dnatk.json"):
        if (source / name).exists():
            shutil.copy(source / name, directory / name)
    return directory


def feature_sets(arguments, genome: Genome, regions: Sequence[Region]) -> dict[str, np.ndarray]:
    """Every feature set of all regions, computed once."""
    features = {}
    n_layers = read_model(arguments.model).config.layers
    options = EmbedOptions(
        window=arguments.window,
        device=arguments.device,
        precision=arguments.precision,
        dtype="float32",
    )
    with tempfile.TemporaryDirectory() as scratch:
        models = {"embedding": arguments.model}
        if arguments.control:
            models["untrained"] = write_control(arguments.model, Path(scratch) / "control")
        for name, model in models.items():
            for layer in sorted({resolve_layer(x, n_layers) for x in arguments.layer}):
                features[f"{name}, layer {layer}"] = embeddings(
                    arguments.fasta, regions, model, replace(options, layer=layer)
                )
    sequences = [oriented(genome, region) for region in regions]
    for k in arguments.kmers:
        features[f"{k}-mer frequencies"] = kmer_frequencies(sequences, k)
    return features


def evaluate(arguments: argparse.Namespace) -> dict:
    """Draw, embed and probe; the result is what --json writes."""
    genome = Genome(arguments.fasta)
    missing = sorted(set(arguments.holdout) - set(genome.lengths))
    if missing:
        raise InputError(f"has no contig {', '.join(missing)}", path=arguments.fasta)
    listed = list(read_bed(arguments.promoters))
    moved = shift(listed, arguments.jitter, np.random.default_rng(0))
    promoters = usable_regions(genome, moved)
    avoid = [*listed, *promoters]
    if arguments.limit and arguments.limit < len(promoters):
        pick = np.random.default_rng(0).choice(len(promoters), arguments.limit, replace=False)
        promoters = [promoters[i] for i in sorted(pick)]
    count = len(promoters)
    seeds = list(range(1, arguments.seeds + 1))
    drawn = [draw_background(genome, promoters, avoid, np.random.default_rng(s)) for s in seeds]
    regions = [*promoters, *(region for windows in drawn for region in windows)]
    features = feature_sets(arguments, genome, regions)
    label_N = np.repeat([True, False], count)
    runs, splits = defaultdict(list), []
    for number, seed in enumerate(seeds):
        rows = np.r_[:count, count * (number + 1) : count * (number + 2)]
        chosen = [regions[i] for i in rows]
        contig_N = np.array([region.contig for region in chosen])
        test_N = np.isin(contig_N, arguments.holdout)
        split, unique = check_split(genome, chosen, label_N, test_N)
        splits.append({"seed": seed} | split)
        for name, x_ND in features.items():
            p_N, setting = probe(x_ND[rows], label_N, contig_N, test_N, arguments.jobs)
            run = {"seed": seed} | setting | score(label_N[test_N], p_N)
            if not unique.all():
                run["without_duplicates"] = score(label_N[test_N][unique], p_N[unique])
            runs[name].append(run)
    settings = {key: value for key, value in vars(arguments).items() if key != "json"}
    results = [
        {"features": name, "columns": features[name].shape[1], "runs": of} | summary(of)
        for name, of in runs.items()
    ]
    return {
        **settings,
        "model_sha256": read_model(arguments.model).sha256,
        "promoters": {"listed": len(listed), "used": count},
        "splits": splits,
        "results": results,
    }


def check_split(
    genome: Genome, regions: Sequence[Region], label_N: np.ndarray, test_N: np.ndarray
) -> tuple[dict[str, int], np.ndarray]:
    """Sizes and leakage of a split, and (test,) which test windows have no copy in training."""
    train = [region for region, held in zip(regions, test_N, strict=True) if not held]
    test = [region for region, held in zip(regions, test_N, strict=True) if held]
    if not train or not test:
        raise InputError("a part of the split is empty: no promoter on the held-out contigs?")
    known = {canonical(read_bases(genome, region)) for region in train}
    duplicate_N = np.array([canonical(read_bases(genome, region)) in known for region in test])
    sizes = {
        "train": len(train),
        "train_promoters": int(label_N[~test_N].sum()),
        "test": len(test),
        "test_promoters": int(label_N[test_N].sum()),
        "overlaps": int(Spans(train).overlapping(test).sum()),
        "duplicates": int(duplicate_N.sum()),
    }
    if sizes["overlaps"]:
        raise RuntimeError(f"{sizes['overlaps']} test windows overlap training windows")
    return sizes, ~duplicate_N


def summary(runs: Sequence[dict]) -> dict[str, float]:
    """Mean and standard deviation over seeds, also without duplicates where a run has that."""
    out = {}
    for metric in ("cv_auroc", *METRICS):
        values = [run[metric] for run in runs]
        out[metric], out[f"{metric}_sd"] = float(np.mean(values)), deviation(values)
    for metric in METRICS:
        values = [run.get("without_duplicates", run)[metric] for run in runs]
        out[f"{metric}_unique"] = float(np.mean(values))
        out[f"{metric}_unique_sd"] = deviation(values)
    return out


def deviation(values: Sequence[float]) -> float:
    """Sample standard deviation; 0 of a single value."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def markdown(result: dict) -> str:
    """The tables that are printed."""
    lines = [
        "| seed | train (promoters) | test (promoters) | overlaps | duplicates |",
        "|" + "---|" * 5,
    ]
    lines += [
        f"| {s['seed']} | {s['train']} ({s['train_promoters']}) | {s['test']} "
        f"({s['test_promoters']}) | {s['overlaps']} | {s['duplicates']} |"
        for s in result["splits"]
    ]
    suffixes = {"": "all test windows"}
    if any(split["duplicates"] for split in result["splits"]):
        suffixes["_unique"] = "test windows without a copy in training"
    for suffix, title in suffixes.items():
        lines += [
            "",
            f"Scores of {title}, mean ± sd over seeds (C from {GRID[0]:g} .. {GRID[-1]:g}):",
            "",
            "| features | columns | C | CV AUROC | AUROC | AUPRC | accuracy |",
            "|" + "---|" * 7,
        ]
        for row in result["results"]:
            names = ["cv_auroc", *(f"{metric}{suffix}" for metric in METRICS)]
            shown = [f"{row[name]:.4f} ± {row[f'{name}_sd']:.4f}" for name in names]
            strengths = ", ".join(f"{c:g}" for c in sorted({run["C"] for run in row["runs"]}))
            lines.append(
                f"| {row['features']} | {row['columns']} | {strengths} | {' | '.join(shown)} |"
            )
    return "\n".join(lines)


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("model", help="model directory, or the name of a shipped model")
    add("fasta")
    add("promoters", help="BED; the strand is column 6")
    add("--holdout", action="append", metavar="CONTIG", help=f"default: {', '.join(HELD_OUT)}")
    add("--seeds", type=int, default=3, help="draws of the random windows")
    add("--layer", type=int, action="append", help="may be repeated; default: dnatk's, the last")
    add("--window", type=int, help="bases the model sees at once; default: dnatk's, all that fit")
    add("--jitter", type=int, default=0, help="move promoters by up to so many bases")
    add("--kmers", type=int, nargs="+", default=[4, 6])
    add("--limit", type=int, help="use that many promoters, drawn at random")
    add("--control", action=argparse.BooleanOptionalAction, default=True)
    add("--device", default="auto")
    add("--precision", default="auto")
    add("--jobs", type=int, default=1, help="processes of the cross-validation")
    add("--json", type=Path, help="write all figures here")
    arguments = parser.parse_args(argv)
    arguments.holdout = arguments.holdout or HELD_OUT
    arguments.layer = arguments.layer or [EmbedOptions().layer]
    if arguments.seeds < 1 or arguments.jitter < 0:
        parser.error("--seeds must be positive, --jitter not negative")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Run; 1 where the data are at fault."""
    arguments = parse(argv)
    try:
        result = evaluate(arguments)
    except DnatkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(markdown(result))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
