"""A table that is run: which network makes which rows, what is a dash, and why."""

import csv
import dataclasses
import json

from helpers import tiny_benchmark
from helpers.tiny_network import MODEL
import jax
import numpy as np
import pytest

import jood
from jood import metrics
from jood import papers
from jood.core.backbones.observing import observe
from jood.data.benchmarks import bounded
from jood.data.sources import ArraySource
from jood.evaluation import benchmark_run
from jood.evaluation import pass_times
from jood.papers import comparison_text
from jood.papers import given_networks
from jood.papers import reproduction
from jood.papers import results
from jood.papers.given_networks import Given
from jood.papers.transcription import PaperTable
from jood.papers.transcription import TablePart
from jood.papers.transcription import TableRow
from jood.weights.checkpoint import TrainedNetwork

SETS = {"svhn": 9, "dtd10": 7}
NOISE = np.random.default_rng(1).integers(0, 256, (20, 16, 16, 3), np.uint8)


def network(name="resnet_small", classes=None, **source):
    model = (
        MODEL if classes is None else dataclasses.replace(MODEL, num_classes=classes)
    )
    return TrainedNetwork(
        model, tiny_benchmark.variables(), name, None, tiny_benchmark.PREPROCESSING,
        16, source,
    )  # fmt: skip


def row(name, text, numbers, why="", trained="", zoom=1.0):
    return TableRow(name, text, why, trained, zoom, tuple(numbers))


PART = TablePart(
    title="one",
    benchmark="cifar10",
    network="resnet18_cifar",
    columns=("SVHN", "Textures", "Places365", "Average", "ID ACC behind TA"),
    rows=(
        row("MSP", "MSP", [90, 50, 80, 60, 70, 65, 80, 58.33, None]),
        row("TA", "ta(k={k})|energy()", [None] * 9),
        row(
            "CSI", "", [91, 50, 80, 60, 70, 65, 80, 58.33, None], why="not trained here"
        ),
        row("SSOD", "SSOD (OOD factor)", [91, 50, 80, 60, 70, 65, 80, 58.33, None]),
        row("LFF", "MSP", [99, 1, 99, 1, 99, 1, 99, 1, None], trained="lff"),
        row("near", "MSP", [90, 50, 80, 60, 70, 65, 80, 58.33, None], zoom=2.0),
    ),
    averaged=(),
    preprocessing="",
    misprints=(),
)
TABLE = PaperTable(
    paper="himplos",
    number="1",
    title="noise",
    metrics=("AUROC", "FPR95"),
    kind="detection",
    note="",
    parts=(PART,),
)


def opened(part, given, zoom):
    ood = {
        name: ArraySource(NOISE[:count] if zoom == 1 else NOISE[-count:])
        for name, count in SETS.items()
    }
    return dataclasses.replace(
        tiny_benchmark.BENCHMARK, name="cifar10", ood=ood, class_names=()
    )


@pytest.fixture(scope="module")
def parts():
    model = dataclasses.replace(MODEL, num_classes=10)
    variables = model.init(jax.random.key(0), np.zeros([1, 16, 16, 3]))
    ten = dataclasses.replace(network("resnet20"), model=model, variables=variables)
    given = [Given("cifar10/resnet18_cifar", ten, "here")]
    return given, reproduction.run(TABLE, given, opened, batch_size=16)


@pytest.mark.slow
def test_ours_stand_beside_the_papers_numbers(parts):
    given, (part,) = parts
    network = given[0].network
    benchmark = opened(PART, given[0], 1.0)
    detector = benchmark_run.make_detector(
        {"MSP": "msp()"}, benchmark, network.model, network.variables
    )
    _, alone = benchmark_run.evaluate(detector, benchmark, batch_size=16)
    found = part.rows[0].ours
    auroc = [
        100 * metrics.auroc(alone.id_scores["MSP"], alone.ood_scores[name]["MSP"])
        for name in SETS
    ]
    assert found["SVHN", "AUROC"] == pytest.approx(auroc[0])
    assert found["Textures", "AUROC"] == pytest.approx(auroc[1])
    assert found["Average", "AUROC"] == pytest.approx(np.mean(auroc))
    assert part.difference(part.rows[0], ("SVHN", "AUROC")) == pytest.approx(
        auroc[0] - 90
    )
    # Of a magnified set, other numbers.
    assert part.rows[5].ours["SVHN", "AUROC"] != found["SVHN", "AUROC"]


