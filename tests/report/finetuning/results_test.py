"""Before and after fine-tuning: the table, the norms, the pictures, and the job."""

import csv
import json

from helpers import tiny_run
from helpers.jobs import run_job
import jax
import numpy as np
from PIL import Image
import pytest

import jood
from jood import models
from jood.evaluation import benchmark_run
from jood.report import confidence
from jood.report.benchmark import heatmaps
from jood.report.benchmark import plots as benchmark_plots
from jood.report.finetuning import plots
from jood.report.finetuning import results
from jood.training import data as data_lib
from jood.training.forward import look
from jood.training.objectives.patches import Patches
from jood.training.objectives.patches import sample_patches
from jood.training.objectives.true_class_probability import probability

TEXTS = {
    "MSP": "msp()",
    results.NORM: "penultimate_norm()",
    "OOD factor": "ood_factor()",
}
FILES = {
    *("table.txt", "table.md", "table.tex", "table.csv", "results.json"),
    "report.html",
    *(
        f"{name}.{s}"
        for name in ("norms", "heatmaps", "confidences", "locality", "patches")
        for s in ("png", "pdf")
    ),
}


def evaluated(names, seed, shift=0.0):
    rng = np.random.default_rng(seed)
    return benchmark_run.Evaluation(
        0.9 + shift,
        {name: rng.uniform(1, 2, 50) for name in names},
        {
            ood: {name: rng.uniform(0, 1 + shift, 40) for name in names}
            for ood in ("near", "far")
        },
    )


PAIR = results.Pair(
    evaluated(["MSP", results.NORM], 0, shift=0.05), evaluated(list(TEXTS), 1)
)


def test_rows_come_in_pairs_in_the_order_of_the_detectors():
    both = results.joined(PAIR, "SSOD", list(TEXTS))
    assert list(both.id_scores) == [
        "MSP",
        "MSP + SSOD",
        results.NORM,
        f"{results.NORM} + SSOD",
        "OOD factor + SSOD",
    ]
    np.testing.assert_array_equal(both.id_scores["MSP"], PAIR.before.id_scores["MSP"])
    after = PAIR.after.ood_scores["far"]["MSP"]
    np.testing.assert_array_equal(both.ood_scores["far"]["MSP + SSOD"], after)
    assert list(both.ood_scores["near"]) == list(both.id_scores)


def test_norm_ratios_are_means_over_means():
    ratios = results.norm_ratios(PAIR.after)
    scores = PAIR.after.ood_scores["far"][results.NORM]
    expected = scores.mean() / PAIR.after.id_scores[results.NORM].mean()
    np.testing.assert_allclose(ratios["far"], expected)
    assert list(ratios) == ["near", "far"]


@pytest.fixture(scope="module")
def networks():
    benchmark = tiny_run.few(64)
    model = models.create("resnet_small", 8, width=4)
    made = [
        jax.device_get(
            jax.jit(model.init)(jax.random.key(seed), np.zeros((1, 32, 32, 3), "f"))
        )
        for seed in (0, 1)
    ]
    return benchmark, [
        jood.Detector("msp()", model, variables, benchmark.preprocessing)
        for variables in made
    ]


@pytest.mark.slow
def test_a_results_folder_is_whole(networks, tmp_path):
    benchmark, (before, after) = networks
    printed = results.write(
        tmp_path / "results",
        results.FinetuningResults(
            [PAIR, PAIR],
            before,
            after,
            lambda p: sample_patches(p, 0.6),
            label="SSOD",
            benchmark=benchmark,
            detectors=TEXTS,
            configuration={"seeds": 2},
        ),
    )
    folder = tmp_path / "results"
    assert {path.name for path in folder.iterdir()} == FILES
    assert "ID accuracy 95.00 ± 0.00 % before, 90.00 ± 0.00 % after SSOD." in printed
    assert "Mean ‖h‖₂ of OOD over ID" in printed
    rows = list(csv.DictReader((folder / "table.csv").read_text().splitlines()))
    specs = {row["detector"]: row["spec"] for row in rows}
    assert specs["MSP + SSOD"] == specs["MSP"] == "msp()"
    summary = json.loads((folder / "results.json").read_text())
    assert summary["id_accuracy"]["after"] == [0.9, 0.9]
    assert set(summary["norm_ratios"]["before"][0]) == {"near", "far"}
    for path in folder.glob("*.png"):
        pixels = np.asarray(Image.open(path).convert("L"))
        assert min(pixels.shape) > 200
        assert pixels.std() > 10


@pytest.mark.slow
def test_patches_are_drawn_where_they_are_sampled(networks):
    """The tints are the sampler's masks, blue for ID and red for background."""
    benchmark, (before, _) = networks
    images, labels = heatmaps.first_of_classes(benchmark.id_test, 8)
    assert len(images) == 8
    assert sorted(labels) == list(range(8))
    outputs, _ = look(
        before.model,
        before.variables,
        benchmark.preprocessing(images),
        np.array(labels),
        train=False,
    )
    p = np.asarray(probability(outputs))
    low, high = np.quantile(p, [0.3, 0.7])

    def sample(p):
        return Patches(inside=p >= high, outside=p < low)

    drawn = plots.patches(benchmark, {"net": before}, sample)
    masks = (p >= high, p < low)
    assert all(mask.any() for mask in masks)
    for number, axis in enumerate(drawn.axes):
        _, *tints = axis.images  # the image below
        for tint, mask, colour in zip(tints, masks, (2, 0), strict=True):
            layer = np.asarray(tint.get_array())
            found = layer[..., 3] > 0
            np.testing.assert_array_equal(found, mask[number].reshape(4, 4))
            assert (layer[found][:, :3].argmax(-1) == colour).all()  # blue, red


