"""``dnatk`` in a process of its own that is killed at a wanted place: a script for the tests.

It imports dnatk once and forks a child for each job, so a run starts in no time. A job is a line
of JSON on stdin::

    {"run": ["embed", ...], "cwd": "...", "out": "FILE", "err": "FILE", "plan": {...}}
    {"poll": 123}

The answers are ``{"pid": 123}`` and ``{"code": null}`` until that process has ended, then its exit
status as :mod:`subprocess` counts it. A plan may hold:

    kill: {"site": NAME, "call": N, "when": "before" | "half" | "after"}: SIGKILL at the n-th call
    signal: the same with another signal, which is sent once
    fsize: the most bytes of any file
    plain: root obeys modes, as everybody does
    slow: seconds added to each batch
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import resource
import signal
import struct
import sys
import time
from collections.abc import Callable

# What may be cut, by name: module, then the attribute that is called.
SITES = {
    "fsync": ("os", "fsync"),
    "column": ("dnatk.output.hdf5", "Column._write"),
    "close": ("dnatk.output.hdf5", "RowFile.close"),
    "finish": ("dnatk.output.hdf5", "RowFile.finish"),
    "merge column": ("dnatk.output.hdf5", "Column._write"),
    "rows": ("dnatk.output.table", "Table.rows"),
    "commit": ("dnatk.output.part_store", "PartStore.commit"),
    "begin": ("dnatk.output.part_store", "PartStore._open_lines"),
    "run.json": ("pathlib", "Path.write_text"),
    "manifest": ("dnatk.output.part_store", "PartStore._lock"),  # what it opens is written to
    "merge": ("dnatk.output.merge", "_Target.append"),
    "merge end": ("dnatk.output.merge", "_Target.finish"),
    "merge close": ("h5py", "File.close"),
    "merge sync": ("dnatk.output.merge", "sync"),
    "merge text": ("shutil", "copyfileobj"),
    "publish": ("dnatk.output.part_store", "PartStore.publish"),
    "replace": ("pathlib", "Path.replace"),
    "remove": ("dnatk.output.part_store", "remove"),
    "unlink": ("pathlib", "Path.unlink"),
    "rmdir": ("pathlib", "Path.rmdir"),
    "batch": ("dnatk.inference.engine", "Engine.finish"),
}

# What the children would import, each for itself.
LOADED = (
    "dnatk.cli.embed",
    "dnatk.cli.predict",
    "dnatk.inference.embed",
    "dnatk.inference.predict",
    "dnatk.model.placement",
    "dnatk.training.calibration",
    "pyfaidx",
    "safetensors.torch",
)


class Cut:
    """Counts calls of a site; at the wanted one the process gets its signal."""

    def __init__(self, site: str, call: int = 1, when: str = "before", number: int = 9) -> None:
        self.site, self.left, self.when, self.number = site, call, when, number
        self.fired = False
        module, path = SITES[site]
        *owners, self._name = path.split(".")
        self._owner = importlib.import_module(module)
        for name in owners:
            self._owner = getattr(self._owner, name)
        self._whole = getattr(self._owner, self._name)

    def install(self) -> None:
        made = self._lines if self.site == "manifest" else self._around
        setattr(self._owner, self._name, made)

    @property
    def _around(self) -> Callable:
        # A plain function, so that it binds as the method that it stands for.
        def around(*args, **options):
            self.left -= self.site not in ONLY or ONLY[self.site](*args)
            if self.left or self.fired:
                return self._whole(*args, **options)
            if self.when == "half":
                HALVES[self.site](self._whole, *args)
            if self.when != "after":
                self.fire()
            result = self._whole(*args, **options)
            if self.when == "after":
                self.fire()
            return result

        return around

    @property
    def _lines(self) -> Callable:
        def lock(store) -> None:
            self._whole(store)
            store._lines = HalfLines(store._lines, self)

        return lock

    def fire(self) -> None:
        self.fired = True
        os.kill(os.getpid(), self.number)


class HalfLines:
    """The manifest; of the wanted line only half is written."""

    def __init__(self, file, cut: Cut) -> None:
        self._file, self._cut = file, cut

    def __getattr__(self, name: str):
        return getattr(self._file, name)

    def write(self, line: bytes) -> int:
        self._cut.left -= 1
        if not (self._cut.left or self._cut.fired):
            self._file.write(line[: len(line) // 2] if self._cut.when == "half" else b"")
            self._file.flush()
            self._cut.fire()
        return self._file.write(line)


def half_column(_, column, rows) -> None:
    """The dataset has grown, half of its new rows are there, and the file is as it is on disk."""
    at = len(column._data)
    column._data.resize(at + len(rows), axis=0)
    column._data[at : at + len(rows) // 2] = rows[: len(rows) // 2]
    column._data.file.flush()


def half_text(_, path, text, *__) -> None:
    with open(path, "w") as file:
        file.write(text[: len(text) // 2])


def half_copy(_, source, target, *__) -> None:
    piece = source.read()
    target.write(piece[: len(piece) // 2])
    target.flush()


HALVES = {
    "column": half_column,
    "merge column": half_column,
    "run.json": half_text,
    "merge text": half_copy,
}
# Which calls count, where not all do.
ONLY = {
    "merge column": lambda column, _: "merged" in column._data.file.filename,
    "merge close": lambda file: bool(file) and "merged" in file.filename,
}


def child(job: dict) -> None:
    """Become the process that a job asks for."""
    plan = job.get("plan") or {}
    for number, path in ((1, job["out"]), (2, job["err"])):
        handle = path if isinstance(path, int) else os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
        os.dup2(handle, number)
    os.chdir(job["cwd"])
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    sys.argv = ["dnatk", *job["run"]]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run behind a &
    if "slow" in plan:
        slow(plan["slow"])
    for kind, number in (("kill", signal.SIGKILL), ("signal", plan.get("number", 0))):
        if kind in plan:
            Cut(**plan[kind], number=number).install()
    if "fsize" in plan:
        resource.setrlimit(resource.RLIMIT_FSIZE, (plan["fsize"], plan["fsize"]))
    if plan.get("plain"):
        drop_capabilities()


def drop_capabilities() -> None:
    """Of root; others have none."""
    header, none = struct.pack("Ii", 0x20080522, 0), bytes(24)
    if ctypes.CDLL(None, use_errno=True).capset(header, none):
        raise OSError(ctypes.get_errno(), "capset")


def slow(seconds: float) -> None:
    """Batches take at least so long: there is time to do something meanwhile."""
    from dnatk.inference.engine import Engine

    launch = Engine.launch

    def slowly(self, batch):
        time.sleep(seconds)
        return launch(self, batch)

    Engine.launch = slowly


def serve() -> dict | None:
    """Answer until stdin ends; in a child, return its job."""
    gc.collect()
    gc.freeze()  # children neither look through what is imported nor copy its pages
    for line in sys.stdin:
        job = json.loads(line)
        if "poll" in job:
            pid, status = os.waitpid(job["poll"], os.WNOHANG)
            answer = {"code": os.waitstatus_to_exitcode(status) if pid else None}
        else:
            pid = os.fork()
            if not pid:
                return job
            answer = {"pid": pid}
        print(json.dumps(answer), flush=True)
    return None


def main() -> None:
    from dnatk.cli import script

    for module in LOADED:
        importlib.import_module(module)

    job = serve()
    if job is None:
        return
    child(job)
    script()


if __name__ == "__main__":
    main()
