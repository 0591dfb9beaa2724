"""What docs/howto shows and can be run here gives what the pages show."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest
from pages import DOCS, ROOT, blocks, check_block

HOWTO = DOCS / "howto"


@pytest.mark.parametrize("page", ["offline.md", "pipelines.md"])
def test_consoles_show_what_comes(page, run, tmp_path, monkeypatch, clean_home):
    if page == "pipelines.md" and not shutil.which("bedtools"):
        pytest.skip("there is no bedtools")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    consoles = blocks(HOWTO / page, "console")
    assert consoles
    for block in consoles:
        check_block(block, run, tmp_path)


def test_array_jobs_make_one_file(run, genome, tiny_model, tmp_path, monkeypatch):
    """The command of the Slurm array with two jobs in the place of eight; then the merge."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "genome.fa").symlink_to(genome)
    script = next(b for b in blocks(HOWTO / "clusters.md", "bash") if "--array" in b.text)
    command = re.search(r"^dnatk (.+?)(?<!\\)\n", script.text, re.M | re.S)[1]
    for job in "1", "2":
        line = command.replace("\\\n", " ").replace("$SLURM_ARRAY_TASK_COUNT", "2")
        words = line.replace("$SLURM_ARRAY_TASK_ID", job).split()
        for _ in "once", "and again":
            assert run("-q", *words, "--model", tiny_model).code == 0
    merge = next(b for b in blocks(HOWTO / "clusters.md") if b.text.startswith("dnatk h5 merge"))
    assert "dnatk h5 merge genome.[1-8].h5 -o genome.h5\n" in merge.text
    assert run("h5", "merge", "genome.1.h5", "genome.2.h5", "-o", "genome.h5").code == 0
    assert run("-q", "embed", "genome.fa", "-o", "one.h5", "--model", tiny_model).code == 0
    parts, whole = (run("h5", "export", name).out for name in ("genome.h5", "one.h5"))
    assert parts == whole


@pytest.mark.parametrize(("given", "cores"), [({"SLURM_CPUS_PER_TASK": "16"}, "16"), ({}, "1")])
def test_srun_is_told_the_cores(tmp_path, given, cores):
    """Slurm 22.05 and newer do not hand those of the job on to its steps."""
    for name, text in (
        ("srun", 'printf "%s\\n" "$@" > asked; touch run/dnatk.json'),
        ("scontrol", ":"),
    ):
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "run").mkdir()
    slurm = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "node1", **given}
    script = ROOT / "examples/slurm/pretrain.sbatch"
    subprocess.run(
        ["bash", script, "g.fa", "-o", "run"],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", **slurm},
        check=True,
    )
    assert f"--cpus-per-task={cores}" in (tmp_path / "asked").read_text().splitlines()


def test_memory_messages_are_those_of_the_engine():
    source = (ROOT / "dnatk/inference/engine.py").read_text()
    source = re.sub(r'"\s*f?"', "", source)
    shown = [block.text for block in blocks(HOWTO / "gpu-memory.md", "text")]
    assert len(shown) == 2
    for text in shown:
        said = re.sub(r"^dnatk: (error: )?", "", text.strip())
        # A device as a tensor has it: with its number.
        parts = re.split(r"cuda:0|\d+| \((?=a smaller|shorter)|\)$", said)
        assert all(part in source for part in parts if part), text
    assert shown[0] in (DOCS / "troubleshooting.md").read_text()
