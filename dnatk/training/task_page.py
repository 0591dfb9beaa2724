"""report.html of a task, and the page of an evaluation: how good it is, on what, and its use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isnan

from dnatk import __version__
from dnatk.labelled.doctor import HEADER
from dnatk.output import page as html
from dnatk.tasks.task import Task
from dnatk.training.metrics import HIGHER_IS_BETTER, PRIMARY, metrics_of
from dnatk.undefined import mean_and_sd

REPORT_FILE = "report.html"

# metric -> (name, what it says)
_METRICS = {
    "accuracy": ("accuracy", "share of labels told right"),
    "f1": ("F1", "precision and recall in one"),
    "mcc": ("MCC", "agreement with the labels, 0 as good as guessing, 1 all right"),
    "auroc": ("AUROC", "chance that a positive scores above a negative, 0.5 is guessing"),
    "auprc": ("AUPRC", "average precision, guessing gives the share of positives"),
    "brier": ("Brier", "squared error of the probabilities, lower is better"),
    "ece": ("ECE", "how far probabilities are from the shares observed, lower is better"),
    "nll": ("log loss", "natural logarithm, lower is better"),
    "pearson": ("Pearson", "linear correlation of predicted and true values"),
    "spearman": ("Spearman", "correlation of ranks"),
    "r2": ("R2", "share of the variance explained, below 0 worse than the mean"),
    "mse": ("MSE", "mean squared error, in the values' own unit, lower is better"),
}
# plot -> (what it shows, how to read it)
_PLOTS = {
    "roc": (
        "ROC curve",
        "The further to the upper left, the better; the dashed diagonal is guessing.",
    ),
    "pr": (
        "Precision and recall",
        "Of what is called positive, the share that is, against the share of positives found. "
        "Among rarer positives than these, precision is lower.",
    ),
    "calibration": (
        "Calibration",
        "On the diagonal a probability of 0.8 is right eight times in ten. Below it the task is "
        "too sure of itself.",
    ),
    "confusion": ("Confusion matrix", "Rows are the truth: the diagonal is what was told right."),
    "scatter": ("Predicted against true values", "On the dashed line all would be right."),
    "learning_curve": (
        "Learning curve",
        "A dev loss that rises while that of training falls: the task learns its examples by "
        "heart; the ringed step is the one that was kept. A dev metric that still rises at the "
        "end: train longer.",
    ),
}
_MOST_CONTIGS = 30


def task_page(task: Task, plots: Mapping[str, str]) -> str:
    """The page of a task that has been trained; plots are name -> SVG."""
    data = task.details["data"]
    numbers = {
        **_headline(task, task.metrics[task.part], f"on {task.part}"),
        "training examples": f"{data['train']['examples']:,}",
        "bases a window": f"{task.length:,}",
    }
    body = [
        html.paragraph(_lead(task), "lead"),
        html.tiles(numbers),
        html.heading("How good it is"),
        *_measured(task),
        *_figures(plots, f"the {task.part} set"),
        html.heading("The data"),
        *_data(task),
    ]
    if "learning_curve" in plots:
        body += [html.heading("How it learnt"), _figure(plots, "learning_curve")]
    body += [html.heading("Use it"), *_use(task), html.heading("How it was made"), _made(task)]
    footer = f"dnatk {html.escape(__version__)}. All numbers are in {html.code('task.json')}."
    return html.page(task.name, body, kind="dnatk finetune", footer=footer)


def evaluation_page(
    task: Task,
    metrics: Mapping[str, dict],
    plots: Mapping[str, str],
    *,
    data: Mapping[str, object],
    unscored: int = 0,
    notes: list[str],
) -> str:
    """The page of ``dnatk evaluate``.

    Args:
        metrics: name -> value, low, high.
        plots: name -> SVG.
        data: as :func:`dnatk.training.publish.describe` has it.
        unscored: examples that were left out.
        notes: why a metric is undefined.
    """
    examples = int(str(data["examples"])) - unscored
    before = {"here": metrics, **{part: task.metrics[part] for part in _parts(task)}}
    body = [
        html.paragraph(_lead(task), "lead"),
        *map(html.note, notes),
        html.tiles({**_headline(task, metrics, "here"), "examples": f"{examples:,}"}),
    ]
    if unscored:
        body.append(html.note(f"{unscored:,} example(s) left out: no k-mer free of N"))
    body += [
        html.heading("How good it is here"),
        _table(task.kind, before),
        html.paragraph(
            "Intervals are 95 % percentile bootstrap over examples. The columns beside are what "
            "the task measured when it was trained. Well below them: these data differ from those "
            "it was trained on. Well above: were these sequences among them?"
        ),
        *_figures(plots, "these data"),
        html.heading("The data"),
        _sets(task, {"here": dict(data)}),
    ]
    footer = (
        f"dnatk {html.escape(__version__)}; task {html.code(str(task.name))}, sha256 "
        f"{html.code(task.sha256()[:16])}; trunk {html.code(task.trunk.name)}, sha256 "
        f"{html.code(task.trunk.sha256[:16])}."
    )
    return html.page(f"{task.name} on {data['file']}", body, kind="dnatk evaluate", footer=footer)


def metric_name(metric: str) -> str:
    """As people write it."""
    return _METRICS[metric][0]


def estimate_text(estimate: Mapping[str, float] | None) -> str:
    """A metric with its interval, "" where there is none."""
    if estimate is None:
        return ""
    if isnan(estimate["value"]):
        return "undefined"
    if "low" not in estimate or isnan(estimate["low"]):
        return _number(estimate["value"])
    low, high = (_number(estimate[end]) for end in ("low", "high"))
    return f"{_number(estimate['value'])} ({low} to {high})"


def _number(value: float) -> str:
    """Three decimals; an error in large units may have more digits than it has decimals."""
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:.4g}"


def _lead(task: Task) -> str:
    names = task.class_names
    shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    described = f"{html.escape(task.description.rstrip('.'))}. " if task.description else ""
    return f"{described}Labels: {task.kind} ({html.escape(shown)})."


def _headline(task: Task, metrics: Mapping[str, dict], where: str) -> dict[str, str]:
    """The metric that chose the task and, of classes, another one."""
    chosen = task.details.get("config", {}).get("metric") or PRIMARY[task.kind]
    wanted = [chosen, "spearman" if task.kind == "regression" else "auroc"]
    found = {}
    for metric in dict.fromkeys(wanted):
        estimate = metrics.get(metric)
        if estimate is not None and not isnan(estimate["value"]):
            found[f"{metric_name(metric)} {where}"] = f"{estimate['value']:.3f}"
    return found


def _parts(task: Task) -> list[str]:
    return [name for name in ("test", "test_unleaked", "dev") if name in task.metrics]


def _table(kind: str, parts: Mapping[str, Mapping[str, dict]]) -> str:
    rows = [
        [metric_name(metric), *(estimate_text(each.get(metric)) for each in parts.values())]
        for metric in metrics_of(kind)
    ]
    said = "; ".join(f"<b>{metric_name(m)}</b> {_METRICS[m][1]}" for m in metrics_of(kind))
    table = html.table(["", *parts], rows, "." + "v" * len(parts))
    return f"{table}\n{html.reading(f'{said}.')}"


def _measured(task: Task) -> Iterator[str]:
    parts = _parts(task)
    yield _table(task.kind, {part: task.metrics[part] for part in parts})
    text = "In brackets 95 % intervals, percentile bootstrap over examples."
    if "test" in parts:
        text += " dev chose the training's best step, so judge by test."
    else:
        text += " There was no test set: dev chose the best step, so these figures flatter."
    if "test_unleaked" in parts:
        text += " test_unleaked leaves out the test sequences that stand in train."
    yield html.paragraph(text)
    seeds = task.details.get("seeds", {})
    if len(seeds) > 1:
        yield html.paragraph(
            f"{len(seeds)} seeds were trained; seed {task.details['seed']}, the best on dev, is "
            "kept. Mean ± standard deviation of all:"
        )
        both = [part for part in ("test", "dev") if part in next(iter(seeds.values()))]
        yield html.table(["", *both], _over_seeds(task.kind, seeds, both), "." + "v" * len(both))


def _over_seeds(kind: str, seeds: Mapping[str, dict], parts: list[str]) -> Iterator[list[str]]:
    for metric in metrics_of(kind):
        values = [[run[part][metric] for run in seeds.values()] for part in parts]
        yield [metric_name(metric), *map(mean_and_sd, values)]


def _figures(plots: Mapping[str, str], where: str) -> Iterator[str]:
    """All but the learning curve, each with how it is read."""
    names = [name for name in _PLOTS if name in plots and name != "learning_curve"]
    if names:
        yield html.paragraph(f"The figures are of {html.escape(where)}.")
        yield html.pair(*(_figure(plots, name) for name in names))


def _figure(plots: Mapping[str, str], name: str) -> str:
    title, read = _PLOTS[name]
    return html.figure(plots[name], title, f"<b>{title}.</b> {read}")


def _data(task: Task) -> Iterator[str]:
    details = task.details
    yield _sets(task, details["data"])
    if details.get("split"):
        yield html.paragraph(f"Split: {html.escape(details['split'])}.")
    check = details.get("check")
    if check:
        yield html.paragraph("What the check of the data found, in the data as trained on:")
        numbers = "n" * (len(HEADER) - 3)
        yield html.table(HEADER, check["rows"], f".n.{numbers}")
        yield from map(html.note, check["flaws"])
        if not check["flaws"]:
            yield html.paragraph("Nothing to complain of: no leaks, no conflicts, no duplicates.")
    for name, data in details["data"].items():
        contigs = data.get("contigs", [])
        if contigs:
            more = (
                f" and {len(contigs) - _MOST_CONTIGS} more" if len(contigs) > _MOST_CONTIGS else ""
            )
            shown = html.escape(", ".join(contigs[:_MOST_CONTIGS]) + more)
            yield html.paragraph(f"Contigs of {name}: {shown}.")


def _sets(task: Task, sets: Mapping[str, dict]) -> str:
    rows = []
    for name, data in sets.items():
        counts = [] if task.kind == "regression" else data["classes"].items()
        shown = ", ".join(f"{label}: {count:,}" for label, count in list(counts)[:12])
        more = f", {len(counts) - 12} more" if len(counts) > 12 else ""
        rows.append(
            [name, data["file"], f"{data['examples']:,}", shown + more, data["sha256"][:16]]
        )
    unit = "bases by class" if task.kind == "per-base" else "by class"
    return html.table(["set", "file", "examples", unit, "sha256"], rows, "..n..")


def _use(task: Task) -> Iterator[str]:
    yield html.paragraph(f"{html.code('TASK')} is the directory that this page lies in.")
    yield html.commands(
        "dnatk predict --task TASK regions.bed --genome genome.fa -o scored.bed",
        "dnatk predict --task TASK sequences.fa --report scored.html -o scored.tsv",
        "dnatk evaluate TASK labelled.csv",
    )
    needs = " Regions need a strand." if task.stranded else ""
    yield html.paragraph(
        f"Windows of {task.length:,} bases; a region is brought to that length by "
        f"{html.code(f'--fit {task.fit}')}, its windows are combined by "
        f"{html.escape(task.combine)}.{needs}"
    )
    yield html.paragraph(
        "A score means something only for regions that resemble those above: the same kind of "
        "organism, the same way of choosing the negatives."
    )


def _made(task: Task) -> str:
    config = task.details["config"]
    trunk = f"{'random weights of ' if config['from_scratch'] else ''}{task.trunk.name}"
    shown = {
        "trunk": f"{trunk} (sha256 {task.trunk.sha256[:16]})",
        "method": f"{task.method}, pool {task.head['pool']}",
        "other strand": "averaged" if task.rc == "average" else "not read",
    }
    if task.kind != "regression":
        shown["temperature"] = f"{task.temperature:.3f} (probabilities are calibrated on dev)"
    if task.thresholds:
        shown["threshold"] = ", ".join(f"{threshold:.3g}" for threshold in task.thresholds)
    metric = config["metric"]
    best = "highest" if HIGHER_IS_BETTER[metric] else "lowest"
    shown["chosen by"] = f"the {best} {metric_name(metric)} on dev, seed {task.details['seed']}"
    said = ("model", "method", "from_scratch", "pool", "metric", "seed")
    options = [f"{k} {v}" for k, v in config.items() if k not in said and v not in ("", None)]
    return html.facts({**shown, "options": ", ".join(options)})