@pytest.mark.slow
def test_the_accuracy_behind_ta_is_that_of_the_edited_answer(parts):
    given, (part,) = parts
    network, benchmark = given[0].network, opened(PART, given[0], 1.0)
    component = jood.parse("ta(k=0.2)|energy()")
    images = tiny_benchmark.PREPROCESSING(benchmark.id_test.images)

    @jax.jit
    def behind(variables, images):
        acts = observe(network.model, variables, images, edits=component.edits)
        return acts.edit("ta(k=0.2, stage='C4')").logits

    logits = behind(network.variables, images)
    right = np.asarray(logits.argmax(-1)) == benchmark.id_test.labels
    cell = ("ID ACC behind TA", "ID ACC")
    assert part.rows[1].ours[cell] == pytest.approx(100 * right.mean())
    assert cell not in part.rows[0].ours


def test_rows_that_are_not_asked_for_say_so():
    some = papers.of_rows(papers.table("himplos", "1"), ["himplos", "MSP"])
    whys = {row.name: row.why for row in some.parts[0].rows}
    assert not whys["HIMPLoS"]
    assert not whys["MSP"]
    assert whys["Energy"] == "not asked for (--rows)"
    with pytest.raises(ValueError, match="unknown row of the table 'Enrgy'; near: Ene"):
        papers.of_rows(papers.table("himplos", "1"), ["Enrgy"])


def test_a_bounded_benchmark_says_what_it_lost():
    few = bounded.with_at_most(tiny_benchmark.BENCHMARK, test=4, train=None)
    assert len(few.id_test) == 4
    assert few.id_train is tiny_benchmark.BENCHMARK.id_train
    told = "4 of 22 were asked for, at even distances"
    assert few.incomplete["id_test"] == told
    assert set(few.incomplete) == {"id_test", *few.ood}


@pytest.mark.slow
def test_what_is_not_the_papers_is_said(parts):
    (part,) = parts[1]
    assert part.dented == {"Textures", "Places365", "Average"}
    told = " ".join(part.remarks)
    assert "Run with resnet20; the paper's is resnet18_cifar." in told
    assert "Textures is a part: textures: 10 of 47 classes." in told
    assert "Absent: places365" in told
    why = {row.name: row.why for row in part.rows}
    assert why["CSI"] == "not trained here"
    assert "no OOD head" in why["SSOD"]
    assert why["LFF"] == "no network cifar10/resnet18_cifar+lff was given"
    assert not why["MSP"]
    assert part.rows[1].text == "ta(k=0.2, stage='C4')|energy(T=1.0)"


def test_a_folder_has_the_table_in_every_form(parts, tmp_path):
    (part,) = parts[1]
    run = {"paper": TABLE.paper, "table": TABLE.number, "benchmark": None}
    printed = results.write(tmp_path / "out", TABLE, [part], run)
    assert printed == (tmp_path / "out" / "table.txt").read_text()
    assert "NOT WHOLE: 28 of the paper's 40 numbers have none here." in printed
    assert "-: CSI: not trained here." in printed
    ours = part.rows[0].ours["SVHN", "AUROC"]
    assert f"{ours:.2f} (90.00, {ours - 90:+.2f})" in printed
    assert "- (91.00)" in printed
    with (tmp_path / "out" / "table.csv").open(newline="") as file:
        lines = {(r["row"], r["column"], r["metric"]): r for r in csv.DictReader(file)}
    assert len(lines) == 6 * 9
    assert float(lines["MSP", "SVHN", "AUROC"]["ours"]) == pytest.approx(ours, abs=0.01)
    assert lines["CSI", "SVHN", "AUROC"]["why_not"] == "not trained here"
    assert lines["MSP", "Textures", "FPR95"]["part_of_the_images"] == "yes"
    content = json.loads((tmp_path / "out" / "results.json").read_text())
    assert content["parts"][0]["rows"][0]["ours"]["SVHN AUROC"] == ours
    page = (tmp_path / "out" / "report.html").read_text()
    assert 'class="number far"' in page or 'class="number near"' in page
    assert r"\begin{tabular}" in (tmp_path / "out" / "table.tex").read_text()
    _, again = results.read(tmp_path / "out")
    for name, text in results.files(TABLE, again).items():
        assert text == (tmp_path / "out" / name).read_text()


