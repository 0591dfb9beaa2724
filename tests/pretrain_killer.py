"""As :mod:`killer`, for ``dnatk pretrain``: what it may be cut at; no probes, no plots."""

from __future__ import annotations

import os
from pathlib import Path

import killer

killer.SITES.update(
    {
        "pass": ("dnatk.training.trainer", "MaskedLMTrainer.training_step"),
        "line": ("dnatk.training.metrics_log", "MetricsLog._append"),
        "torch.save": ("torch", "save"),
        "weights": ("dnatk.training.masked_lm", "PackedMaskedLM.save_pretrained"),
        "seal": ("dnatk.training.trainer", "seal"),
        "prune": ("dnatk.training.trainer", "prune"),
        "rmtree": ("shutil", "rmtree"),
        "move": ("os", "replace"),
        "text": ("pathlib", "Path.write_text"),
        "start": ("dnatk.training.pretrain", "write_start"),
        "corpus": ("dnatk.training.corpus", "Corpus.remove"),
        "publish": ("dnatk.training.pretrain", "_publish"),
    }
)


def half_line(_, log, row) -> None:
    with open(log._path, "a") as file:
        file.write(str(row)[:20])


def half_file(whole, content, path, *more) -> None:
    whole(content, path, *more)
    os.truncate(path, os.path.getsize(path) // 2)


def half_weights(whole, model, directory, *_) -> None:
    whole(model, directory)
    path = Path(directory, "model.safetensors")
    os.truncate(path, path.stat().st_size // 2)


killer.HALVES.update(
    {
        "line": half_line,
        "torch.save": half_file,
        "weights": half_weights,
        "text": killer.half_text,
    }
)


def main() -> None:
    import dnatk.cli.pretrain  # noqa: F401
    import dnatk.training.pretrain as module
    from dnatk.cli import script

    module.measured_peak = lambda *_: 1e12
    module.plot_loss = lambda metrics, schedule, target: target.touch() or ""
    job = killer.serve()
    if job is None:
        return
    killer.child(job)
    script()


if __name__ == "__main__":
    main()
