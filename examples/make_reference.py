"""Record what ships: checksums of the model and the tasks, and what `dnatk doctor` compares with.

python examples/make_reference.py

To be run whenever shipped weights or bundled tasks change; tests say so. Writes SHA256SUMS
beside both and dnatk/diagnosis/reference.json, computed on the CPU in fp32.
"""

from __future__ import annotations

import argparse
import json

import numpy as np

from dnatk.diagnosis.selftest import REFERENCE, Embedder, predicted
from dnatk.model.checksums import write_sums
from dnatk.model.loading import read_model
from dnatk.model.places import DEFAULT_MODEL, SHIPPED
from dnatk.tasks.places import BUNDLED
from dnatk.tasks.registry import find_task

TASK, SEED = "yeast-promoter", 0
LENGTHS = (41, 131, 515)  # a short one, one of the first training run, the longest window


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.parse_args()
    for directory in (SHIPPED, BUNDLED):
        write_sums(directory)
    task = find_task(BUNDLED / TASK)
    rng = np.random.default_rng(SEED)
    sequences = [_random(rng, length) for length in LENGTHS]
    reference = {
        "model": DEFAULT_MODEL,
        "model_sha256": read_model(DEFAULT_MODEL).sha256,
        "sequences": sequences,
        "vectors": Embedder("cpu", "fp32").embed(sequences).tolist(),
        "task": TASK,
        "task_sha256": task.sha256(),
        "task_sequences": [_random(rng, task.length) for _ in range(3)],
    }
    reference["probabilities"] = predicted(reference, "cpu", "fp32")
    # As Python's floats: those of fp32 have more digits than it knows.
    reference["vectors"] = [[round(each, 5) for each in row] for row in reference["vectors"]]
    reference["probabilities"] = [round(each, 4) for each in reference["probabilities"]]
    text = ",\n".join(f" {json.dumps(key)}: {_rows(value)}" for key, value in reference.items())
    REFERENCE.write_text(f"{{\n{text}\n}}\n")
    print(f"{REFERENCE}: {REFERENCE.stat().st_size / 1000:.1f} kB")


def _rows(value: object) -> str:
    """JSON of a value, a list's items a line each."""
    if isinstance(value, list):
        return "[\n  " + ",\n  ".join(map(json.dumps, value)) + "\n ]"
    return json.dumps(value)


def _random(rng: np.random.Generator, length: int) -> str:
    return "".join(rng.choice(list("ACGT"), length))


if __name__ == "__main__":
    main()
