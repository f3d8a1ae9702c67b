"""The page on serving: its Python runs, its commands have the flags they use."""

import re

from helpers.jobs import ROOT
from helpers.pixel_scorers import NEW
from helpers.pixel_scorers import single
import numpy as np
import pytest

import jood

PAGE = (ROOT / "docs" / "serving.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


def test_an_answer_is_had_as_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    single().save(tmp_path / "detectors" / "mine")
    names = {"jood": jood, "images": NEW[:2]}
    exec(BLOCKS[0], names)
    expected = single().answer(NEW[:2])
    np.testing.assert_allclose(names["answer"].score, expected.score, rtol=1e-6)
    fields = re.findall(r"^\| `(\w+)` \|", PAGE, flags=re.MULTILINE)
    assert tuple(fields) == names["answer"]._fields


def test_the_service_is_built_as_written(tmp_path, monkeypatch):
    uvicorn = pytest.importorskip("uvicorn", reason="needs the extra jood[serve]")
    monkeypatch.chdir(tmp_path)
    ran = []
    monkeypatch.setattr(uvicorn, "run", lambda app, port: ran.append((app, port)))
    exec(BLOCKS[1], {"jood": jood})
    ((app, port),) = ran
    assert port == 8000
    assert {"/answer", "/health"} <= {route.path for route in app.routes}


def test_the_commands_flags_are_those_of_the_jobs():
    text = "".join(
        (ROOT / "launch" / f"{name}.py").read_text()
        for name in ("export", "serve", "score", "measure_serving")
    )
    defined = set(re.findall(r'DEFINE_\w+\(\s*"(\w+)"', text))
    defined |= set(re.findall(r"cli\.define_(\w+)\(", text))
    used = set(re.findall(r"--(\w+)", PAGE))
    assert used - {"data"} <= defined  # curl's --data-binary
    assert {"detector", "output", "port", "compilation_cache"} <= used
