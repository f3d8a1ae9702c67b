"""The page on deployment: its Python runs, its commands have the flags they use."""

import re
import sys

from helpers.jobs import ROOT
from helpers.pixel_scorers import NEW
from helpers.pixel_scorers import single
import numpy as np
from PIL import Image

import jood

PAGE = (ROOT / "docs" / "deployment.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


def test_export_and_load_run_as_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(NEW[0]).save("photo.png")
    detector = single()
    names = {"detector": detector}
    exec(BLOCKS[0], names)
    monkeypatch.setitem(sys.modules, "load", jood.detector.export_loader)
    exec(BLOCKS[1].replace("photo.jpg", "photo.png"), names)
    np.testing.assert_allclose(names["columns"]["score"], detector(NEW[:1]), rtol=1e-6)
    np.testing.assert_array_equal(names["answer"].score, names["columns"]["score"])
    for name in ("score", "is_ood", "p_value", "prediction"):
        assert f" {name}" in BLOCKS[1]
        assert names["columns"][name].shape == (1,)


def test_the_commands_flags_are_those_of_the_jobs():
    text = "".join(
        (ROOT / "launch" / f"{name}.py").read_text()
        for name in ("export", "score", "score_ray", "serve", "measure_scoring")
    )
    defined = set(re.findall(r'DEFINE_\w+\(\s*"(\w+)"', text))
    defined |= set(re.findall(r"cli\.define_(\w+)\(", text))
    used = set(re.findall(r"--(\w+)", PAGE))
    assert used - {"head", "port"} <= defined  # those two are Ray's
    assert {"detector", "images", "output", "address"} <= used
