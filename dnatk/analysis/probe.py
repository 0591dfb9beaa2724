"""A linear probe: what a logistic regression reads off a feature set.

Shapes: N rows, D columns.
"""

from __future__ import annotations

import numpy as np

from dnatk.errors import InputError

GRID = [10.0**e for e in range(-5, 3)]


def probe(
    x_ND: np.ndarray, label_N: np.ndarray, contig_N: np.ndarray, test_N: np.ndarray, jobs: int
) -> tuple[np.ndarray, dict[str, float]]:
    """Logistic regression on the training rows: P(promoter) of the test rows, and how it was set.

    Standardisation and C are learnt from training rows alone, C by cross-validation over contigs.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    contigs = len(set(contig_N[~test_N]))
    if contigs < 2:
        raise InputError("cross-validation needs two training contigs or more")
    search = GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=10_000)),
        {"logisticregression__C": GRID},
        cv=GroupKFold(min(5, contigs)),
        scoring="roc_auc",
        n_jobs=jobs,
    )
    search.fit(x_ND[~test_N], label_N[~test_N], groups=contig_N[~test_N])
    chosen = {"C": search.best_params_["logisticregression__C"], "cv_auroc": search.best_score_}
    return search.predict_proba(x_ND[test_N])[:, 1], chosen


def score(label_N: np.ndarray, probability_N: np.ndarray) -> dict[str, float]:
    """AUROC, AUPRC (average precision) and accuracy at 0.5."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    return {
        "auroc": float(roc_auc_score(label_N, probability_N)),
        "auprc": float(average_precision_score(label_N, probability_N)),
        "accuracy": float(((probability_N > 0.5) == label_N).mean()),
    }
