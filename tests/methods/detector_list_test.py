"""What `--detectors` takes: rows, presets, methods and texts, as a user names them."""

import pytest

import jood
from jood.methods import detector_list
from jood.methods import factories
from jood.methods import presets


@pytest.mark.parametrize("change", [str, str.lower, str.upper, str.swapcase])
def test_every_row_is_read_in_any_letter_case(change):
    rows = presets.everything("cifar10", "densenet100_cifar")
    listed = detector_list.split(", ".join(change(name) for name in rows))
    assert list(listed) == [change(name) for name in rows]
    found = detector_list.read_each(listed, "cifar10", "densenet100_cifar")
    specs = [jood.parse(text).spec for text in rows.values()]
    assert [row.component.spec for row in found.values()] == specs


@pytest.mark.parametrize("name", ["himplos", "HIMPLoS", "Himplos"])
def test_a_preset_is_read_in_any_letter_case(name):
    row = detector_list.read(name, "cifar10", "densenet100_cifar")
    assert row.component.spec == jood.parse("himplos", "cifar10", "densenet").spec


def test_a_row_wins_over_its_method_and_parentheses_choose_the_method():
    specs = [
        detector_list.read(name, "cifar100").component.spec
        for name in ("knn", "KNN", "knn()")
    ]
    assert specs[0] == specs[1] == jood.scores.knn(k=200).spec
    assert specs[2] == jood.scores.knn().spec


def test_a_component_is_a_row_as_it_is():
    part = jood.scores.energy(T=3.0)
    assert detector_list.read(part) == (part, {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("msp", {"msp": "msp"}),
        (
            "msp(), a=react(q=0.9)|energy()",
            {"msp()": "msp()", "a": "react(q=0.9)|energy()"},
        ),
        (
            "fuse(msp(), energy(), weights=(1, 2)), fs_ta",
            {
                "fuse(msp(), energy(), weights=(1, 2))": (
                    "fuse(msp(), energy(), weights=(1, 2))"
                ),
                "fs_ta": "fs_ta",
            },
        ),
        ("MSP, ASH-S, KNN", {"MSP": "MSP", "ASH-S": "ASH-S", "KNN": "KNN"}),
        (
            "ASH-S=ash_s(q=0.9)|energy(), msp",
            {"ASH-S": "ash_s(q=0.9)|energy()", "msp": "msp"},
        ),
        (
            "a=msp, energy, FS + TA's (k = 0.1)=ta(k=0.1)|feature_sim(), knn",
            {
                "a": "msp",
                "energy": "energy",
                "FS + TA's (k = 0.1)": "ta(k=0.1)|feature_sim()",
                "knn": "knn",
            },
        ),
        ("MSP (T = 1000)", {"MSP (T = 1000)": "MSP (T = 1000)"}),
        (
            "a=pixel_msp(stage='C,5='), b=msp",
            {"a": "pixel_msp(stage='C,5=')", "b": "msp"},
        ),
    ],
)
def test_lists_are_split_at_their_own_commas(text, expected):
    assert detector_list.split(text) == expected


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "expected detectors separated by commas, got ''"),
        ("msp,,energy", r"is empty: '' in 'msp,,energy'. Write NAME=DETECTOR"),
        ("msp,", "is empty"),
        ("a=, msp", "is empty: 'a='"),
        ("=msp", "is empty: '=msp'"),
        ("msp, msp", "has msp twice; name one otherwise: other=msp"),
        ("a=msp, a=energy", "has a twice"),
        (")", r"has a '\)' at character 1 that closes nothing"),
        ("msp(], energy", r"has a '\]' at character 5 that closes nothing"),
        ("a=react(q=(0.5)|energy()", r"has a '\(' at character 8 that is never closed"),
        ("(" * 50_000, "never closed"),
    ],
)
def test_bad_lists_are_refused_in_our_words(text, match):
    with pytest.raises(ValueError, match=match):
        detector_list.split(text)


@pytest.mark.parametrize(
    ("entry", "near"),
    [
        ("ASH-X", "ASH-[SPB]"),
        ("mps", "msp|MSP"),
        ("HIMPLS", "HIMPLoS|himplos"),
        ("FS+TA (sd)", r"FS\+TA \(std\)"),
        ("ash_s|enery", "energy"),
        ("MPS()", "msp"),
        ("a b", "near:"),
        ("1", "near:"),
        ("msp == energy", "near:"),
    ],
)
def test_what_nobody_knows_is_refused_with_the_near_names(entry, near):
    with pytest.raises(ValueError, match=rf"unknown (detector|method).*({near})"):
        detector_list.read(entry)


def test_a_registered_method_s_row_is_read(monkeypatch):
    @jood.component.row("My-Score", "least(k={k})")
    def least(k: float = 1.0):
        spec = jood.component.call_spec("least", k=k)
        return jood.component.score(spec, lambda acts: k * acts.logits.min(-1))

    monkeypatch.setattr(factories, "_REGISTERED", {"least": least})
    row = detector_list.read("my-score", "cifar100")
    assert row.component.spec == "least(k=0.15)"
    assert row.sources["least(k=0.15)"].startswith("Feature Sim, Sec. 6.2")
