"""The directory of a pre-training run: who is at it, what it was begun with, where it goes on.

    config.toml           the options, see :class:`~dnatk.training.config.PretrainConfig`
    inputs.json           the SHA-256 of each input when the run began
    metrics.jsonl         the log
    checkpoint-STEP/      see :mod:`dnatk.training.checkpoints`
    .lock                 held while a process is at work
    dnatk.json            and the model beside it: the run is finished

A kill at any moment leaves a directory that a resumed run goes on with.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dnatk.errors import InputError, OutputError, TrainingError
from dnatk.model.places import FACTS_FILE
from dnatk.output.files import reason, written_whole
from dnatk.training.checkpoints import last_whole, prune
from dnatk.training.config import CONFIG_FILE, PretrainConfig
from dnatk.training.metrics_log import METRICS_FILE
from dnatk.training.pretrain_page import REPORT_FILE

log = logging.getLogger(__name__)

_INPUTS_FILE = "inputs.json"
_LOCK_FILE = ".lock"
_SMALL_FILES = (CONFIG_FILE, _INPUTS_FILE, METRICS_FILE, REPORT_FILE)
# What would be lost, or taken for this run's own.
_OF_A_MODEL = ("checkpoint-*", "config.json", "*.safetensors", "*.bin", METRICS_FILE)


@dataclass(frozen=True)
class Beginning:
    """Where a run begins.

    Attributes:
        finished: nothing is left to do.
        last: the checkpoint to go on from; None: from step 0.
    """

    finished: bool
    last: Path | None = None


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Make the directory, and keep other runs out of it while this lasts.

    Raises:
        OutputError: it cannot be made or written, or another run is at work in it.
    """
    try:
        run.mkdir(parents=True, exist_ok=True)
        if not os.access(run, os.W_OK):  # a lock of a run that was killed may be writable
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        handle = _lock(run / _LOCK_FILE)
    except BlockingIOError:
        raise OutputError(
            "another run is at work here", path=run, hint="wait for it, or name another directory"
        ) from None
    except OSError as error:
        raise OutputError(f"cannot be written: {reason(error)}", path=run) from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            (run / _LOCK_FILE).unlink(missing_ok=True)
        os.close(handle)


def _lock(path: Path) -> int:
    """A descriptor that holds the lock."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise
        except OSError:
            log.info("%s: this file system has no locks", path.parent)
            return handle
        # The one before may have removed the file between our opening and locking it.
        if path.exists() and os.path.samestat(os.fstat(handle), path.stat()):
            return handle
        os.close(handle)


def begin(run: Path, config: PretrainConfig, resume: bool) -> Beginning:
    """Look where a run is to begin; what a resumed one makes again is removed.

    Raises:
        OutputError: a run is there and ``resume`` is not given, or a model that is no such run.
        TrainingError: it is another run, or none of its checkpoints is whole.
    """
    for name in _SMALL_FILES:  # a kill while one of them was written
        for cut in run.glob(f".{name}.*.partial"):
            cut.unlink()
    if not ((run / CONFIG_FILE).exists() or (run / FACTS_FILE).exists()):
        for pattern in _OF_A_MODEL:
            for other in run.glob(pattern):
                raise OutputError(
                    f"holds {other.name}, but no run of dnatk", path=run, hint="name another"
                )
        return Beginning(finished=False)
    if not resume:
        raise OutputError(
            "already holds a run", path=run, hint="--resume goes on with it, or name another"
        )
    config.check_same(run)
    if (run / FACTS_FILE).exists():
        return Beginning(finished=True)
    last, damaged = last_whole(run)
    for checkpoint, wrong in damaged.items():
        log.warning("%s is damaged (%s), taking the one before", checkpoint, wrong)
        shutil.rmtree(checkpoint)
    prune(run, config.keep)  # a kill may have come before it was done
    return Beginning(finished=False, last=last)


def is_finished(run: Path, config: PretrainConfig) -> bool:
    """Whether a run with these options is finished in a directory; nothing is written."""
    if not (run / FACTS_FILE).exists() or not (run / CONFIG_FILE).exists():
        return False
    config.check_same(run)
    return True


def check_inputs(run: Path, sha256: Mapping[str, str]) -> None:
    """Raise :class:`InputError` naming the first input that is not what the run began with.

    Args:
        sha256: by input, as they are now.
    """
    path = run / _INPUTS_FILE
    try:
        before = dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise TrainingError(f"cannot be read: {error}", path=path) from None
    for name, now in sha256.items():
        if before.get(name) != now:
            raise InputError(
                f"has changed since the run began: its SHA-256 was {before.get(name)}, now it is "
                f"{now}",
                path=name,
                hint="--resume needs the same inputs; start another run elsewhere",
            )


def write_start(run: Path, config: PretrainConfig, sha256: Mapping[str, str]) -> None:
    """Write config.toml and inputs.json."""
    with written_whole(run / _INPUTS_FILE) as partial:
        partial.write_text(json.dumps(dict(sha256), indent=1) + "\n")
    config.write(run)
