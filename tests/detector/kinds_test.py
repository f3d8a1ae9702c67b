"""The table of docs/backbones.md: each cell says what is found when it is tried."""

import functools

from helpers import torch_oracle
from helpers.jobs import ROOT
import numpy as np
import pytest
from safetensors import numpy as safetensors_numpy

import jood
from jood import testing
from jood.core.backbones import kinds
from jood.detector import calibration
from jood.detector import export_loader
from jood.evaluation import feature_files
from jood.testing import toy_kinds

IMAGES, LABELS = testing.toy_images(40, seed=0)
NEW, _ = testing.toy_images(16, seed=1)
OOD, _ = testing.toy_images(16, seed=2, ood=True)
TA = "ta(k=0.2)|feature_sim()"
TEXT = f"bundle(energy=energy(), react=react(q=0.9)|energy(), ta={TA}, odin=odin())"


def table():
    """Cells of the page's table by kind and column."""
    lines = (ROOT / "docs" / "backbones.md").read_text().splitlines()
    start = lines.index(next(line for line in lines if line.startswith("| kind |")))
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    head, _, *body = rows
    return {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in body}


TABLE = table()


@functools.cache
def model(kind):
    return toy_kinds.network(kind)[0]


@functools.cache
def detector(kind):
    """Fitted and calibrated, with one method of each column."""
    given = testing.toy_variables() if kind == "Linen" else None
    made = jood.Detector(TEXT, model(kind), given)
    return made.fit([IMAGES]).calibrate([IMAGES], tpr=0.9)


@functools.cache
def expected():
    return detector("Linen").run(NEW)


def same(kind, name):
    """A method on this kind of network scores as it does on the Linen one."""
    found = detector(kind).run(NEW).scores[name]
    np.testing.assert_allclose(found, expected().scores[name], rtol=1e-4, atol=1e-5)
    return "yes"


def edits(kind, _):
    same(kind, "ta")
    if kind != "function":
        return "yes"
    whole = model(kind)
    without = jood.Backbone(whole.features, whole.head)
    with pytest.raises(ValueError, match=r"ta\(.*\(a function\) cannot continue"):
        jood.Detector(TA, without)
    return "with `rest`"


def calibrated(kind, _):
    found = detector(kind).run(NEW)
    np.testing.assert_allclose(found.p_value["ta"], expected().p_value["ta"])
    return "yes"


def saved(kind, tmp_path):
    detector(kind).save(tmp_path / "detector")
    loaded = jood.Detector.load(tmp_path / "detector", model(kind))
    np.testing.assert_array_equal(loaded(NEW)["react"], detector(kind)(NEW)["react"])
    arrays = (tmp_path / "detector/arrays.safetensors").read_bytes()
    names = safetensors_numpy.load(arrays)
    weights = any(name.startswith("variables/params") for name in names)
    return "yes" if weights else "without weights"


def exported(kind, tmp_path):
    if kinds.of(model(kind)).bound:
        match = f"cannot be exported.*of kind {kind}"
        with pytest.raises(ValueError, match=match):
            detector(kind).export(tmp_path / "detector.zip")
        return "refused"
    detector(kind).export(tmp_path / "detector.zip")
    _, score = export_loader.load(tmp_path / "detector.zip")
    found = score(NEW)["score_ta"]
    np.testing.assert_allclose(found, detector(kind)(NEW)["ta"], rtol=1e-5)
    return "yes"


def reported(kind, _):
    rows = f"energy, {TA}"
    found = jood.compare(rows, detector(kind), [IMAGES], [NEW], {"new": [OOD]})
    assert found.values("energy", "AUROC")["new"] > 0.9
    assert TA in found.text()
    return "yes"


OF_A_NETWORK = {
    "score": lambda kind, _: same(kind, "energy"),
    "fit": lambda kind, _: same(kind, "react"),
    "TA": edits,
    "ODIN": lambda kind, _: same(kind, "odin"),
    "calibrate": calibrated,
    "save": saved,
    "export": exported,
    "report": reported,
}


# Arrays have no network behind them.
REACT = jood.parse("react(q=0.9)|energy()")


@functools.cache
def record():
    acts = testing.toy_activations(jood.parse("energy()"), NEW)
    return jood.Activations.of(acts.penultimate, acts.kernel, acts.bias)


def array_scores():
    return np.asarray(REACT.apply(jood.fit(REACT, [record()]), record()))


def scored_arrays():
    assert array_scores().shape == (16,)
    return "yes"


def calibrated_arrays():
    scores = array_scores()
    found = calibration.calibrated({"score": np.sort(scores)}, 0.9, REACT.spec)
    assert found.p_values({"score": scores})["score"].max() == 1
    return "yes"


def reported_arrays():
    one = feature_files.FeatureSet(np.asarray(record().penultimate), None)
    given = feature_files.FeatureFolder(record().kernel, None, one, one, {"x": one})
    assert "react" in feature_files.compare({"react": REACT}, given).text()
    return "yes"


def refuses_to_run(text):
    part = jood.parse(text)
    with pytest.raises(jood.MissingStageError, match=r"jood\.Detector"):
        part.apply((), record())
    return "refused"


def has_no_detector():
    with pytest.raises(TypeError, match=r"must be a Linen module.*got Activations"):
        jood.Detector("energy", record())
    return "refused"


OF_ARRAYS = {
    "score": scored_arrays,
    "fit": scored_arrays,
    "TA": lambda: refuses_to_run(TA),
    "ODIN": lambda: refuses_to_run("odin()"),
    "calibrate": calibrated_arrays,
    "save": has_no_detector,
    "export": has_no_detector,
    "report": reported_arrays,
}
CELLS = [
    pytest.param(kind, column, marks=[pytest.mark.slow] if column == "export" else [])
    for kind in (*toy_kinds.NETWORKS, "arrays")
    for column in OF_A_NETWORK
]


@pytest.mark.parametrize(("kind", "column"), CELLS)
def test_the_cell_says_what_is_so(kind, column, tmp_path):
    if kind == "PyTorch":
        torch_oracle.torch_or_skip()
    if kind == "arrays":
        found = OF_ARRAYS[column]()
    else:
        found = OF_A_NETWORK[column](kind, tmp_path)
    assert TABLE[kind][column] == found


def test_the_table_has_these_rows_and_columns_alone():
    assert list(TABLE) == [*toy_kinds.NETWORKS, "arrays"]
    assert all(list(row) == list(OF_A_NETWORK) for row in TABLE.values())
