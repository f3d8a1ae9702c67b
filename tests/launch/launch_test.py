"""The jobs, run as a user runs them, on tiny real data."""

import csv
import json
import re

from helpers import narrow_model
from helpers.jobs import run_job as launch
import numpy as np
from PIL import Image
import pytest

from jood import presets
from jood.evaluation import paper_grids

RESULTS = {
    "table.txt", "table.md", "table.tex", "table.csv", "results.json",
    "histograms.png", "histograms.pdf", "roc.png", "roc.pdf",
    "heatmaps.png", "heatmaps.pdf", "mistakes.csv", "report.html",
    "tsne.png", "tsne.pdf", "distributions.png", "distributions.pdf",
    "intensities.png", "intensities.pdf",
}  # fmt: skip
TINY = ("--epochs=1", "--batch_size=128")


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("quickstart")
    arguments = ("--benchmark=digits_tiny", f"--workdir={workdir}", *TINY)
    return workdir, arguments, launch("quickstart", *arguments)


@pytest.mark.slow
def test_quickstart_writes_a_complete_results_folder(quickstart):
    workdir, _, printed = quickstart
    results = workdir / "results"
    assert {path.name for path in results.iterdir()} == RESULTS
    assert (results / "table.txt").read_text() in printed
    rows = list(csv.DictReader((results / "table.csv").read_text().splitlines()))
    assert len({row["detector"] for row in rows}) >= 12
    assert {"near", "background", "other_photo", "gaussian", "uniform"} <= {
        row["ood_set"] for row in rows
    }
    summary = json.loads((results / "results.json").read_text())
    assert summary["configuration"]["seed"] == 0
    assert {"jood", "jax", "python"} <= set(summary["versions"])
    assert not [path for path in workdir.iterdir() if path.name.startswith(".")]


@pytest.mark.slow
def test_pictures_are_not_blank(quickstart):
    workdir, *_ = quickstart
    for path in (workdir / "results").glob("*.png"):
        pixels = np.asarray(Image.open(path).convert("L"))
        assert min(pixels.shape) > 300
        assert pixels.std() > 10


@pytest.mark.slow
def test_same_seed_gives_the_same_table_in_another_folder(quickstart, tmp_path):
    workdir, arguments, _ = quickstart
    others = [a for a in arguments if "workdir" not in a]
    launch("quickstart", *others, f"--workdir={tmp_path}")
    for name in ("table.csv", "table.txt"):
        again = (tmp_path / "results" / name).read_text()
        assert again == (workdir / "results" / name).read_text()


@pytest.mark.slow
def test_a_finished_job_shows_its_table_and_other_results_are_not_overwritten(
    quickstart,
):
    workdir, arguments, _ = quickstart
    table = (workdir / "results" / "table.txt").read_text()
    assert table in launch("quickstart", *arguments)
    printed = launch("quickstart", *arguments, "--detectors=msp", ok=False)
    assert "not overwritten" in printed
    assert (workdir / "results" / "table.txt").read_text() == table


@pytest.mark.slow
def test_several_seeds_in_bfloat16_give_mean_and_standard_deviation(tmp_path):
    printed = launch(
        "quickstart",
        "--benchmark=digits_tiny",
        f"--workdir={tmp_path}",
        "--seeds=2",
        "--dtype=bfloat16",
        "--detectors=msp, fs_ta_energy",
        *narrow_model.FLAGS,
        *TINY,
    )
    assert "±" in printed
    summary = json.loads((tmp_path / "results" / "results.json").read_text())
    assert len(summary["id_accuracy"]) == 2
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == [
        "seed0",
        "seed1",
    ]


