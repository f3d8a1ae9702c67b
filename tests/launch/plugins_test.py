"""One of each kind of extension, in a module outside jood, seen in a table."""

import csv
import subprocess
import sys
import textwrap

from helpers.jobs import ROOT
from helpers.jobs import environment
from helpers.jobs import run_job
import numpy as np
from PIL import Image
import pytest

PLUGIN = textwrap.dedent(
    '''
    """A user's own method, objective, benchmark, source, network, column, picture."""

    from flax import linen as nn
    import jax.numpy as jnp
    from matplotlib import figure
    import numpy as np

    import jood
    from jood import metrics
    from jood.data.benchmarks.set_spec import Place, SetSpec
    from jood.data.benchmarks.spec import BenchmarkSpec
    from jood.data.sources import ArraySource
    from jood.data.sources.source_kind import SourceKind
    from jood.models.family import Family
    from jood.report.pictures import Picture
    from jood.training.objectives import Objective, cross_entropy


    @jood.register
    @jood.component.row("Second logit")
    def second_logit():
        def second(acts):
            return jnp.sort(acts.logits, axis=-1)[:, -2]

        return jood.component.score("second_logit()", second)


    @jood.register
    def halved():
        whole = cross_entropy()

        def loss(outputs, key):
            total, parts = whole.loss(outputs, key)
            return total / 2, parts

        return Objective("halved()", loss)


    class Pooled(nn.Module):
        """A convolution, a pool and a head."""

        num_classes: int
        width: int = 8
        dtype: str = "float32"

        @nn.compact
        def __call__(self, images, train=False):
            x = nn.relu(nn.Conv(self.width, (3, 3), 2, name="C4")(images))
            x = nn.relu(nn.Conv(self.width, (3, 3), 2, name="C5")(x))
            return nn.Dense(self.num_classes, name="head")(x.mean((1, 2)))


    jood.register(Family(Pooled, {"pooled": Pooled}))


    def _open(path, how):
        images = np.load(path)
        labels = np.arange(len(images)) % 3 if how.labelled else None
        return ArraySource(images, labels)


    jood.register(
        SourceKind(
            "stack",
            open=_open,
            candidates=lambda root, path: [root / path],
            is_there=lambda path: path.is_file(),
        )
    )


    def _set(name):
        return SetSpec(name, name, 24, (Place("stack", f"{name}.npy"),), "", "")


    jood.register(
        BenchmarkSpec(
            name="stacks",
            title="three kinds of noise",
            id_train=_set("train"),
            id_test=_set("test"),
            ood=(_set("dark"),),
            near=(),
            class_names=("a", "b", "c"),
            num_classes=3,
            preprocessing={
                "own": jood.Preprocessing((0.5,) * 3, (0.25,) * 3, crop=16)
            },
            image_size=16,
            protocol="Noise.",
            paper="none",
        )
    )
    jood.register(
        metrics.Column("Gap", lambda inside, outside: float(np.mean(inside) > 0))
    )


    def _draw(results):
        drawn = figure.Figure()
        drawn.subplots().plot([0, 1])
        return drawn


    jood.register(Picture("my_picture", "Mine", "A line of mine.", _draw))
    '''
)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mine.py").write_text(PLUGIN)
    (tmp_path / "data").mkdir()
    rng = np.random.default_rng(0)
    for name, top in {"train": 256, "test": 256, "dark": 64}.items():
        images = rng.integers(0, top, (24, 16, 16, 3), np.uint8)
        np.save(tmp_path / "data" / f"{name}.npy", images)
    return tmp_path


def job(folder, name, *flags):
    return run_job(name, "--plugins=mine", *flags, cwd=folder)


PYTHON = """
import sys
sys.path.append("")
import mine
import jood
from jood.data import benchmarks
from jood.evaluation import benchmark_run
from jood.report.benchmark import tables
from jood.weights import checkpoint

network = checkpoint.open("run")
benchmark = benchmarks.get("stacks", data_dir="data")
detectors = {
    "Second": mine.second_logit(),
    "Both": jood.parse("react()|second_logit()"),
    "MSP": jood.parse("msp()"),
}
detector = jood.Detector(
    jood.bundle(**detectors),
    network.model,
    network.variables,
    benchmark.preprocessing,
    head="head",
)
_, result = benchmark_run.evaluate(detector, benchmark, batch_size=8)
print(tables.text(tables.build([result], list(detectors), benchmark), "github"))
"""


def check_that_python_gives_the_same_table(folder):
    done = subprocess.run(
        [sys.executable, "-c", PYTHON],
        capture_output=True,
        text=True,
        env=environment(),
        cwd=folder,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    table = [x for x in done.stdout.splitlines() if x.startswith("|")]
    assert len(table) == 5
    job_s = (folder / "results" / "table.md").read_text().splitlines()
    assert table == [line for line in job_s if line.startswith("|")]


def check_that_a_saved_detector_asks_for_its_plugin(folder):
    job(
        folder,
        "fit",
        "--checkpoint=run",
        "--benchmark=stacks",
        "--data_dir=data",
        "--method=SECOND LOGIT",
        "--tpr=0.8",
        "--output=detector",
    )
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(folder / "a.png")
    score = ("--detector=detector", "--images=a.png", "--output=scores")
    refused = run_job("score", *score, cwd=folder, code=1)
    assert "made with second_logit of module mine" in refused
    assert "--plugins=" in refused
    assert "1 scored" in job(folder, "score", *score)


@pytest.mark.slow
def test_one_of_each_kind_from_a_folder_outside_the_package(folder):
    job(
        folder,
        "train",
        "--benchmark=stacks",
        "--data_dir=data",
        "--model=pooled",
        "--objective=halved",
        "--epochs=1",
        "--batch_size=8",
        "--workdir=run",
    )
    printed = job(
        folder,
        "evaluate",
        "--checkpoint=run",
        "--data_dir=data",
        "--batch_size=8",
        "--detectors=Second=second_logit(), Both=react()|second_logit(), MSP=msp()",
        "--output=results",
    )
    assert "Second" in printed
    with (folder / "results" / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["detector"] for row in rows} == {"Second", "Both", "MSP"}
    assert any("Gap" in name for name in rows[0])
    check_that_python_gives_the_same_table(folder)
    check_that_a_saved_detector_asks_for_its_plugin(folder)
    page = (folder / "results" / "report.html").read_text()
    assert "A line of mine." in page
    assert (folder / "results" / "my_picture.png").is_file()


@pytest.mark.slow
def test_a_plugin_that_is_not_there_is_named(folder):
    printed = run_job("evaluate", "--plugins=none_such", cwd=folder, code=1)
    assert "there is no module 'none_such'" in printed


# Measures two devices that it starts itself, and names no method.
WITHOUT_PLUGINS = ("communication_volume",)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "launch").glob("*.py")), ids=lambda p: p.stem
)
def test_every_job_takes_plugins(path):
    if path.stem not in WITHOUT_PLUGINS:
        assert "    cli.run(main" in path.read_text()  # which defines the flag