def test_on_another_benchmark_nothing_is_compared(parts):
    given, _ = parts
    (part,) = reproduction.run(TABLE, given, opened, other="cifar10", batch_size=16)
    assert [c for c, m in part.cells if m == "AUROC"] == ["svhn", "dtd10", "Average"]
    assert part.difference(part.rows[0], ("Average", "AUROC")) is None
    assert part.rows[0].ours["Average", "AUROC"]
    assert "(80.00)" in comparison_text.cell_text(
        part, part.rows[0], ("Average", "AUROC")
    )


TIMES = dataclasses.replace(
    papers.table("feature_sim", "8"),
    parts=(
        dataclasses.replace(
            papers.table("feature_sim", "8").parts[0],
            rows=(row("MSP", "MSP", [1.0]), row("FS+TA", "FS+TA", [1.07])),
            benchmark="cifar10",
        ),
    ),
)


def test_a_table_of_times_without_a_network_is_dashes():
    (part,) = reproduction.run(papers.table("feature_sim", "8"), [], opened)
    assert {row.why for row in part.rows} == {"no network imagenet/resnet50 was given"}
    assert [column for column, _ in part.cells][1:] == ["without TA", "with TA"]


def test_times_are_of_each_row_without_and_with_ta(monkeypatch):
    asked = {}

    def ratios(parts, network, batch_size):
        asked.update({name: part.spec for name, part in parts.items()})
        return {name: float(n) for n, name in enumerate(parts, 1)}

    monkeypatch.setattr(pass_times, "ratios", ratios)
    ten = dataclasses.replace(
        network("resnet50"), model=dataclasses.replace(MODEL, num_classes=10)
    )
    (part,) = reproduction.run(TIMES, [Given("", ten, "here")], opened)
    assert asked["FS+TA without TA"] == "feature_sim(stage='C5')"
    assert asked["MSP with TA"] == "ta(k=0.2, stage='C4')|msp()"
    assert part.rows[0].ours["normalised time", "time"] == 1.0
    assert part.difference(part.rows[0], ("normalised time", "time")) == 0.0
    assert part.rows[1].ours["with TA", "time"] == 6.0
    assert "multiples of one forward pass" in comparison_text.as_text(TIMES, [part])


def test_networks_are_matched_by_name_architecture_and_classes():
    def made(*given, other=None):
        found = given_networks.makers(TABLE, given, other)
        return {key: maker.given.folder for key, maker in found.items()}

    plain, lff = "cifar10/resnet18_cifar", "cifar10/resnet18_cifar+lff"
    ten = dataclasses.replace(
        network("resnet18_cifar"), model=dataclasses.replace(MODEL, num_classes=10)
    )
    tuned = dataclasses.replace(ten, source={"objective": "lff(delta=0.1)"})
    assert given_networks.keys(TABLE) == [plain, lff]
    assert made(Given("", ten, "a"), Given("", tuned, "b")) == {plain: "a", lff: "b"}
    assert made(Given("resnet18_cifar+lff", ten, "a")) == {lff: "a"}
    assert made(Given("", network("resnet18_cifar"), "three classes")) == {}
    assert made(Given("", network(), "a"), other="digits_tiny") == {}
    foreign = dataclasses.replace(ten, name="resnet56")
    assert made(Given("", foreign, "a")) == {plain: "a"}
    assert made(Given("", foreign, "a"), Given("", ten, "b")) == {plain: "b"}
    with pytest.raises(ValueError, match=r"network of the table.*resnet18_cifra"):
        given_networks.open_all(["resnet18_cifra=x"], TABLE, "last")
    with pytest.raises(FileNotFoundError, match="no checkpoint folder"):
        given_networks.open_all(["nowhere"], TABLE, "last")
