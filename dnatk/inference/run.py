"""One run of the engine: tiles in, parts out, and the parts made into what was asked for.

Reading and packing, the device, and writing each have a thread; parts are closed one after
another (:mod:`dnatk.output.part_store`), so that a run that was cut off can go on.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from dnatk.errors import InputError, OutputError
from dnatk.inference.batches import Row, Tile
from dnatk.inference.engine import Engine, Launched
from dnatk.inference.parts import Shard, Share, numbered
from dnatk.inference.pipeline import WriteBehind, read_ahead
from dnatk.inference.ranks import Ranks
from dnatk.output.files import reason
from dnatk.output.part_store import PartStore
from dnatk.progress import Progress

log = logging.getLogger(__name__)


class Sink(Protocol):
    """Where finished rows go, part by part; all but ``close`` in one thread.

    Attributes:
        suffixes: of the files of a part.
    """

    suffixes: tuple[str, ...]

    def write(self, part: int, rows: list[Row]) -> None:
        """Append rows to a part, which is begun if it is a new one."""

    def end(self) -> None:
        """The part at hand is whole: close its files."""

    def made(self, part: int) -> None:
        """In this place stand the rows of a part that was made before."""

    def close(self) -> None:
        """Close what is open, whole or not."""


class Source(Protocol):
    """What rows are made of.

    Attributes:
        total: how many items, where that is known.
        again: whether the items can be read more than once.
        items: begins to read them, from the first.
        bases: of one.
        identity: of one, what tells it from others: shards must be of the same items.
    """

    @property
    def total(self) -> int | None: ...

    @property
    def again(self) -> bool: ...

    @property
    def items(self) -> Callable[[], Iterable[Any]]: ...

    @property
    def bases(self) -> Callable[[Any], int]: ...

    @property
    def identity(self) -> Callable[[Any], bytes]: ...


@dataclass(frozen=True)
class Sharing:
    """Which parts of the work are this process's.

    Attributes:
        shard: of the whole, None: all of it.
        ranks: the processes that share that.
    """

    shard: Shard | None = None
    ranks: Ranks = field(default_factory=Ranks)

    @classmethod
    def asked(cls, shard: str | None) -> Sharing:
        """By ``--shard`` and by torchrun's environment."""
        return cls(None if shard is None else Shard.parse(shard), Ranks.from_environment())

    @property
    def alone(self) -> bool:
        """Whether this process does it all."""
        return self.shard is None and self.ranks.world == 1

    def share(self, source: Source, size: int) -> tuple[Share, int | None]:
        """The parts of ``size`` bases, and how many items are in them where that is known.

        Raises:
            InputError: work that cannot be read twice is to be shared.
        """
        if self.alone:
            return Share(), source.total
        if not source.again:
            raise InputError(
                "work can be shared only where its input can be read more than once",
                hint="give files, not pipes",
            )
        counts: Counter = Counter()
        # Parts of another size are other rows: such shards would lose some and double others.
        every = hashlib.sha256(b"%d\n" % size)
        for number, item in numbered(source.items(), size, source.bases):
            counts[number] += 1
            if self.shard is not None:
                every.update(source.identity(item) + b"\n")
        low, high, facts = 0, None, {}
        if self.shard is not None:
            low, high = self.shard.bounds(len(counts))
            facts = {"shard": str(self.shard), "shard_input": every.hexdigest()[:16]}
        share = Share(low, high, self.ranks.rank, self.ranks.world, facts)
        return share, sum(n for number, n in counts.items() if share.has(number))


@dataclass
class Made:
    """What one run has added: rows, and how many of them have which status but scored."""

    rows: int = 0
    unscored: Counter = field(default_factory=Counter)

    def add(self, rows: list[Row]) -> None:
        self.rows += len(rows)
        self.unscored.update(int(row.status) for row in rows if row.status)


class Told(Protocol):
    """Who hears of rows that are done; in the writer's thread."""

    def made(self, rows: int, bases: int) -> None:
        """So many more, with the bases read for them."""

    def kept(self, rows: int) -> None:
        """So many more, which a run before has made."""


class RowsTold:
    """A progress that counts rows."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def made(self, rows: int, bases: int) -> None:
        self._progress.advance(rows)
        self._progress.read(bases)

    def kept(self, rows: int) -> None:
        self._progress.skip(rows)


def run(
    engine: Engine,
    tiles: Iterable[Tile],
    sink: Sink,
    store: PartStore | None,
    share: Share,
    contigs: Mapping[str, int],
    told: Told,
) -> Made:
    """Draw the tiles through the engine into the sink.

    Args:
        tiles: of this process's parts, those that were made before too: they are checked.
        store: where parts are kept; None: nothing is, the sink has the only copy.
        contigs: lengths, of those that tiles have come from at least.
        told: hears of the rows that are done.

    Raises:
        DnatkError: as tiles and sink do; OutputError where the system cannot write.
    """
    before = {n: part.digest for n, part in store.made.items() if share.has(n)} if store else {}
    whole, at_hand = Made(), Made()

    def write(launched: Launched) -> None:
        nonlocal at_hand
        batch = launched.batch
        if batch.made:
            sink.made(batch.part)
            told.kept(store.made[batch.part].rows)
            return
        rows = engine.finish(launched)
        sink.write(batch.part, rows)
        whole.add(rows)
        at_hand.add(rows)
        if batch.digest:
            sink.end()
            if store is not None:
                facts = at_hand.rows, at_hand.unscored, batch.digest
                store.commit(batch.part, *facts, sink.suffixes)
            at_hand = Made()
        told.made(len(rows), batch.bases)

    try:
        try:
            tiles = closing(read_ahead(engine.batches(tiles, before, contigs)))
            with tiles as ahead, WriteBehind(write) as out:
                for batch in ahead:
                    out.put(engine.launch(batch))
        finally:
            sink.close()
    except Exception as error:
        _refuse(error, None if store is None else store.output)
        raise
    return whole


def _refuse(error: Exception, path: Path | None) -> None:
    """Raise an :class:`OutputError` where the system could not write."""
    # h5py knows some of the system's errors by their number in its text alone.
    system = isinstance(error, OSError) or (
        isinstance(error, RuntimeError) and "errno = " in str(error)
    )
    if system and not isinstance(error, BrokenPipeError):
        where = getattr(error, "filename", None) or path
        raise OutputError(f"cannot be written: {reason(error)}", path=where) from error


@contextmanager
def opened_store(
    output: Path, what: dict[str, object], ranks: Ranks, *, resume: bool, force: bool
) -> Iterator[PartStore]:
    """The parts of a run; where it is cut off, what is kept is logged."""
    store = None
    try:
        if ranks.rank == 0:
            store = PartStore(output, what, resume=resume, force=force)
            if store.made:
                log.warning("%s: going on after %d rows", store.directory, store.rows())
        ranks.wait()
        if store is None:
            store = PartStore(output, what, rank=ranks.rank)
        yield store
    except BrokenPipeError:  # the reader of stdout has enough, and does not come back
        if store is not None:
            store.remove()
        raise
    except BaseException as error:
        if store is not None and ranks.rank == 0:
            _say_kept(store)
        if isinstance(error, Exception):  # of the merge, too
            _refuse(error, output)
        raise
    finally:
        if store is not None:
            store.close()
        ranks.leave()


def _say_kept(store: PartStore) -> None:
    with suppress(OSError):
        store.refresh()  # rows of other processes are kept too
    if store.made and store.directory.exists():
        log.warning(
            "%d rows are kept in %s: the same command with --resume goes on",
            store.rows(),
            store.directory,
        )
