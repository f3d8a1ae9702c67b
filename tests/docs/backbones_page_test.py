"""What docs/backbones.md shows in Python runs as written."""

import re

from helpers import torch_oracle
from helpers.jobs import ROOT
import jax
import numpy as np

import jood

PAGE = (ROOT / "docs" / "backbones.md").read_text()


def test_the_pages_examples_run_one_after_the_other(capsys):
    names = {}
    scores = []
    blocks = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    for block in blocks:
        if "torch_backbone" in block:
            continue  # the next test's
        exec(block, names)
        scores.append(names["detector"](names["images"]))
    nnx, function, traced = scores
    assert nnx.shape == function.shape == (4,)
    assert not np.allclose(nnx, function)
    np.testing.assert_array_equal(function, traced)
    printed = capsys.readouterr().out
    assert len(re.findall(r"\d\.\d", printed)) >= 12
    assert jax.numpy.isfinite(names["output"].scores).all()


def test_the_pages_pytorch_example_runs():
    timm = torch_oracle.library("timm")
    (block,) = re.findall(r"```python\n(# module.*?)```", PAGE, flags=re.DOTALL)
    names = {
        "module": timm.create_model("resnet18", num_classes=3).eval(),
        "jood": jood,
    }
    exec(block, names)
    photo = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    images = names["preprocessing"].fit_image(photo)[None]
    assert images.shape == (1, 224, 224, 3)
    asked = names["detector"].component
    assert names["backbone"].stages.keys() >= {e.stage for p in asked.edits for e in p}
