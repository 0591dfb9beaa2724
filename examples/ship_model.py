"""Make a finished pre-training run the model that ships: half precision, no optimizer.

python examples/ship_model.py RUN dnatk/model/weights/dnatk-small

Writes what `--model dnatk-small` and transformers need, and no more. The weights are the run's,
rounded to float16; dnatk.json tells of the run and of those it started from, the paths of the
training files cut to their names.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file

from dnatk.model.loading import read_model, read_weights

COPIED = ("config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="directory of a finished `dnatk pretrain`")
    parser.add_argument("target", type=Path, help="directory to write")
    options = parser.parse_args()
    info = read_model(options.run)
    options.target.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        shutil.copyfile(options.run / name, options.target / name)
    config = json.loads((options.run / "config.json").read_text())
    _write(options.target / "config.json", {**config, "dtype": "float16"})
    facts = json.loads((options.run / "dnatk.json").read_text())
    facts["training"] = _lineage(info.directory)
    _write(options.target / "dnatk.json", facts)
    weights = load_file(info.weights)
    half = {name: tensor.half().contiguous() for name, tensor in weights.items()}
    save_file(half, options.target / "model.safetensors", metadata={"format": "pt"})
    (options.target / "model.safetensors").chmod(0o644)
    shipped = read_model(options.target)
    read_weights(shipped)
    size = shipped.weights.stat().st_size / 2**20
    print(f"{options.target}: {size:.1f} MiB, sha256 {shipped.sha256}")


def _lineage(directory: Path) -> list[dict]:
    """The training of a run and of those it started from, first one first."""
    training = json.loads((directory / "dnatk.json").read_text())["training"]
    if isinstance(training, list):  # a model that ships
        return training
    before = _lineage(read_model(training["init"]).directory) if training["init"] else []
    training["inputs"] = [Path(path).name for path in training["inputs"]]
    training["init"] = Path(training["init"]).name
    for source in training["sources"]:
        source["path"] = Path(source["path"]).name
    return [*before, training]


def _write(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
