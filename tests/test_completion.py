"""Shell completion: what is offered, how quickly, and in a real bash."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from dnatk.cli import COMMANDS


def offered(line: str, home, shell: str = "bash") -> list[str]:
    """What dnatk answers a shell; the last word is the one being typed."""
    words = line.split(" ")
    script = (
        "import sys\nfrom dnatk.cli import main\n"
        "try:\n    main()\nfinally:\n"
        "    heavy = {'torch', 'numpy', 'rich', 'h5py', 'pandas'} & set(sys.modules)\n"
        "    assert not heavy, heavy\n"
    )
    environment = {
        **os.environ,
        "XDG_DATA_HOME": str(home),
        "_DNATK_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1) if shell != "fish" else words[-1],
    }
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def home(tmp_path):
    """One task and one model of the user's own."""
    for kind, file in (("tasks", "task.json"), ("models", "config.json")):
        directory = tmp_path / "dnatk" / kind / f"promo-my-{kind}"
        directory.mkdir(parents=True)
        (directory / file).write_text("{}")
    return tmp_path


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("dnatk em", ["plain,embed"]),
        ("dnatk h5 ex", ["plain,export"]),
        ("dnatk embed --po", ["plain,--pool"]),
        ("dnatk embed --pool m", ["plain,mean", "plain,max"]),
        ("dnatk embed --bed reg", ["file,reg"]),
        ("dnatk embed gen", ["file,gen"]),
        ("dnatk pretrain a.fa b", ["file,b"]),
        ("dnatk pretrain a.fa -o mod", ["dir,mod"]),
        ("dnatk predict --task pro", ["dir,pro", "plain,promo-my-tasks", "plain,promoter"]),
        ("dnatk tasks show yea", ["dir,yea", "plain,yeast-promoter"]),
        ("dnatk evaluate yea", ["dir,yea", "plain,yeast-promoter"]),
        ("dnatk embed x --model ", ["dir,", "plain,dnatk-small", "plain,promo-my-models"]),
        ("dnatk inspect dn", ["dir,dn", "plain,dnatk-small"]),
        ("dnatk models show dn", ["dir,dn", "plain,dnatk-small"]),
        ("dnatk models verify dn", ["dir,dn", "plain,dnatk-small"]),
        ("dnatk models verify x pro", ["dir,pro", "plain,promo-my-models"]),
        ("dnatk config show ev", ["file,ev", "plain,evaluate"]),
        ("dnatk config show p", ["file,p", "plain,predict", "plain,pretrain"]),
        ("dnatk completion ", ["plain,bash", "plain,zsh", "plain,fish"]),
    ],
)
def test_what_is_offered_without_loading_anything_heavy(line, wanted, home):
    assert offered(line, home) == wanted


def test_every_command_is_offered_with_its_help(home):
    answer = "\n".join(offered("dnatk ", home, "zsh"))
    for name, text in COMMANDS.items():
        assert f"plain\n{name}\n{text}" in answer.replace("\\", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_printed_and_its_place_told(run, shell):
    result = run("completion", shell)
    assert (result.code, result.err) == (0, "")
    assert "_DNATK_COMPLETE" in result.out
    assert {"bash": "bash-completion/completions", "zsh": "$fpath", "fish": "dnatk.fish"}[
        shell
    ] in run("completion", "--help").out


def test_an_unknown_shell_is_refused(run):
    result = run("completion", "tcsh")
    assert result.code == 2
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish'" in result.err


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash here")
def test_bash_completes_with_the_script(run, tmp_path):
    """bash sources the script and asks it as it does when Tab is pressed."""
    (tmp_path / "dnatk").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m dnatk "$@"\n')
    (tmp_path / "dnatk").chmod(0o755)
    (tmp_path / "script").write_text(run("completion", "bash").out)
    ask = (
        "source ./script\n"
        "COMP_WORDS=(dnatk predict --task yea); COMP_CWORD=3\n"
        "compopt() { :; }\n"  # which works only while Tab is pressed
        "_dnatk_completion dnatk\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
        "complete -p dnatk\n"
    )
    done = subprocess.run(
        ["bash", "-c", ask], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert "yeast-promoter" in done.stdout.splitlines(), done.stderr
    assert "-F _dnatk_completion dnatk" in done.stdout
