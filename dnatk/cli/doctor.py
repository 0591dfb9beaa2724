"""``dnatk doctor``."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from collections import Counter

import click

from dnatk import __version__
from dnatk.cli.options import device_option, precision_option, threads_option

_COLOURS = {"ok": "green", "note": "cyan", "warning": "yellow", "failure": "red"}
_TOPICS = {"selftest": "Self-test"}
_WIDEST, _MARGIN = 100, 11


@click.command("doctor", short_help="Check the installation and the machine.")
@click.option("--json", "as_json", is_flag=True, help="JSON for a bug report, without your name.")
@click.option(
    "--self-test/--no-self-test",
    default=True,
    show_default=True,
    help="Run the shipped model for some two seconds.",
)
@device_option
@precision_option
@threads_option
@click.pass_context
def command(ctx, as_json, **options):
    """Check the installation and the machine, and say what to do about what is wrong.

    A line each: ok, note (good to know), warning (it works, but not well) or failure, and a cure.
    The shipped model and a bundled task are compared with stored results. No network is used.
    Exit 0, or 1 after a failure.

    \b
    Example:
      dnatk doctor
      dnatk doctor --device cuda:1
      dnatk doctor --json > doctor.json
    """
    from dnatk.diagnosis import FAILURE, OK, Asked, diagnose

    if hasattr(sys.stdout, "reconfigure"):  # a report whatever the terminal can show
        sys.stdout.reconfigure(errors="backslashreplace")
    asked = Asked(**options | _settings(ctx, options))
    findings = []
    topic = None
    for finding in diagnose(asked):
        findings.append(finding)
        if as_json:
            continue
        if finding.topic != topic:
            click.echo("" if topic else f"dnatk {__version__}\n")
            topic = finding.topic
            click.echo(_TOPICS.get(topic, topic.capitalize()))
        _show(finding)
        # Should an import end the process, what was found so far is seen.
        sys.stdout.flush()
    if as_json:
        from dnatk.diagnosis.report import report

        click.echo(json.dumps(report(findings), indent=2, allow_nan=False))
    else:
        counts = Counter(finding.level for finding in findings)
        amounts = {level: counts[level] for level in _COLOURS if counts[level]}
        several = {level: "s" * (n > 1 and level != OK) for level, n in amounts.items()}
        said = ", ".join(f"{n} {level}{several[level]}" for level, n in amounts.items())
        click.echo(f"\n{'broken' if counts[FAILURE] else 'fine'}: {said}")
    ctx.exit(int(any(finding.level == FAILURE for finding in findings)))


def _settings(ctx, options):
    """What Asked holds of variables and settings, those of ``options`` too."""
    from dnatk.cli.configured import presets
    from dnatk.cli.keys import configured_commands, variables
    from dnatk.errors import DnatkError

    asked = {"variables": frozenset((*variables(), "DNATK_TEST_DATA"))}
    try:
        for name, preset in presets(ctx).items():
            typed = ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
            if name in options and not typed:
                asked[name] = preset.value
        for name, other in configured_commands().items():
            found = presets(click.Context(other, info_name=name))
            if name == "predict" and "genome" in found:
                asked["genome"] = found["genome"].value, found["genome"].place
    except DnatkError as error:
        asked["settings_fault"] = str(error)
    return asked


def _show(finding):
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    margin = " " * _MARGIN
    lines = textwrap.wrap(
        finding.text,
        max(width, 40),
        initial_indent=margin,
        subsequent_indent=margin,
        break_long_words=False,
        break_on_hyphens=False,
    )
    level = finding.level.ljust(_MARGIN - 2)
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    if not plain:  # in a pipe click takes colours away
        level = click.style(level, fg=_COLOURS[finding.level])
    click.echo(f"  {level}{lines[0].lstrip()}")
    for line in lines[1:]:
        click.echo(line)
    if finding.cure:
        click.echo(f"{margin}cure: {finding.cure}")
