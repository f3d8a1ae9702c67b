"""Evaluation: one pass per set, the numbers of the table, and nothing else."""

import re

import jax
import numpy as np
import pytest

import jood
from jood import cli
from jood import metrics
from jood import models
from jood import presets
from jood.data import benchmarks
from jood.evaluation import benchmark_run
from jood.methods import detector_text
from jood.methods import preset_values
from jood.report.benchmark import table_csv
from jood.report.benchmark import tables


@pytest.fixture(scope="module")
def digits():
    return benchmarks.get("digits_tiny")


@pytest.fixture(scope="module")
def result(digits):
    model = models.create("resnet_small", 8, width=4)
    variables = model.init(jax.random.key(0), np.zeros([1, 32, 32, 3], np.float32))
    texts = {"MSP": "msp()", "FS": "feature_sim()", "ReAct": "react(q=0.9)|energy()"}
    detector = benchmark_run.make_detector(texts, digits, model, variables)
    fitted, result = benchmark_run.evaluate(detector, digits, batch_size=96)
    return fitted, result, model, variables


@pytest.mark.slow
def test_every_image_is_scored_once_without_padding(digits, result):
    _, found, *_ = result
    assert found.id_scores["MSP"].shape == (len(digits.id_test),)
    assert list(found.ood_scores) == list(digits.ood)
    for scores in found.ood_scores.values():
        assert scores["FS"].shape == (64,)


@pytest.mark.slow
def test_python_s_way_gives_the_numbers_of_the_job(digits, result):
    # A confident network: MSP is 1.0 in float32 for images that differ.
    *_, model, variables = result
    head = {name: 4000 * array for name, array in variables["params"]["head"].items()}
    variables = {**variables, "params": {**variables["params"], "head": head}}
    parts = {"MSP": jood.scores.msp(), "mine": jood.scores.max_logit()}
    own = jood.Detector(jood.bundle(**parts), model, variables, digits.preprocessing)
    texts = {"MSP": "MSP", "mine": "max_logit()"}
    job = benchmark_run.make_detector(texts, digits, model, variables)
    made = benchmark_run.make_detector(parts, digits, model, variables)
    assert own.component.spec == job.component.spec == made.component.spec
    found = [
        benchmark_run.evaluate(one, digits, batch_size=96)[1] for one in (own, job)
    ]
    assert found[0].metrics() == found[1].metrics()
    saturated = np.asarray(own(digits.id_test.images[:96])["MSP"])
    assert len(np.unique(saturated)) < len(np.unique(found[0].id_scores["MSP"][:96]))


@pytest.mark.slow
def test_scores_and_accuracy_are_those_of_the_plain_network(digits, result):
    fitted, found, model, variables = result
    images = digits.preprocessing(digits.id_test.images)
    logits = np.asarray(model.apply(variables, images))
    p = np.exp((logits - logits.max(-1, keepdims=True)).astype(np.float64))
    p = (p / p.sum(-1, keepdims=True)).max(-1)
    # MSP is ranked by its log odds.
    np.testing.assert_allclose(found.id_scores["MSP"], np.log(p / (1 - p)), atol=1e-4)
    accuracy = (logits.argmax(-1) == digits.id_test.labels).mean()
    np.testing.assert_allclose(found.accuracy, accuracy)
    assert fitted.fitted is not None


@pytest.mark.slow
def test_table_averages_and_marks_the_best(digits, result):
    _, found, *_ = result
    table = tables.build([found], ["MSP", "FS"], digits)
    assert table.columns == [tables.FAR, tables.ALL, *digits.ood]
    each = [
        100 * metrics.auroc(found.id_scores["FS"], scores["FS"])
        for scores in found.ood_scores.values()
    ]
    np.testing.assert_allclose(table.mean("FS", tables.ALL, "AUROC"), np.mean(each))
    np.testing.assert_allclose(table.mean("FS", tables.FAR, "AUROC"), np.mean(each[1:]))
    best = max(table.mean(n, "near", "AUROC") for n in table.detectors)
    assert f"**{best:.1f}**" in tables.text(table, "github")
    assert f"\\textbf{{{best:.1f}}}" in tables.text(table, "latex_booktabs")
    assert "\\toprule" in tables.text(table, "latex_booktabs")


def test_several_seeds_give_mean_and_standard_deviation(digits, result):
    _, found, *_ = result
    shifted = benchmark_run.Evaluation(
        found.accuracy + 0.1,
        {name: scores + 0.01 for name, scores in found.id_scores.items()},
        found.ood_scores,
    )
    table = tables.build([found, shifted], ["MSP"], digits)
    values = [
        100 * metrics.auroc(e.id_scores["MSP"], e.ood_scores["near"]["MSP"])
        for e in (found, shifted)
    ]
    np.testing.assert_allclose(table.mean("MSP", "near", "AUROC"), np.mean(values))
    np.testing.assert_allclose(
        table.std("MSP", "near", "AUROC"), np.std(values, ddof=1)
    )
    assert f"{np.mean(values):.1f}±{np.std(values, ddof=1):.1f}" in tables.text(table)
    assert "±" in tables.heading(table, digits.protocol)


def test_csv_has_a_line_per_detector_and_column_with_all_metrics(digits, result):
    _, found, *_ = result
    table = tables.build([found], ["MSP", "FS"], digits)
    text = table_csv.as_csv(table, {"MSP": "msp()", "FS": "feature_sim()"})
    lines = text.splitlines()
    assert len(lines) == 1 + 2 * len(table.columns)
    for metric in metrics.COLUMNS:
        assert f"{metric}_percent" in lines[0]
    assert f"{table.mean('FS', 'near', 'AUPR-in'):.2f}" in text


@pytest.mark.parametrize("benchmark", preset_values.BENCHMARKS)
def test_default_table_has_at_least_twelve_readable_rows(benchmark):
    rows = presets.table(benchmark)
    assert len(rows) >= 12
    for text in rows.values():
        assert detector_text.parse(text).slot == "score"


def test_forward_leaves_out_what_needs_a_gradient_or_other_images():
    every, kept = (
        {name: row.component.spec for name, row in rows.items()}
        for rows in (
            cli.detectors(group, "cifar10", "densenet100_cifar")
            for group in ("all", "forward")
        )
    )
    assert kept.items() <= every.items()
    left_out = [every[name] for name in every if name not in kept]
    words = r"\b(i?odin|adascale_.|csi|mahalanobis_ensemble|feature_norm_selected)"
    words += r"(_marginal)?\("
    assert all(re.search(words, text) for text in left_out)
    assert not any(re.search(words, text) for text in kept.values())
