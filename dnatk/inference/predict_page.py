"""The page of ``dnatk predict --report``: what came out, where, and what it is worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from dnatk.output import page as html
from dnatk.output.figures import as_svg
from dnatk.output.prediction_figures import genome_tracks, histogram, tracked
from dnatk.output.prediction_tally import PredictionTally
from dnatk.output.table import shown_classes
from dnatk.tasks.task import Task

_MOST_LABELS = 30


def predict_page(
    tally: PredictionTally,
    task: Task,
    *,
    source: str,
    lengths: Mapping[str, int],
    provenance: Sequence[str],
    shard: str = "",
) -> str:
    """The page.

    Args:
        tally: of all rows of the table.
        source: the regions or sequences, as given.
        lengths: of the genome's contigs, where they are known, in its order.
        provenance: the ``##dnatk`` lines.
        shard: "2/8" where the rows are those of a shard.
    """
    named = "stdin" if source == "-" else Path(source).name
    body = [
        html.paragraph(_lead(task), "lead"),
        html.tiles(_numbers(tally, task)),
        *([html.note(f"These are the rows of shard {shard} alone.")] if shard else []),
        *_counts(tally, task),
    ]
    if tally.scored:
        body += [*_scores(tally, task), *_tracks(tally, task, lengths), *_lists(tally, task)]
    body += [html.heading("How far to trust it"), *_trust(task)]
    told = dict(line.removeprefix("##dnatk ").split("=", 1) for line in provenance)
    body += [html.heading("How it was made"), html.facts(told)]
    title = f"{named}, scored by {task.name or task.directory.name}"
    footer = "Positions are 0-based half-open, as in BED."
    return html.page(title, body, kind="dnatk predict", footer=footer)


def _lead(task: Task) -> str:
    said = {
        "binary": f"Each region has a probability of {task.class_names[-1]}",
        "multiclass": "Each region has one label out of several, and its probability",
        "multilabel": "Each region has any number of labels",
        "regression": f"Each region has a value of {', '.join(task.class_names)}",
        "per-base": "Each base has one label out of several",
    }[task.kind]
    described = f"{task.description.rstrip('.')}. " if task.description else ""
    return html.escape(f"{described}{said}.")


def score_name(task: Task) -> str:
    """What the column score is, by the kind of labels."""
    return {
        "binary": f"probability of {task.class_names[-1]}",
        "multiclass": "probability of the chosen label",
        "multilabel": "probability of the most probable label",
        "regression": task.class_names[0],
        "per-base": "probability of the chosen labels",
    }[task.kind]


def _numbers(tally: PredictionTally, task: Task) -> dict[str, str]:
    numbers = {"rows": f"{tally.rows:,}", "scored": f"{tally.scored:,}"}
    if tally.scored:
        if task.kind == "binary":
            positive = shown_classes(task.shown)[1]
            count = tally.labels[positive]
            numbers[f"labelled {positive} ({_share(count, tally.scored)})"] = f"{count:,}"
        numbers[f"mean {score_name(task)}"] = f"{tally.mean:.3g}"
    numbers["not scored (NA)"] = f"{tally.rows - tally.scored:,}"
    return numbers


def _counts(tally: PredictionTally, task: Task) -> Iterator[str]:
    if tally.unscored:
        yield html.heading("Rows that could not be scored")
        rows = [
            [note.replace("_", " "), f"{count:,}", _share(count, tally.rows)]
            for note, count in tally.unscored.most_common()
        ]
        yield html.table(("reason", "rows", "share"), rows, ".nn")
    if not tally.labels:
        return
    bases = task.kind == "per-base"
    unit, whole = ("bases", tally.labels.total()) if bases else ("rows", tally.scored)
    yield html.heading("Labels")
    known = [
        *shown_classes(task.shown),
        *sorted(set(tally.labels) - set(shown_classes(task.shown))),
    ]
    shown = known if len(known) <= _MOST_LABELS else [n for n, _ in tally.labels.most_common(30)]
    rows = [
        [_label_name(name), f"{tally.labels[name]:,}", _share(tally.labels[name], whole)]
        for name in shown
    ]
    yield html.table(("label", unit, "share"), rows, ".nn")
    if len(known) > len(shown):
        yield html.paragraph(f"{len(known) - len(shown)} rarer labels are left out.")
    if task.kind == "multilabel":
        yield html.paragraph("A row counts for each of its labels.")


def _label_name(name: str) -> str:
    return {".": "(no label)", "NA": "(base not scored)"}.get(name, name)


def _scores(tally: PredictionTally, task: Task) -> Iterator[str]:
    name, unit = score_name(task), task.kind != "regression"
    # Without one the labels go by 0.5.
    threshold = (task.thresholds or (0.5,))[0] if task.kind == "binary" else None
    yield html.heading("Scores")
    figure = histogram(tally, shown_classes(task.shown), name, threshold, unit)
    yield html.figure(as_svg(figure), f"Histogram of the {name}")
    text = f"From {tally.lowest:.4g} to {tally.highest:.4g}, mean {tally.mean:.4g}."
    if task.kind == "binary":
        text += (
            f" The dashed line is the threshold, {threshold:.3g}. Two heaps at the ends: "
            "the task tells these regions apart. One heap in the middle: it does not."
        )
    elif task.kind == "multiclass":
        text += f" Guessing among {len(task.classes)} labels gives {1 / len(task.classes):.2f}."
    yield html.paragraph(html.escape(text))


def _tracks(tally: PredictionTally, task: Task, lengths: Mapping[str, int]) -> Iterator[str]:
    contigs = tracked(tally, lengths)
    if not contigs:
        return
    name = score_name(task)
    yield html.heading("Along the contigs")
    figure = genome_tracks(tally, contigs, lengths, name, task.kind != "regression")
    yield html.figure(as_svg(figure), f"Mean {name} along each contig")
    others = len(tally.contigs) - len(contigs)
    text = f"A bar is the mean {name} of the regions whose middle lies there; no bar, no region."
    if tally.more_contigs or others:
        count = f"more than {others:,}" if tally.more_contigs else f"{others:,}"
        text += f" {count.capitalize()} contigs, shorter or with a single region, are not drawn."
    yield html.paragraph(html.escape(text))


def _lists(tally: PredictionTally, task: Task) -> Iterator[str]:
    lists = {name: places for name, places in tally.lists.items() if places}
    several = len(lists) > 1 or task.kind in ("multiclass", "multilabel", "per-base")
    form = {"per-base": ",", "regression": ".6g"}.get(task.kind, ".4f")
    yield html.heading("The highest")
    for name, places in lists.items():
        named = any(place.name for place in places)
        header = ["", "contig", "start", "end", "strand"]
        by = "bases" if task.kind == "per-base" else "score"
        header += [*(["name"] if named else []), by]
        rows = []
        for number, place in enumerate(places, start=1):
            where = [place.contig, str(place.start), str(place.end), place.strand]
            ranked = format(place.by, form)
            rows.append([str(number), *where, *([place.name] if named else []), ranked])
        if several:
            yield html.paragraph(f"<b>{html.escape(name)}</b>")
        yield html.table(header, rows, f"n.nn.{'.' if named else ''}v")
    by = {
        "per-base": "By bases with the label",
        "regression": f"By {task.class_names[0]}",
        "multilabel": "Regions with the label, by its probability where --probabilities gives it, "
        "else by that of their most probable label",
    }.get(task.kind, "By probability")
    yield html.paragraph(html.escape(f"{by}; of equal ones the first in the input."))


def _trust(task: Task) -> Iterator[str]:
    from dnatk.training.metrics import metrics_of
    from dnatk.training.task_page import estimate_text, metric_name

    metrics = task.metrics.get(task.part, {})
    shown = {
        f"{metric_name(name)} on {task.part}": estimate_text(metrics[name])
        for name in metrics_of(task.kind)
        if name in metrics
    }
    data = task.details.get("data", {})
    if "train" in data:
        shown["trained on"] = f"{data['train']['examples']:,} examples, {data['train']['file']}"
    shown["window"] = f"{task.length:,} bases"
    if task.thresholds and task.kind != "regression":
        shown["threshold"] = ", ".join(f"{each:.3g}" for each in task.thresholds)
    yield html.facts(shown)
    measure = f"To measure others: {html.code('dnatk evaluate TASK labelled.csv')}."
    if task.kind == "regression":
        rarer = ""
    else:
        rarer = (
            "Where a label is rarer than there, as along a whole genome, more of what is given it "
            "is wrong. "
        )
    yield html.paragraph(
        f"These figures hold for regions like those the task was tested on. {rarer}Regions of "
        f"another organism, or chosen in another way, are scored too, with no promise. {measure}"
    )


def _share(part: int, whole: int) -> str:
    share = 100 * part / whole if whole else 0.0
    return "< 0.1 %" if 0 < share < 0.1 else f"{share:.1f} %"
