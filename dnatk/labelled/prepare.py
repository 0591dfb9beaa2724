"""Files to the sets of a run: read, split, checked."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from dnatk.errors import InputError
from dnatk.genome.fit import Fit
from dnatk.labelled.dataset import LabelledSet
from dnatk.labelled.doctor import Report, drop_leaks, examine
from dnatk.labelled.read import ReadOptions, lengths, places, read_labelled
from dnatk.labelled.splits import split_set, way_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Files:
    """What the user names: data, and where given dev and test."""

    data: str
    dev: str | None = None
    test: str | None = None


@dataclass(frozen=True)
class Splitting:
    """How data without files of their own become dev and test; see :func:`split_set`."""

    how: str = "auto"
    dev: float = 0.1
    test: float = 0.1
    dev_contigs: tuple[str, ...] = ()
    test_contigs: tuple[str, ...] = ()
    seed: int = 42


def split_in_words(
    files: Files, splitting: Splitting, sets: dict[str, LabelledSet], dropped: int
) -> str:
    """How the sets came to be, for a task's card."""
    given = [name for name in ("dev", "test") if getattr(files, name)]
    split_off = [name for name in ("dev", "test") if name in sets and name not in given]
    named = bool(splitting.dev_contigs or splitting.test_contigs)
    how = way_of(splitting.how, sets["train"], named)
    ways = {
        "random": "at random, keeping shares of classes and copies (either strand) together",
        "chromosome": "by chromosome",
    }
    parts = [f"{' and '.join(given)} as given"] if given else []
    if split_off:
        parts.append(f"{' and '.join(split_off)} {ways[how]}")
    if dropped:
        parts.append(f"{dropped} training sequence(s) that stand in dev or test left out")
    return "; ".join(parts)


def read_sets(
    files: Files,
    options: ReadOptions,
    splitting: Splitting,
    *,
    drop: bool = False,
    most: Callable[[], int] = lambda: 0,
) -> tuple[dict[str, LabelledSet], Report, int]:
    """({"train", "dev", perhaps "test"}, what the check found, training sequences dropped).

    The report is of the data as they came; ``drop`` then removes leaks. Regions of a genome become
    equally long, as ``predict`` will read them: where ``options`` have no length, the fit's or that
    of the longest example, which must not be above ``most`` (0: unknown), the bases that the model
    takes: it is asked before anything is read from the genome.
    """
    others = {name: path for name, path in (("dev", files.dev), ("test", files.test)) if path}
    if not options.length:
        options = replace(options, length=_length([files.data, *others.values()], options, most))
    data, sets = read_clear(files.data, others, options)
    if set(sets) == {"dev", "test"}:
        sets = {"train": data, **sets}
    else:
        wanted = {name: name not in sets for name in ("dev", "test")}
        if wanted["dev"] and not (splitting.dev or splitting.dev_contigs):
            raise InputError("there is no dev set", hint="--dev FILE, or a --dev-share above 0")
        parts = split_set(
            data,
            splitting.how,
            splitting.dev if wanted["dev"] else 0.0,
            splitting.test if wanted["test"] else 0.0,
            splitting.seed,
            splitting.dev_contigs if wanted["dev"] else (),
            splitting.test_contigs if wanted["test"] else (),
        )
        sets = {**parts, **sets}
    sets = {name: sets[name] for name in ("train", "dev", "test") if name in sets}
    report = examine(sets)
    if not drop:
        return sets, report, 0
    sets, dropped = drop_leaks(sets)
    return sets, report, dropped


def read_clear(
    path: str, others: Mapping[str, str], options: ReadOptions
) -> tuple[LabelledSet, dict[str, LabelledSet]]:
    """What is learnt from, and the sets beside it by name, whose labels must be the first one's.

    Negatives drawn for one file keep clear of the others: their examples, and what was drawn.
    """
    known = [place for other in others.values() for place in places(other, options)]
    data = read_labelled(path, options, avoid=known)
    known += data.regions or ()
    sets = {}
    for name, other in others.items():
        sets[name] = read_labelled(other, options, data.space, avoid=known)
        known += sets[name].regions or ()
    return data, sets


def _length(paths: list[str], options: ReadOptions, most: Callable[[], int]) -> int:
    """Bases that the regions of these files are brought to; 0 where none is read from a genome."""
    if options.kind == "per-base" or not options.genome:  # as long as their labels
        return 0
    found = [lengths(path, options) for path in paths]
    regions = [length for of_genome, _ in found for length in of_genome]
    if not regions:
        return 0
    fit = Fit.parse(options.fit, sys.maxsize)
    longest = [max(*of_genome, *given, 0, 0) for of_genome, given in found]
    length = fit.last - fit.first if fit.kind == "tss" else max(longest)
    if (limit := most()) and length > limit:
        raise InputError(
            f"examples of {length} bases, the model takes {limit}",
            path=paths[0] if fit.kind == "tss" else paths[longest.index(length)],
            hint="a shorter --fit" if fit.kind == "tss" else "--length cuts all to their middle",
        )
    if fit.kind != "tss" and min(regions) < length:
        log.warning(
            "%s: regions of %d to %d bases are all read as %d (--length chooses)",
            *(paths[0], min(regions), max(regions), length),
        )
    return length
