"""``dnatk models``."""

from __future__ import annotations

import json
import logging
import sys

import click

from dnatk.cli.tables import aligned

log = logging.getLogger(__name__)

_json = click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")


@click.group(
    "models", invoke_without_command=True, short_help="List, show, verify, export and pull models."
)
@_json
@click.pass_context
def command(ctx, as_json):
    """List the models that --model knows by name: shipped ones and your own.

    Your own are the directories under ~/.local/share/dnatk/models ($XDG_DATA_HOME); any other
    model directory is named by its path.

    \b
    Example:
      dnatk models
      dnatk models show dnatk-small
      dnatk models verify
      dnatk models export dnatk-small plain
      dnatk models pull OWNER/NAME
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_, as_json=as_json)
    elif as_json:
        raise click.UsageError(f"--json goes behind {ctx.invoked_subcommand}.")


@command.command("list", short_help="List the models that have a name.")
@_json
def list_(as_json):
    """List the models that --model knows by name, with sizes and sha256.

    \b
    Example:
      dnatk models list
      dnatk models list --json | jq -r '.[].directory'
    """
    from dnatk.errors import ModelError
    from dnatk.model.card import ModelCard
    from dnatk.model.places import known_models

    cards = []
    for name in known_models():
        try:
            card = ModelCard.read(name)
            card.as_dict()
        except (ModelError, OSError) as error:  # of one of them: the others are well
            log.warning("%s", error)
            continue
        cards.append(card)
    if as_json:
        click.echo(json.dumps([card.as_dict() for card in cards], indent=2))
        return
    header = ("name", "layers", "tokens", "parameters", "size", "sha256", "origin")
    rows = [
        (
            card.name,
            _layers(card),
            f"{card.k}-mers" if card.k else card.kind,
            _millions(card.parameters),
            f"{card.bytes / 2**20:.1f} MiB",
            next(iter(card.sha256.values()))[:12],
            card.origin,
        )
        for card in cards
    ]
    click.echo(aligned(header, rows, right=("parameters", "size")))


@command.command("show", short_help="Print a model's card.")
@click.argument("model", metavar="NAME|DIR")
@_json
def show(model, as_json):
    """Print what a model is: sizes, tokens, training, checksums, and its README.

    \b
    Example:
      dnatk models show dnatk-small
      dnatk models show my-run --json
    """
    from dnatk.model.card import ModelCard

    card = ModelCard.read(model)
    if as_json:
        click.echo(json.dumps(card.as_dict(), indent=2))
        return
    facts = list(_facts(card))
    width = max(len(label) for label, _ in facts)
    click.echo(f"# {card.name}\n")
    for label, value in facts:
        click.echo(f"{label.ljust(width)}  {value}")
    if card.text:
        click.echo("\n" + card.text.removeprefix(f"# {card.name}\n").lstrip("\n"))


@command.command("verify", short_help="Check that models are whole.")
@click.argument("models", metavar="[NAME|DIR]...", nargs=-1)
@click.pass_context
def verify(ctx, models):
    """Check files against their recorded sha256, and that each model loads.

    Without an argument all models that have a name are checked. A line for each model or problem;
    exit 1 if there is a problem.

    \b
    Example:
      dnatk models verify
      dnatk models verify my-run
    """
    from dnatk.errors import ModelError
    from dnatk.model.copying import check_model, has_record
    from dnatk.model.places import existing_model, known_models

    bad = False
    for model in models or known_models():
        try:
            problems = check_model(model)
            recorded = has_record(existing_model(model))
        except (ModelError, OSError) as error:  # the others are checked all the same
            problems, recorded = [str(error)], False
        bad |= bool(problems)
        said = "ok, files as recorded, it loads" if recorded else "ok, it loads (no SHA256SUMS)"
        for line in problems or [said]:
            click.echo(f"{model}: {line}")
    ctx.exit(int(bad))


@command.command("export", short_help="Copy a model into a plain transformers directory.")
@click.argument("model", metavar="NAME|DIR")
@click.argument("directory", metavar="NEW_DIR")
@click.option("--force", is_flag=True, help="Replace NEW_DIR if it holds a model.")
@click.pass_obj
def export(console, model, directory, force):
    """Copy a model into NEW_DIR, which transformers loads and dnatk reads.

    The bytes stay as they are, and their sha256 are put beside them. Checkpoints and logs of a
    training run are left out.

    \b
    Example:
      dnatk models export dnatk-small plain
      dnatk embed genome.fa --model plain
      python -c 'from transformers import AutoModel; AutoModel.from_pretrained("plain")'
    """
    from dnatk.model.copying import export_model

    console.say(f"model in {export_model(model, directory, force=force)}")


@command.command("pull", short_help="Download a model from the Hugging Face hub.")
@click.argument("repo", metavar="OWNER/NAME")
@click.option("--revision", default="", help="Branch, tag or commit.  [default: the hub's]")
@click.option("--name", default="", help="What --model shall call it.  [default: NAME]")
@click.option("--force", is_flag=True, help="Replace your model of that name.")
@click.pass_obj
def pull(console, repo, revision, name, force):
    """Download a model from the Hugging Face hub and keep it among your own.

    Only safetensors, configuration and tokenizer files are fetched, never pickles or code. The
    commit and the sha256 of each file are recorded; dnatk checks that it can run the model before
    it is kept. Beside this, only finetune --model OWNER/NAME and tasks made so ask the hub.

    \b
    Example:
      dnatk models pull OWNER/NAME --name mine
      dnatk embed genome.fa --model mine
    """
    from dnatk.model.hub import pull_model

    bars = not console.quiet and sys.stderr.isatty()
    card = pull_model(repo, revision=revision, name=name, force=force, progress=bars)
    console.say(f"{card.directory}: commit {card.pulled['revision'][:12]}; --model {card.name}")


def _facts(card):
    """(label, value) lines of a card."""
    heads = f", {card.heads} heads" if card.heads else ""
    yield "architecture", f"{card.kind}, {_layers(card)}{heads}"
    if card.k and card.positions:
        from dnatk.model.card import longest_window

        longest = longest_window(card.positions, card.k, card.kmer_stride)
        stride = "overlapping" if card.kmer_stride == 1 else f"every {card.kmer_stride} bases"
        yield "tokens", f"{card.k}-mers, {stride}; windows of up to {longest} bases"
    elif card.positions:
        yield "tokens", f"its own tokenizer; {card.positions} positions"
    if card.parameters:
        yield "parameters", f"{_millions(card.parameters)}, {card.dtype}"
    for name, digest in card.sha256.items():
        yield name, f"sha256 {digest}"
    training = card.facts.get("training", [])
    for run in training if isinstance(training, list) else [training]:
        yield "trained", _training(run)
    if card.pulled:
        yield "from", f"{card.pulled.get('repo')}, commit {card.pulled.get('revision')}"
    yield "directory", card.directory


def _training(run):
    """A run of dnatk pretrain in a line."""
    sources = run.get("sources", [])
    bases = sum(source.get("bases", 0) for source in sources)
    return (
        f"{run.get('max_steps')} steps of {run.get('batch_tokens')} tokens, {run.get('masking')}, "
        f"windows of {run.get('window')}; {len(sources)} files, {bases / 1e6:.1f} Mb"
    )


def _layers(card):
    return f"{card.layers} x {card.hidden}" if card.layers and card.hidden else "-"


def _millions(parameters):
    return f"{parameters / 1e6:.1f}M" if parameters else "-"