@pytest.mark.slow
def test_train_then_evaluate_named_detectors(tmp_path):
    flagfile = tmp_path / "tiny.cfg"
    flagfile.write_text(
        "--benchmark=digits_tiny\n--epochs=1\n--schedule=step\n--decay_epochs=0.5\n"
        "--warmup_epochs=0\n"
    )
    launch("train", f"--flagfile={flagfile}", f"--workdir={tmp_path / 'run'}")
    arguments = (
        f"--checkpoint={tmp_path / 'run'}",
        f"--output={tmp_path / 'results'}",
        "--detectors=msp, ours=ta(k=0.1)|fuse(feature_sim(), energy(), weights=(1, 2)),"
        " HIMPLoS",
    )
    printed = launch("evaluate", *arguments)
    assert "ours" in printed
    assert {path.name for path in (tmp_path / "results").iterdir()} == RESULTS
    summary = json.loads((tmp_path / "results" / "results.json").read_text())
    assert summary["configuration"]["trained"]["schedule"] == "step"
    # What was run, not what was typed.
    assert summary["detectors"] == {
        "msp": "msp()",
        "ours": (
            "ta(k=0.1, stage='C4')|fuse(feature_sim(stage='C5'), energy(T=1.0), "
            "weights=(1, 2))"
        ),
        "HIMPLoS": "feature_mask(q=0.2)|react(q=0.8)|prototype_smoothing()|"
        "energy(T=1.0)",
    }
    assert summary["values"]["ours"]["ta(k=0.1)"] == "as given"
    noise = "jood: chosen on Gaussian noise, as HIMPLoS, Sec. V-F, does"
    assert summary["values"]["HIMPLoS"]["react(q=0.8)"] == noise
    for name in ("table.csv", "report.html"):
        assert noise in (tmp_path / "results" / name).read_text()
        assert "feature_mask(q=0.2)" in (tmp_path / "results" / name).read_text()
    assert "exists already" in launch("evaluate", *arguments, ok=False)

    named = (*arguments, f"--output={tmp_path / 'never'}", "--examine=theirs")
    assert "rows: msp, ours, HIMPLoS" in launch("evaluate", *named, ok=False)
    sweeps = tmp_path / "sweeps"
    sweep = (arguments[0], f"--output={sweeps}", "--sweeps=k", "--images=20")
    assert "written to" in launch("sweep", *sweep)
    assert {path.name for path in sweeps.iterdir()} == {
        *("report.html", "results.json", "sweeps.csv", "sweep_k.png", "sweep_k.pdf"),
    }
    assert "must be among k, lambda" in launch("sweep", *sweep, "--sweeps=q", ok=False)

    config = tmp_path / "run" / "config.json"
    config.write_text(config.read_text().replace("resnet_small", "resnet18_cifar"))
    elsewhere = (arguments[0], f"--output={tmp_path / 'never'}", arguments[2])
    wrong = launch("evaluate", *elsewhere, ok=False)
    assert "another architecture" in wrong
    assert "Traceback" not in wrong
    assert not (tmp_path / "never").exists()


@pytest.mark.slow
def test_all_methods_and_the_selection_in_one_run(tmp_path):
    run = tmp_path / "run"
    train = ("--benchmark=digits_tiny", f"--workdir={run}", *TINY)
    launch("train", *narrow_model.FLAGS, *train)
    arguments = (
        narrow_model.FLAGS[0],
        f"--checkpoint={run}",
        f"--cache={tmp_path / 'cache'}",
        "--detectors=all",
        "--select",
        "--select_on=noise,jigsaw",
    )
    results = tmp_path / "results"
    printed = launch("evaluate", *arguments, f"--output={results}")
    # A network has the heads that its objective gave it: none here.
    heads = re.compile(r"\b(ood_factor|joint_posterior|godin|mos|csi\w*|neglabel)\(")
    texts = presets.everything("digits_tiny", "resnet_narrow")
    everything = {name for name, text in texts.items() if not heads.search(text)}
    left_out = re.findall(r"^left out, since .*: (.*)$", printed, re.MULTILINE)
    told = set(", ".join(left_out).split(", "))
    assert told == texts.keys() - everything >= {"SSOD (OOD factor)", "G-ODIN"}
    selected = {"FS+TA (selected)", "Energy+TA+FS (selected)", "HIMPLoS (selected)"}
    summary = json.loads((results / "results.json").read_text())
    assert set(summary["detectors"]) == everything | selected
    rows = list(csv.DictReader((results / "table.csv").read_text().splitlines()))
    assert {row["detector"] for row in rows} == everything | selected
    curves = {path.name for path in results.iterdir()} - RESULTS
    assert curves == {
        f"selection_{n}.{suffix}"
        for n in ("FS_TA", "Energy_TA_FS", "HIMPLoS")
        for suffix in ("csv", "png", "pdf")
    }
    with (results / "selection_HIMPLoS.csv").open() as file:
        candidates = list(csv.DictReader(file))
    assert len(candidates) == 54
    (chosen,) = [row for row in candidates if row["chosen"] == "*"]
    assert summary["detectors"]["HIMPLoS (selected)"] == chosen["spec"]
    told = set(summary["values"]["HIMPLoS (selected)"].values())
    assert told == {paper_grids.SOURCE}
    assert chosen["spec"] in (results / "table.csv").read_text()
    assert "on noise and jigsaw" in printed
    assert "select q, clip, fit: " in printed  # stderr is not a terminal: lines
    assert any((tmp_path / "cache").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("job", "wrong"),
    [
        (
            "train",
            [
                (["--workdir=x", "--model=resnet19"], "resnet18"),
                ([], "workdir"),
            ],
        ),
        (
            "quickstart",
            [
                (["--detectors=mps"], "near: msp"),
                (
                    ["--detectors=react(p=90)|energy()"],
                    "Its signature: react(q",
                ),
                (["--epochs=0"], "epochs"),
                (["--detectors=react()"], "needs components that end in a score"),
                (
                    ["--detectors=feature_sim(stage='C2')", "--workdir=/tmp/never"],
                    "there are: C3, C4, C5",
                ),
            ],
        ),
        (
            "evaluate",
            [
                (
                    ["--checkpoint=/nonexistent", "--output=/tmp/never"],
                    "no checkpoint folder",
                ),
            ],
        ),
    ],
)
def test_wrong_flags_fail_at_once_with_the_valid_ones(job, wrong):
    for flags, message in wrong:
        assert message in launch(job, *flags, ok=False), flags
