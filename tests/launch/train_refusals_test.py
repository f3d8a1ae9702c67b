"""launch/train.py with what its objective cannot use: one message, nothing written."""

import json

from helpers import jobs
import numpy as np
import pytest

from jood.data import benchmarks

pytestmark = pytest.mark.slow


def write(path, **arrays):
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """Flags beside --benchmark, and what the message must hold, by name."""
    folder = tmp_path_factory.mktemp("inputs")
    texts = np.random.default_rng(0).normal(size=(8, 5))
    nan = np.where(np.arange(8)[:, None] == 2, np.nan, texts)
    tested = benchmarks.get("digits_tiny").ood["background"].images
    anchors = {
        "fewer": write(folder / "seven.npz", text=texts[:7]),
        "nan": write(folder / "nan.npz", text=nan),
        "none": write(folder / "none.npz"),
        "good": write(folder / "good.npz", text=texts),
    }
    groups = {"missing": [0] * 7, "twice": {"a": [0, 1, 2, 3], "b": [3, 4, 5, 6, 7]}}
    for name, content in groups.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    (folder / "not.json").write_text("animals: 0, 1")
    others = write(folder / "others.npz", images=255 - tested)
    test_set = write(folder / "test.npz", images=tested)

    def mos(name):
        return f"--objective=mos(groups={str(folder / name)!r})"

    def tagfog(name, **more):
        values = {"anchors": str(anchors[name]), **more}
        text = ", ".join(f"{key}={value!r}" for key, value in values.items())
        return f"--objective=tagfog({text})"

    return {
        "no outliers": (["--objective=mixoe"], "name them with outliers (--outliers="),
        "outliers for nobody": (
            ["--objective=vos", f"--outliers={others}"],
            "trains without outliers, got",
        ),
        "outliers of the benchmark": (
            ["--objective=outlier_exposure", f"--outliers={test_set}"],
            "are the OOD set 'background' that digits_tiny is tested on",
        ),
        "the name of its set": (
            ["--objective=energy_margin", "--outliers=near"],
            "are the OOD set 'near' that digits_tiny is tested on",
        ),
        "outliers of no use": (
            [
                "--objective=mixoe",
                f"--outliers={others}",
                "--outlier_batch_size=64",
            ],
            "leave outlier_batch_size out",
        ),
        "no anchors": (["--objective=tagfog"], "give anchors='texts.npz'"),
        "fewer anchors": ([tagfog("fewer")], "with K = 8, a text embedding for each"),
        "anchors with NaN": ([tagfog("nan")], "in the rows of the classes [2]"),
        "an empty archive": ([tagfog("none")], "with K = 8, a text embedding for each"),
        "no file": ([mos("nothing.json")], "nothing.json"),
        "tiles": ([tagfog("good", grid=64)], "grid=64 is more than the 32 x 32 pixels"),
        "a class without group": ([mos("missing.json")], "without a group: [7]"),
        "a class in two": ([mos("twice.json")], "in two groups: [3]"),
        "no JSON": ([mos("not.json")], "but is not JSON"),
        "more groups": (["--objective=mos(groups=9)"], "got groups=9 for 8 classes"),
        "a value": (
            ["--objective=npos(k=2000)"],
            "k must be at most queue, got k=2000",
        ),
        "a typing error": (["--objective=cidre"], "near: cider"),
        "a network to ask": (["--objective=lff"], "Name one with --init_from"),
    }


def test_each_is_told_before_anything_is_written(cases, tmp_path):
    workdir = tmp_path / "run"
    usual = ("--benchmark=digits_tiny", f"--workdir={workdir}")
    for name, (own, message) in cases.items():
        printed = jobs.run_job("train", *usual, *own, code=1)
        assert message in printed, (name, printed)
        assert printed.count("error: ") == 1, (name, printed)
        assert "Traceback" not in printed, name
    assert not workdir.exists()