@pytest.mark.slow
def test_the_locality_is_where_the_true_class_has_forty_percent(networks, monkeypatch):
    benchmark, (before, _) = networks
    monkeypatch.setattr(plots, "CONFIDENT", 0.125)  # of a network that knows nothing
    images, labels = heatmaps.first_of_classes(benchmark.id_test, 8)
    outputs, _ = look(
        before.model,
        before.variables,
        benchmark.preprocessing(images),
        np.array(labels),
        train=False,
    )
    mask = np.asarray(probability(outputs)) > 0.125
    assert mask.any()
    assert not mask.all()
    for number, axis in enumerate(plots.locality(benchmark, {"net": before}).axes):
        _, tint = axis.images
        found = np.asarray(tint.get_array())[..., 3] > 0
        np.testing.assert_array_equal(found, mask[number].reshape(4, 4))


def test_confidences_are_probabilities_on_the_axis():
    names = ["MSP", results.NORM]
    evaluation = evaluated(names, 0)  # log-odds above 0
    function = confidence.of("msp()")
    rows = {"before": ("MSP", function), "after": ("MSP", function)}
    drawn = plots.confidences({"before": evaluation, "after": evaluation}, rows)
    inside, _ = drawn.axes[0].containers
    centres = np.array([bar.get_x() + bar.get_width() / 2 for bar in inside])
    heights = np.array([bar.get_height() for bar in inside])
    mean = (centres * heights).sum() / heights.sum()
    odds = evaluation.id_scores["MSP"]
    assert abs(mean - (1 / (1 + np.exp(-odds))).mean()) < 0.02
    assert drawn.axes[0].get_xlim() == (0, 1)
    # The page of launch/evaluate.py has it on its axis, too.
    drawn = benchmark_plots.distributions(evaluation, "MSP", function)
    first = drawn.axes[0]
    assert first.get_xlabel() == "confidence of MSP"
    lefts = [bar.get_x() for part in first.containers for bar in part]
    assert min(lefts) == pytest.approx(0, abs=1e-9)
    assert max(lefts) < 1


def test_what_is_a_confidence():
    logit = np.array([-2.0, 0.0, 3.0])
    sigmoid = 1 / (1 + np.exp(-logit))
    for text in ("msp()", "react(clip=1.0)|msp()", "ood_factor", "ood_factor()"):
        np.testing.assert_allclose(confidence.of(text)(logit), sigmoid)
    np.testing.assert_allclose(confidence.of("joint_posterior()")(np.log(0.3)), 0.3)
    for text in ("energy()", "fuse(a=msp(), b=energy())"):
        assert confidence.of(text) is None


def test_the_training_data_of_a_benchmark_are_its_own():
    data = data_lib.of_benchmark(tiny_run.few(64))
    assert data.class_names == tuple("01234567")


def job(*arguments, name="finetune", ok=True):
    return run_job(name, *arguments, ok=ok)


@pytest.mark.slow
def test_job_compares_before_and_after_and_shares_the_pretrained_network(tmp_path):
    arguments = (
        "--benchmark=digits_tiny",
        "--model=resnet_small",
        "--epochs=1",
        "--pretrain_epochs=2",
        "--detectors=msp, ood_factor()",
        f"--workdir={tmp_path}",
    )
    printed = job("--objective=ssod", *arguments)
    assert "msp + SSOD" in printed
    assert "ood_factor() + SSOD" in printed
    assert {path.name for path in (tmp_path / "ssod" / "results").iterdir()} == FILES
    table = (tmp_path / "ssod" / "results" / "table.txt").read_text()
    assert table in job("--objective=ssod", *arguments)  # it is finished
    trained = (tmp_path / "pretrained" / "seed0" / "14").stat().st_mtime
    printed = job("--objective=lff(mu=2)", *arguments)
    assert "msp + LFF" in printed
    assert (tmp_path / "pretrained" / "seed0" / "14").stat().st_mtime == trained
    assert (
        tmp_path / "lff_delta=0.1_mu=2.0_lam=1.0_reference=start" / "results"
    ).is_dir()
    refused = job("--objective=ssod", *arguments, "--seeds=2", ok=False)
    assert "not overwritten" in refused
    # Its runs make the curves of the values.
    drawn = tmp_path / "curves"
    ask = (f"--workdir={tmp_path}", f"--output={drawn}")
    refused = job(*ask, name="finetune_curves", ok=False)
    assert "1 finished run(s) of lff" in refused
    job("--objective=lff", *arguments)
    printed = job(*ask, "--dry_run", name="finetune_curves")
    assert "draw LFF's mu: 1, 2" in printed
    assert not drawn.exists()
    printed = job(*ask, name="finetune_curves")
    assert "LFF's mu: 1, 2" in printed
    made = {path.name for path in drawn.iterdir()}
    assert {"report.html", "sweeps.csv"} <= made
    assert any(name.endswith(".png") for name in made)
    # The network after is one that others evaluate.
    output = tmp_path / "evaluated"
    run_job(
        "evaluate",
        f"--checkpoint={tmp_path / 'ssod' / 'seed0'}",
        f"--output={output}",
        "--detectors=ood_factor, joint_posterior, fs_ta",
    )
    summary = json.loads((output / "results.json").read_text())
    row = next(csv.DictReader((output / "table.csv").read_text().splitlines()))
    ours = json.loads((tmp_path / "ssod" / "results" / "results.json").read_text())
    (seed,) = ours["metrics_by_seed"]
    (again,) = summary["metrics_by_seed"]
    assert row["detector"] == "ood_factor"
    np.testing.assert_allclose(
        again["ood_factor"]["near"]["AUROC"],
        seed["ood_factor() + SSOD"]["near"]["AUROC"],
        atol=1e-6,
    )
