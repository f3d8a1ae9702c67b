"""The pages for users of OpenOOD and pytorch-ood: every line of ours runs."""

import re

from helpers import layouts
from helpers.jobs import ROOT
from helpers.tiny_network import MODEL
from helpers.tiny_network import VARIABLES
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

import jood
from jood import models
from jood.data import benchmarks

PAGES = {
    name: (ROOT / "docs" / f"from_{name}.md").read_text()
    for name in ("openood", "pytorch_ood")
}
ROW = re.compile(r"^\| `.*\| `([a-z_]+\(.*\))`.*\|$", re.MULTILINE)


def blocks(page):
    """Ours, in their order; theirs are plain text."""
    return re.findall(r"<!-- run -->\n```python\n(.*?)```", page, flags=re.DOTALL)


@pytest.mark.parametrize("name", PAGES)
def test_every_detector_of_the_tables_can_be_read(name):
    texts = [text.replace(r"\|", "|") for text in ROW.findall(PAGES[name])]
    assert len(texts) >= 20
    for text in texts:
        assert jood.parse(text).slot == "score"
    assert PAGES[name].count("```python") == len(blocks(PAGES[name]))


@pytest.mark.slow
def test_the_page_for_openood_runs_on_its_folders(tmp_path, monkeypatch, capsys):
    layouts.openood_cifar10(tmp_path / "data")
    model = models.create("resnet_small", 10)
    variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros([1, 32, 32, 3]))
    tensors = jood.weights.to_torch_names(model, variables, "torchvision")
    save_file(tensors, tmp_path / "best.safetensors")
    monkeypatch.chdir(tmp_path)
    smaller = {'"resnet18_cifar"': '"resnet_small"', "k=50": "k=2", " 128)": " 2)"}
    names = {}
    for code in blocks(PAGES["openood"]):
        for long, short in {**smaller, "batch_size=128": "batch_size=2"}.items():
            code = code.replace(long, short)
        exec(code, names)
    printed = capsys.readouterr().out
    assert "mean near*" in printed
    assert "mean far (3 of 4)*" in printed
    assert "saw ID validation images and OOD images of tin" in printed
    assert "no OOD image" in printed
    known = {name.removeprefix("openood_") for name in benchmarks.names()}
    for name in re.findall(r"`openood_([a-z0-9]+)`", PAGES["openood"]):
        assert name in known
    for name in re.findall(r"^\| `\w+` \| `(\w+)` \|", PAGES["openood"], re.MULTILINE):
        assert name in models.names()


@pytest.mark.slow
def test_the_page_for_pytorch_ood_runs(capsys):
    rng = np.random.default_rng(0)
    images = rng.normal(size=(24, 16, 16, 3)).astype(np.float32)
    names = {
        "model": MODEL,
        "variables": VARIABLES,
        "images": images[:8],
        "ood_images": 3 * images[8:16],
        "train_batches": [(images, np.arange(24) % 3)],
    }
    for code in blocks(PAGES["pytorch_ood"]):
        exec(code, names)
    assert names["scores"].shape == (8,)
    assert len(capsys.readouterr().out.splitlines()) == 3
