"""Checkpoints: written whole or not at all, and known to be whole before they are read.

Each holds ``checkpoint.json``, written last: size and SHA-256 of every other file, what the log
must remember, and the SHA-256 of these.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from dnatk.errors import OutputError, TrainingError
from dnatk.output.files import make_readable, size_and_sha256, sync

STAGING = ".partial"
_MANIFEST = "checkpoint.json"


def checkpoints(run: Path) -> list[Path]:
    """The checkpoints in a run's directory, oldest first."""
    found = [p for p in run.glob("checkpoint-*") if p.name.removeprefix("checkpoint-").isdigit()]
    return sorted(found, key=step_of)


def step_of(checkpoint: Path) -> int:
    """The step after which it was made."""
    return int(checkpoint.name.removeprefix("checkpoint-"))


def seal(checkpoint: Path, tally: dict) -> None:
    """Write the manifest of a checkpoint that is complete, and bring all of it to the disk."""
    sync_directory(checkpoint)
    paths = sorted(path for path in checkpoint.rglob("*") if path.is_file())
    files = {str(path.relative_to(checkpoint)): size_and_sha256(path) for path in paths}
    manifest = checkpoint / _MANIFEST
    content = {"files": files, "tally": tally}
    manifest.write_text(json.dumps({**content, "sha256": _digest(content)}, indent=1) + "\n")
    sync(manifest)


def read_tally(checkpoint: Path) -> dict:
    """What :func:`seal` was given; of a checkpoint without :func:`damage`."""
    return json.loads((checkpoint / _MANIFEST).read_text())["tally"]


def damage(checkpoint: Path) -> str:
    """What is wrong with a checkpoint, in a few words; "" if nothing is."""
    try:
        manifest = json.loads((checkpoint / _MANIFEST).read_text())
        files, told = manifest["files"], manifest.pop("sha256")
        if _digest(manifest) != told:
            raise ValueError
    except OSError as error:
        return f"{_MANIFEST}: {error.strerror}"
    except (ValueError, KeyError, TypeError):
        return f"{_MANIFEST} is cut off or changed"
    for name, facts in files.items():
        try:
            if list(size_and_sha256(checkpoint / name)) != facts:
                return f"{name} is cut off or changed"
        except OSError as error:
            return f"{name}: {error.strerror}"
    return ""


def last_whole(run: Path) -> tuple[Path | None, dict[Path, str]]:
    """The last checkpoint that is whole (None: there is none at all), and damaged ones after it.

    Raises:
        TrainingError: all that are there are damaged.
    """
    damaged: dict[Path, str] = {}
    for checkpoint in reversed(checkpoints(run)):
        wrong = damage(checkpoint)
        if not wrong:
            return checkpoint, damaged
        damaged[checkpoint] = wrong
    if damaged:
        told = "; ".join(f"{path.name}: {wrong}" for path, wrong in damaged.items())
        raise TrainingError(
            f"no checkpoint is whole ({told})", path=run, hint="restore one, or start elsewhere"
        )
    return None, {}


def prune(run: Path, keep: int) -> None:
    """Remove all but the last ``keep`` checkpoints; 0 keeps all."""
    shutil.rmtree(run / STAGING, ignore_errors=True)  # of a run that was killed
    for old in checkpoints(run)[:-keep] if keep else ():
        # Under another name first: a kill must leave none that is half there.
        old = old.replace(run / STAGING)
        shutil.rmtree(old)


@contextmanager
def staged(run: Path) -> Iterator[Path]:
    """A directory inside ``run`` to write to and move from; gone afterwards, also on failure."""
    staging = run / STAGING
    shutil.rmtree(staging, ignore_errors=True)
    try:
        yield staging
    except (OSError, RuntimeError, SafetensorError) as error:
        # torch does not say that a disk is full, only that it is not where it should be in a file.
        full = "No space left" in str(error) or shutil.disk_usage(run).free < 1 << 20
        reason = "No space left on device" if full else str(error).splitlines()[0]
        raise OutputError(
            f"the model cannot be written: {reason}", path=run, hint="make room; --resume goes on"
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def sync_directory(directory: Path) -> None:
    """Bring every file below a directory to the disk, so that a rename after it means something."""
    for path in directory.rglob("*"):
        if path.is_file():
            make_readable(path)
            sync(path)


def _digest(content: dict) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
