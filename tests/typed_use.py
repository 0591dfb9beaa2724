"""A user's program that uses every public name; ``mypy --strict`` reads it, nobody runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, assert_type

import numpy as np
import pandas as pd

import dnatk


def embeds() -> None:
    options = dnatk.EmbedOptions(pool="max", rc="average", dtype="float32")
    summary = dnatk.embed("genome.fa", Path("out.h5"), bed="a.bed", options=options)
    assert_type(summary, dnatk.EmbedSummary | None)
    if summary is not None:
        assert_type(summary.unscored, dict[dnatk.Status, int])
    regions, vectors = dnatk.read_embeddings("out.h5")
    assert_type(regions, pd.DataFrame)
    assert_type(vectors, np.ndarray)
    in_memory = dnatk.embed_sequences(["ACGT", b"ACGT", vectors], model=Path("model"))
    assert_type(in_memory, np.ndarray[Any, np.dtype[np.float32]])


def predicts() -> None:
    options = dnatk.PredictOptions(probabilities=True)
    summary = dnatk.predict("a.bed", "out.bed", task="promoter", options=options)
    assert_type(summary, dnatk.PredictSummary | None)
    predictions, vectors = dnatk.read_predictions("out.h5")
    assert_type(predictions, pd.DataFrame)
    assert_type(vectors, np.ndarray | None)
    task = dnatk.find_task("promoter")
    assert_type(task, dnatk.Task)
    scorer = dnatk.load_scorer(task, device="cpu")
    assert_type(scorer, dnatk.Scorer)
    assert_type(dnatk.predict_sequences(["ACGT"], task=scorer), pd.DataFrame)


def trains() -> None:
    config = dnatk.PretrainConfig(inputs=("genome.fa",), preset="tiny")
    assert_type(dnatk.pretrain(config, "model"), Path)
    data = dnatk.read_labelled("train.csv", dnatk.ReadOptions(kind="binary"))
    assert_type(data, dnatk.LabelledSet)
    sets = dnatk.split_set(data, "random")
    assert_type(sets, dict[str, dnatk.LabelledSet])
    chosen = dnatk.TaskChoices(name="mine")
    task = dnatk.finetune(dnatk.FinetuneConfig(method="probe"), sets, "task", choices=chosen)
    assert_type(task, dnatk.Task)
    measured = dnatk.evaluate(task, "test.csv")
    assert_type(measured, dnatk.Evaluation)
    assert_type(measured.metrics["mcc"].value, float)


def looks() -> None:
    with dnatk.Genome("genome.fa") as genome:
        assert_type(genome, dnatk.Genome)
        assert_type(genome.lengths, dict[str, int])
        assert_type(genome.fetch("chr1", 0, 9), np.ndarray)
        genome.check(dnatk.Region("chr1", 0, 9))
    assert_type(dnatk.Vocabulary(6).tokens, list[str])
    encoder = dnatk.load_encoder("dnatk-small")
    encoder.eval()
    assert_type(dnatk.__version__, str)


def fails() -> str:
    try:
        dnatk.embed("genome.fa", "out.h5")
    except dnatk.ReferenceError_ as error:  # a kind of InputError
        assert_type(error.line, int | None)
    except (dnatk.NoGenomeError, dnatk.InputError) as error:
        return error.message
    except (dnatk.ModelError, dnatk.TrainingError, dnatk.OutputError):
        pass
    except dnatk.DnatkError as error:
        return str(error)
    return ""
