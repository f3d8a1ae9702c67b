"""Curves of an objective's values are read from the runs that differ in one alone."""

import json

import numpy as np
import pytest

from jood.report.finetuning import curves
from jood.report.hyperparameters import results
from jood.training import objectives


def finished(workdir, text, auroc, epochs=10, label="LFF"):
    """Writes what launch/finetune.py leaves, with two seeds."""
    folder = workdir / text / "results"
    folder.mkdir(parents=True)

    def seed(shift):
        rows = {}
        for row in ("MSP", f"MSP + {label}"):
            cell = {"AUROC": auroc + shift, "FPR95": 0.5}
            rows[row] = {"near": cell, "far": cell, "mean": cell}
        return rows

    spec = objectives.parse(text).spec
    summary = {
        "configuration": {"objective": spec, "epochs": epochs, "benchmark": "digits"},
        "id_accuracy": {"before": [0.9, 0.9], "after": [auroc, auroc + 0.1]},
        "norm_ratios": {"after": [{"near": 1.0, "far": 0.9}]},
        "metrics_by_seed": [seed(0.0), seed(0.02)],
    }
    (folder / "results.json").write_text(json.dumps(summary))


def test_a_run_counts_where_it_differs_in_one_value(tmp_path):
    finished(tmp_path, "lff", 0.80)
    finished(tmp_path, "lff(mu=3)", 0.85)
    finished(tmp_path, "lff(mu=2)", 0.83)
    finished(tmp_path, "lff(delta=0.2)", 0.70)
    finished(tmp_path, "lff(mu=2, delta=0.2)", 0.10)
    finished(tmp_path, "cross_entropy", 0.20)
    runs = curves.read(tmp_path, "lff")
    assert len(runs) == 5
    found = {curve.sweep.name: curve for curve in curves.per_value(runs, "lff")}
    # One point is not a curve: no lam.
    assert list(found) == ["delta", "delta (mu=2.0)", "mu", "mu (delta=0.2)"]
    delta, mu = found["delta"], found["mu"]
    assert (delta.sweep.name, mu.sweep.name) == ("delta", "mu")
    assert list(mu.sweep.values) == [1.0, 2.0, 3.0]
    assert list(delta.sweep.values) == [0.1, 0.2]
    assert (mu.sweep.usual, delta.sweep.usual) == (1.0, 0.1)
    assert list(mu.auroc) == ["MSP + LFF"]
    assert list(mu.auroc["MSP + LFF"]) == ["near", "far"]
    np.testing.assert_allclose(mu.auroc["MSP + LFF"]["far"], [0.81, 0.84, 0.86])
    np.testing.assert_allclose(mu.accuracy, [0.85, 0.88, 0.90])
    np.testing.assert_allclose(delta.mean("auroc", "MSP + LFF"), [0.81, 0.71])


def test_other_values_need_not_be_the_defaults(tmp_path):
    for mu, auroc in ((1, 0.7), (2, 0.9), (3, 0.8)):
        finished(tmp_path, f"lff(delta=0.01, mu={mu})", auroc)
    finished(tmp_path, "lff(delta=0.02, mu=2)", 0.6)
    delta, mu = curves.per_value(curves.read(tmp_path, "lff"), "lff")
    assert (delta.sweep.name, mu.sweep.name) == ("delta (mu=2.0)", "mu (delta=0.01)")
    assert list(mu.sweep.values) == [1.0, 2.0, 3.0]
    np.testing.assert_allclose(delta.auroc["MSP + LFF"]["far"], [0.91, 0.61])
    assert delta.sweep.usual is mu.sweep.usual is None  # that of other values
    # A set of its own for each setting of the others.
    finished(tmp_path, "lff", 0.5)
    finished(tmp_path, "lff(mu=2)", 0.4)
    found = curves.per_value(curves.read(tmp_path, "lff"), "lff")
    names = [curve.sweep.name for curve in found]
    assert {"mu", "mu (delta=0.01)"} < set(names)
    assert len(set(names)) == len(names)


def test_a_value_may_be_a_word(tmp_path):
    for balance, auroc in (("lwb", 0.9), ("dr", 0.8), ("lw", 0.7)):
        finished(tmp_path, f"ssod(balance='{balance}')", auroc, label="SSOD")
    finished(tmp_path, "ssod(alpha=0.5)", 0.6, label="SSOD")
    alpha, balance = curves.per_value(curves.read(tmp_path, "ssod"), "ssod")
    assert list(balance.sweep.values) == ["dr", "lw", "lwb"]
    assert list(alpha.sweep.values) == [0.5, 1.0]
    np.testing.assert_allclose(balance.auroc["MSP + SSOD"]["far"], [0.81, 0.71, 0.91])
    configuration = {"benchmark": "digits"}
    written = {"name": "Digits", "protocol": "", "configuration": configuration}
    results.write(tmp_path / "drawn", [balance], **written)
    assert (tmp_path / "drawn" / "sweep_balance.png").is_file()
    assert "balance,lwb," in (tmp_path / "drawn" / "sweeps.csv").read_text()


def test_runs_with_other_flags_are_refused(tmp_path):
    finished(tmp_path, "lff", 0.8)
    finished(tmp_path, "lff(mu=2)", 0.8, epochs=3)
    with pytest.raises(ValueError, match="different --epochs: 10, 3"):
        curves.read(tmp_path, "lff")


def test_one_run_is_no_curve(tmp_path):
    finished(tmp_path, "lff", 0.8)
    with pytest.raises(ValueError, match="1 finished run"):
        curves.read(tmp_path, "lff")


@pytest.mark.parametrize("text", ['{"configuration": {"obj', "", "[]", "{}", "null"])
def test_truncated_results_are_named(tmp_path, text):
    folder = tmp_path / "a" / "results"
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(text)
    with pytest.raises(ValueError, match=r"results\.json is truncated or no results"):
        curves.read(tmp_path, "lff")
