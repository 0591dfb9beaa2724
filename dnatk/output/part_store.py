"""``OUT.partial/``: what a run has made so far, safe from any kill.

    run.json                what the run is: options, model, versions
    parts-RANK.jsonl        a line for each part that is whole: number, rows, digest of its input,
                            and of each of its files the size and sha256
    000012.h5, 000012.txt   the files of part 12

A part's files are closed and synced before its line is written, and the line is synced before
the next part begins. So a kill at any moment loses the part at hand and no other: a line that was
cut off is dropped, and so is a part whose files are not as its line says.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from dnatk.errors import OutputError
from dnatk.output.files import reason, size_and_sha256, sync, sync_names

log = logging.getLogger(__name__)

# What a run may be begun and resumed with differently: names, not contents.
NAMES = ("command", "config", "model", "task")
_RUN = "run.json"
_FILE = re.compile(r"run\.json(\.new)?|parts-\d+\.jsonl|\d{6,}\.\w+|merged(\.\w+)*")


@dataclass(frozen=True)
class Made:
    """A part that is whole.

    Attributes:
        rows: in it.
        unscored: how many of them have which status, by its number; scored ones left out.
        digest: of the input that it was made from.
        files: suffix -> (bytes, sha256) of each of its files.
    """

    rows: int
    unscored: dict[int, int]
    digest: str
    files: dict[str, tuple[int, str]]


class PartStore:
    """The parts of one run, on disk.

    Args:
        output: the file that the run is to give; parts lie in ``OUTPUT.partial/``.
        run: what the run is, as JSON: a resumed one must be the same, but for :data:`NAMES`.
        resume: go on where such a run was cut off; without one, begin.
        force: throw an unfinished run away.
        rank: of several processes that make parts of one run; those after the first join what
            the first has opened, and must be at the same run.

    Attributes:
        run: as it was begun.
        made: number -> the parts that are there, checked.

    Raises:
        OutputError: an unfinished run is there and neither ``resume`` nor ``force`` is given, it
            is another run, another process is at it, or nothing can be written.
    """

    def __init__(
        self,
        output: Path,
        run: Mapping[str, object],
        *,
        resume: bool = False,
        force: bool = False,
        rank: int = 0,
    ) -> None:
        self.output, self._rank = output, rank
        self.directory = directory_of(output)
        self.made: dict[int, Made] = {}
        self._lines = None
        try:
            now = json.loads(json.dumps(dict(run)))
            if rank == 0:
                self._begin(now, resume, force)
            self.run = self._begun()
            self._same(now)
            self._open_lines()
            self._read()
        except BaseException as error:
            self._give_up()
            if not isinstance(error, OSError):
                raise
            raise OutputError(f"cannot be written: {reason(error)}", path=self.directory) from error

    @property
    def asked(self) -> dict[str, str]:
        """How the run was asked for when it was begun: command, and config where there is one."""
        config = self.run.get("config")
        return {"command": self.run["command"]} | ({"config": config} if config else {})

    def path(self, number: int, suffix: str) -> Path:
        """Where a part's file lies."""
        return self.directory / f"{number:06d}{suffix}"

    def commit(
        self,
        number: int,
        rows: int,
        unscored: Mapping[int, int],
        digest: str,
        suffixes: Sequence[str],
    ) -> None:
        """A part's files are closed: from now on they are kept, whatever happens."""
        files = {suffix: _synced(self.path(number, suffix)) for suffix in suffixes}
        self.made[number] = Made(rows, dict(unscored), digest, files)
        line = json.dumps({"part": number, **asdict(self.made[number])})
        sync_names(self.directory)
        self._lines.write(line.encode() + b"\n")
        self._lines.flush()
        os.fsync(self._lines.fileno())

    def refresh(self) -> None:
        """See the parts that other processes have made since."""
        self._read(check=False)

    def publish(self, finished: Mapping[Path, Path]) -> None:
        """Put finished files, which lie in the directory, under their names; end the run."""
        for made, final in finished.items():
            sync(made)
            made.replace(final)
            sync_names(final.parent)
        self.remove()

    def rows(self) -> int:
        """Rows in the parts that are there."""
        return sum(part.rows for part in self.made.values())

    def unscored(self) -> dict[int, int]:
        """How many of them have which status; scored ones left out."""
        return dict(sum((Counter(part.unscored) for part in self.made.values()), Counter()))

    def close(self) -> None:
        """Let another process go on; a directory without a part is removed."""
        if self._lines is None:
            return
        if self._rank == 0:
            with contextlib.suppress(OSError):  # then nothing is known of the others' parts
                self.refresh()
                if not self.made:
                    self.remove()  # before another process may begin
        self._lines.close()
        self._lines = None

    def remove(self) -> None:
        """Remove the directory; what a run did not put there stays, and then so does it."""
        remove(self.directory)

    def _begin(self, run: dict, resume: bool, force: bool) -> None:
        there = self.directory / _RUN
        if self.directory.exists() and not self.directory.is_dir():
            raise OutputError("is a file, no directory", path=self.directory)
        self.directory.mkdir(exist_ok=True)
        self._lock()  # nobody's work is thrown away, and nobody else begins
        if there.exists() and not (resume or force):
            raise OutputError(
                "holds a run that was cut off",
                path=self.directory,
                hint="--resume goes on, --force starts afresh",
            )
        if force or not there.exists():
            self._lines.truncate(0)
            _clear(self.directory, but=Path(self._lines.name))
        if not there.exists():
            new = self.directory / f"{_RUN}.new"
            new.write_text(json.dumps(run, indent=1) + "\n", "utf-8")
            sync(new)
            new.replace(there)
            sync_names(self.directory)

    def _give_up(self) -> None:
        """Nothing is done here: others need not wait until this is collected."""
        if self._lines is None or self._lines.closed:
            return
        if self._rank == 0 and not (self.directory / _RUN).exists():
            self.remove()
        self._lines.close()

    def _begun(self) -> dict:
        """What the run is, as it was begun."""
        try:
            run = json.loads((self.directory / _RUN).read_bytes())
        except ValueError:
            run = None
        if not isinstance(run, dict) or not run:
            raise OutputError(
                f"its {_RUN} is damaged", path=self.directory, hint="--force starts afresh"
            )
        return run

    def _same(self, now: dict) -> None:
        for key in dict.fromkeys([*self.run, *now]):
            then, here = self.run.get(key), now.get(key)
            if key in NAMES or then == here:
                continue
            told = f"was begun with {key} {then}, now it is {here}"
            hint = "give what it was begun with, or --force to start afresh"
            if self._rank:
                told = f"process {self._rank} has {key} {here}, the first one has {then}"
                hint = "all must run alike: has each found its GPU?"
            raise OutputError(told, path=self.directory, hint=hint)

    def _open_lines(self) -> None:
        if self._lines is None:
            self._lock()
        # A line that was cut off must not run into the next one.
        path = self.directory / f"parts-{self._rank}.jsonl"
        whole = path.read_bytes().rfind(b"\n") + 1
        self._lines.truncate(whole)

    def _lock(self) -> None:
        self._lines = open(self.directory / f"parts-{self._rank}.jsonl", "ab")  # noqa: SIM115
        try:
            fcntl.flock(self._lines, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lines.close()
            raise OutputError("another run is writing here", path=self.directory) from None
        except OSError:
            log.info("%s: this file system has no locks", self.directory)

    def _read(self, check: bool = True) -> None:
        for path in sorted(self.directory.glob("parts-*.jsonl")):
            if not check and path == Path(self._lines.name):
                continue  # one's own are known, and a damaged one still has its line
            for line in path.read_bytes().split(b"\n")[:-1]:
                # A line of anything else is as good as none.
                with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
                    told = json.loads(line)
                    files = {suffix: tuple(facts) for suffix, facts in told["files"].items()}
                    unscored = {int(status): int(n) for status, n in told["unscored"].items()}
                    made = Made(int(told["rows"]), unscored, str(told["digest"]), files)
                    self.made[int(told["part"])] = made
        for number in sorted(self.made) if check else ():
            if any(
                _facts(self.path(number, suffix)) != facts
                for suffix, facts in self.made[number].files.items()
            ):
                log.warning("%s: part %d is damaged, it is made again", self.directory, number)
                del self.made[number]


def directory_of(output: Path) -> Path:
    """``OUTPUT.partial``."""
    return output.with_name(output.name + ".partial")


def unfinished(output: Path) -> bool:
    """Whether a run at ``output`` was begun and not ended; what one that has ended left is removed.

    So a kill while the directory is removed does not cost the work.
    """
    directory = directory_of(output)
    if (directory / _RUN).exists():
        return True
    if directory.is_dir():
        remove(directory)
    return False


def remove(directory: Path) -> None:
    """Remove a directory of parts, and what else a run put there."""
    with contextlib.suppress(OSError):
        _clear(directory)
        directory.rmdir()


def _clear(directory: Path, but: Path | None = None) -> None:
    # What says that there is a run goes first: parts without it are no run's.
    (directory / _RUN).unlink(missing_ok=True)
    for path in directory.iterdir():
        if _FILE.fullmatch(path.name) and path != but:
            path.unlink()


def _facts(path: Path) -> tuple[int, str] | None:
    try:
        return size_and_sha256(path)
    except OSError:
        return None


def _synced(path: Path) -> tuple[int, str]:
    """A file's facts, once it is on the disk."""
    sync(path)
    return size_and_sha256(path)
