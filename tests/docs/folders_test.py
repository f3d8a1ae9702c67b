"""The page on own folders: every command runs as written, on tiny folders."""

import json
import re
import shlex

from helpers.jobs import ROOT
from helpers.jobs import run_job
import jax
import jax.numpy as jnp
import pytest
from safetensors.numpy import save_file

import jood
from jood import models
from jood.weights import checkpoint

PAGE = (ROOT / "docs" / "folders.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
LINES = "".join(re.findall(r"```bash\n(.*?)```", PAGE, flags=re.DOTALL))
COMMANDS = [shlex.split(line) for line in LINES.replace("\\\n", "").splitlines()]
# What makes a command short without changing what it is about.
SHORT = {"train": ["--epochs=1"], "evaluate": ["--detectors=msp, knn(k=5)"]}
SMALLER = {
    "--model=resnet50": "--model=resnet_small",
    "--resize=256": "--resize=40",
    "--crop=224": "--crop=32",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Tiny folders of digits, and a network of two classes for its weights."""
    folder = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        code = BLOCKS[0].replace("train_copies=2", "train_copies=1")
        exec(code.replace("ood_size=200", "ood_size=40"), {})
    model = models.create("resnet_small", 2)
    variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros([1, 32, 32, 3]))
    tensors = jood.weights.to_torch_names(model, variables, "torchvision")
    save_file(tensors, folder / "resnet50.safetensors")
    return folder


@pytest.fixture(scope="module")
def printed(folder):
    """What each command printed, in its order."""
    return [
        run_job(
            job,
            *(SMALLER.get(flag, flag) for flag in flags),
            *SHORT.get(job, ()),
            cwd=folder,
        )
        for _, job, *flags in COMMANDS
    ]


@pytest.mark.slow
def test_every_command_of_the_page_runs(folder, printed):
    jobs = [job for _, job, *_ in COMMANDS]
    expected = ["train", "convert", "train", "fit", "evaluate", "score"]
    expected += ["train", "fit", "score"]
    assert jobs == expected
    fitted = printed[3]
    assert "144 ID images, which are not calibrated on" in fitted
    assert re.search(r"method +digits +empty +mean", fitted)
    chosen = re.search("chosen by the best mean AUROC: (.*)", fitted)[1]
    summary = json.loads((folder / "detectors" / "photos" / "fit.json").read_text())
    assert summary["choice"]["method"] == chosen
    assert summary["images"]["calibrate"] == 433 - 144
    assert "fitted on 1,010, 433 others are scored" in printed[4]
    assert re.search(r"detector +mean +digits +empty", printed[4])
    assert (folder / "results" / "photos" / "report.html").is_file()
    assert "40 scored, 0 failed" in printed[5]


@pytest.mark.slow
@pytest.mark.usefixtures("printed")
def test_the_networks_of_the_page_are_what_it_says(folder):
    own = checkpoint.open(folder / "runs" / "photos")
    assert own.class_names[:3] == ("five", "four", "one")  # sorted by name
    tuned = checkpoint.open(folder / "runs" / "tuned")
    assert tuned.model.num_classes == 8
    assert tuned.preprocessing.crop == 32
    gray = checkpoint.open(folder / "runs" / "gray")
    assert gray.variables["params"]["conv1"]["kernel"].shape[2] == 1
    detector = jood.Detector.load(folder / "detectors" / "gray")
    assert detector.image_shape == (32, 32, 1)


@pytest.mark.slow
@pytest.mark.usefixtures("printed")
def test_own_images_against_a_benchmark_and_wrong_flags(folder):
    common = [f"--checkpoint={folder / 'runs' / 'tuned'}", "--dry_run"]
    own = f"--ood=mine={folder / 'photos' / 'other'}"

    def refused(*flags):
        return run_job("evaluate", *common, *flags, "--output=x", ok=False, cwd=folder)

    assert "--ood=NAME=near" in refused("--ood=near")
    assert "each set with a name: --ood=other=" in refused()
    assert "leave --benchmark" in refused("--benchmark=digits", "--images=x", own)
    both = run_job(
        "evaluate", *common, "--benchmark=digits_tiny", "--detectors=msp",
        "--output=x", f"--ood=near,mine={folder / 'photos' / 'other'}", cwd=folder,
    )  # fmt: skip
    assert "near 64, mine 80" in both
    half = run_job(
        "evaluate", *common, f"--images={folder / 'photos' / 'train'}",
        "--detectors=msp", "--output=x", own, cwd=folder,
    )  # fmt: skip
    assert "fit on 1,010, ID 433" in half


def test_the_flags_of_the_page_are_those_of_the_jobs():
    for name in {job for _, job, *_ in COMMANDS}:
        text = (ROOT / "launch" / f"{name}.py").read_text()
        defined = set(re.findall(r'DEFINE_\w+\(\s*"(\w+)"', text))
        defined |= set(re.findall(r"cli\.define_(\w+)\(", text))
        for _, job, *flags in COMMANDS:
            used = {flag.split("=")[0].removeprefix("--") for flag in flags}
            assert job != name or used <= defined, used - defined
