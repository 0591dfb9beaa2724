"""What the benchmarks share: interleaved timing, the hardware, the report, models and genomes."""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median

import numpy as np


def parser(description: str, *, repeats: int, least: int = 5) -> argparse.ArgumentParser:
    """The options of every benchmark: --repeats, --seed, --json."""

    def count(text: str) -> int:
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"at least {least}, for the median to mean something")
        return int(text)

    options = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--repeats", type=count, default=repeats, help="default: %(default)s")
    options.add_argument("--seed", type=int, default=1, help="of the bases; default: %(default)s")
    options.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    return options


def interleaved(sides: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each repetition of each side, run in turn (A B A B ...) after one unmeasured run.

    Every other round goes backwards, so that neither side always comes first.
    """
    for run in sides.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(repeats):
        order = list(sides) if number % 2 == 0 else list(reversed(sides))
        for name in order:
            start = time.perf_counter()
            sides[name]()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def summary(seconds: list[float]) -> dict[str, float]:
    """Median, least and most of some repetitions."""
    return {"median_s": median(seconds), "min_s": min(seconds), "max_s": max(seconds)}


def hardware() -> dict[str, object]:
    """CPU model, cores that this process may use, and the versions that matter."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].split(":", 1)[1].strip() if lines else model
    return {
        "cpu": model,
        "cores": cores(),
        "load": [round(x, 2) for x in os.getloadavg()],
        "python": platform.python_version(),
        **{name: version(name) for name in ("dnatk", "numpy", "torch", "transformers")},
    }


def cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def report(figures: dict[str, object], json_file: Path | None) -> None:
    """Print the figures, the hardware last, and write them to ``json_file``."""
    figures = {**figures, "hardware": hardware()}
    for name, value in figures.items():
        if isinstance(value, dict):
            value = "  ".join(f"{key} {_shown(number)}" for key, number in value.items())
        print(f"{name:<20} {_shown(value)}")
    if json_file:
        json_file.write_text(json.dumps(figures, indent=2) + "\n")


def _shown(value: object) -> str:
    return f"{value:,.4g}" if isinstance(value, float) and value < 1e6 else f"{value}"


def random_bases(count: int, seed: int) -> bytes:
    """Bases drawn evenly from A, C, G and T."""
    generator = np.random.default_rng(seed)
    return np.frombuffer(b"ACGT", np.uint8)[generator.integers(0, 4, count)].tobytes()


def write_fasta(path: Path, records: dict[str, bytes], width: int = 60) -> None:
    """Records as FASTA with lines of ``width`` bases."""
    with open(path, "wb") as out:
        for name, bases in records.items():
            out.write(b">%s\n" % name.encode())
            for start in range(0, len(bases), width):
                out.write(bases[start : start + width] + b"\n")


def random_model(directory: Path, preset: str, k: int = 6, **changes: int) -> Path:
    """A model directory with random weights, as ``dnatk pretrain`` lays one out.

    ``changes`` are to the preset, by transformers' names.
    """
    import torch
    from transformers import BertConfig, BertModel
    from transformers.utils.logging import disable_progress_bar

    from dnatk.model.presets import PRESETS
    from dnatk.model.tokenizer_files import write_tokenizer

    disable_progress_bar()
    torch.manual_seed(0)
    config = BertConfig(**{**PRESETS[preset].bert_config(k), **changes})
    BertModel(config, add_pooling_layer=False).save_pretrained(directory)
    write_tokenizer(directory, k, 1, config.max_position_embeddings)
    return directory
