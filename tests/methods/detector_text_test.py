"""A detector's text: read back exactly, refused helpfully, and never evaluated."""

import jax.numpy as jnp
import numpy as np
import pytest

from jood import presets
from jood import scores
from jood import transforms
from jood.core import component
from jood.core import compose
from jood.methods import detector_text
from jood.methods import preset_values

# Canonical texts: the component writes them exactly so.
CANONICAL = [
    "msp()",
    "react(q=0.9)",
    "react(clip=-1.5)",
    "ta(k=0.2, stage='C4')",
    "ta(k=0.2, stage='C3')|ta(k=1, stage='C4')|react(q=0.9)|temperature(T=2.0)|msp()",
    "fuse(msp(), energy(T=1.0), weights=(1, -0.016))",
    "fuse(react(q=0.9)|energy(T=1.0), msp(), max_logit(), weights='scale')",
    "fuse(fuse(msp(), max_logit(), weights=(1e-06, 2)), msp(), weights='scale')",
    "react(clip=1.0)|fuse(msp(), max_logit(), weights=(1, 2.5))",
    "ta(k=0, stage='C4')|bundle(a=msp(), b=react(q=0.5)|msp())",
    "bundle(a=msp(), b=fuse(msp(), max_logit(), weights=(1, 1)))",
    "bundle(**{'a b': msp()})",
    "bundle(**{'fs+ta: \"k\"': msp(), \"it's\": max_logit(), 'λ | {x}': msp()})",
    "bundle(λ=msp(), _x1=msp())",
]


@pytest.mark.parametrize("text", CANONICAL)
def test_canonical_text_round_trips(text):
    assert detector_text.parse(text).spec == text


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        (" msp ", "msp()"),
        ("react | energy", "react(q=0.9)|energy(T=1.0)"),
        ("chain(react(0.5),\n  energy(2))", "react(q=0.5)|energy(T=2)"),
        ("chain(react(), chain(msp))", "react(q=0.9)|msp()"),
        ("temperature() | (temperature(T=2) | msp)", "temperature(T=1.0)|"),
        ("fuse(msp, max_logit, weights=[1, 2])", "fuse(msp(), max_logit(), weights=("),
        ("bundle(**{'a': msp, 'b': msp})", "bundle(a=msp(), b=msp())"),
        ("bundle(x=fs_ta)", "bundle(x=ta(k=0.2, stage='C4')|feature_sim(stage='C5'))"),
    ],
)
def test_short_forms_become_canonical(text, canonical):
    written = detector_text.parse(text).spec
    assert written.startswith(canonical)
    assert detector_text.parse(written).spec == written


@pytest.mark.parametrize("name", ["class", "None", "weights", "self", "", "1", "ﬁ"])
def test_any_name_in_a_bundle_round_trips(name):
    part = compose.bundle(**{name: scores.msp(), "other": scores.energy()})
    again = detector_text.parse(part.spec)
    assert again.spec == part.spec
    acts = component.Activations.of(jnp.zeros([1, 2]), jnp.zeros([2, 2]))
    assert list(again.apply((), acts)) == [name, "other"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.float64(0.5), "0.5"),
        (np.float32(0.25), "0.25"),
        (jnp.int32(3), "3"),
        ((1,), "(1,)"),
        ((1, np.float64(-0.5)), "(1, -0.5)"),
        ("C5", "'C5'"),
    ],
)
def test_values_are_written_as_python_literals(value, text):
    assert component.format_value(value) == text


def test_arrays_as_hyper_parameters_round_trip():
    clipped = compose.chain(transforms.react(clip=np.float32(1.5)), scores.msp())
    scaled = scores.energy(T=jnp.float32(2.0))
    fused = compose.fuse(clipped, scaled, weights=np.array([1.0, 0.5]))
    assert detector_text.parse(fused.spec).spec == fused.spec


@pytest.mark.parametrize("name", detector_text.factories())
def test_every_factory_round_trips(name):
    written = detector_text.factories()[name]().spec
    assert (
        detector_text.parse(name).spec == detector_text.parse(written).spec == written
    )


def test_names_of_all_factories_combinators_and_presets_are_distinct():
    names = [*transforms.__all__, *scores.__all__, *presets.PRESETS]
    names += ["chain", "combine", "fuse", "bundle"]
    assert len(names) == len(set(names))


# Presets.


@pytest.mark.parametrize("name", presets.PRESETS)
def test_every_preset_parses_for_every_benchmark(name):
    for benchmark in preset_values.BENCHMARKS:
        part = detector_text.parse(name, benchmark)
        assert part.slot in ("score", "bundle"), benchmark
        assert detector_text.parse(part.spec).spec == part.spec, benchmark


@pytest.mark.parametrize(
    ("benchmark", "k"),
    [
        ("imagenet", 0.2),
        ("cifar10", 0.2),
        ("cifar100", 0.15),
        ("coco_detection", 0.2),
        ("ade20k_segmentation", 0.15),
    ],
)
def test_presets_take_the_benchmark_s_threshold(benchmark, k):
    expected = f"ta(k={k}, stage='C4')|feature_sim(stage='C5')"
    assert detector_text.parse("fs_ta", benchmark).spec == expected
    nested = detector_text.parse("bundle(a=msp, b=fs_ta)", benchmark).spec
    assert nested == f"bundle(a=msp(), b={expected})"


def test_a_preset_without_values_for_a_benchmark_lists_the_near_ones():
    with pytest.raises(ValueError, match="'cifar-100'; near: cifar100"):
        detector_text.parse("fs_ta", "cifar-100")
    assert (
        detector_text.parse("msp()", "cifar-100").spec == "msp()"
    )  # no preset, no matter


@pytest.mark.parametrize(
    ("name", "weight"),
    [("fs_ta_msp", 0.1), ("fs_ta_energy", 0.016), ("fs_ta_react", 0.028)],
)
def test_presets_have_the_papers_lambda(name, weight):
    assert detector_text.parse(name).spec.endswith(f"weights=(1, {weight}))")


def test_unknown_preset_lists_near_ones():
    with pytest.raises(
        ValueError, match=r"unknown preset 'fs_ta_enrgy'; near: fs_ta_e"
    ):
        presets.preset("fs_ta_enrgy")


# Helpful refusals.


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("enery()", "energy"),
        ("Energy", "energy"),
        ("reakt(q=0.9)|energy()", "react"),
        ("fuze(msp(), msp(), weights=(1, 1))", "fuse"),
        ("fs_ta_enrgy", "fs_ta_energy"),
    ],
)
def test_unknown_name_lists_near_names(text, near):
    with pytest.raises(ValueError, match=rf"unknown method .*Did you mean.*\b{near}\b"):
        detector_text.parse(text)


def test_unknown_name_with_nothing_near_lists_all():
    with pytest.raises(ValueError, match=r"unknown method 'zzzz'\. Known: .*\bmsp\b"):
        detector_text.parse("zzzz()")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("react(p=0.9)", r"'p'.*Its signature: react\(q=None, clip=None\)"),
        ("msp(1)", r"too many positional.*signature: msp\(\)"),
        ("energy(1, T=1)", r"multiple values.*signature: energy\(T=1.0\)"),
        ("react(q=90)", r"q must be a fraction.*q=90.*Signature: react\(q=None"),
        ("react(q=0.5, clip=1.0)", r"not both.*Signature: react\("),
        ("ta(k=-1)", r"k=-1.*Signature: ta\(k=0.2, stage='C4'\)"),
        ("ta(k='0.2', stage=4)", r"Signature: ta\("),
        ("ta(k=True)", r"k=True.*Signature: ta\("),
        ("energy(T=1e999)", r"T=inf.*Signature: energy\("),
        ("energy(T=" + "9" * 400 + ")", r"finite number above 0.*Signature: energy\("),
        ("fuse(msp(), msp())", r"'weights'.*fuse\("),
        ("fuse(msp(), msp(), weights=(1, 'a'))", "finite number, got weight='a'"),
        ("fuse(msp(), msp(), weights=(1, " + "9" * 400 + "))", "finite number"),
        ("msp, energy", r"several.*bundle\(a=msp\(\), b=energy\(\)\) asks them"),
        ("fs_ta()", "is a preset and takes no arguments"),
        ("energy(T=msp())", r"must be literals.*'msp\(\)'"),
        ("react(**{'q': 0.9})", r"\*\* is read only in bundle"),
        ("bundle(**{1: msp()})", "must be strings"),
        ("bundle(**msp)", r"\*\* is read only in bundle"),
        ("react(q=0.1, q=0.2)", "twice|repeated|duplicate"),
        ("bundle(a=msp(), a=energy())", "twice|repeated|duplicate"),
        ("bundle(**{'a': msp(), 'a': energy()})", "twice|repeated|duplicate"),
    ],
)
def test_wrong_arguments_say_what_fits(text, match):
    with pytest.raises(ValueError, match=match):
        detector_text.parse(text)


# Hostile input.

TOUCH = "__import__('pathlib').Path('touched').touch()"


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('touch touched')",
        TOUCH,
        f"energy(T={TOUCH})",
        f"energy({TOUCH})",
        f"fuse(msp(), msp(), weights={TOUCH})",
        f"fuse(msp(), msp(), weights=[{TOUCH}, 1])",
        f"bundle(a={TOUCH})",
        f"bundle(**{TOUCH})",
        f"bundle(**{{{TOUCH}: msp()}})",
        f"[{TOUCH} for _ in (1,)]",
        f"energy(T=[{TOUCH} for _ in (1,)][0])",
        f"(lambda: {TOUCH})()",
        f"lambda: {TOUCH}",
        f"f'{{{TOUCH}}}'",
        f"energy(T=f'{{{TOUCH}}}')",
        f"msp() if {TOUCH} else msp()",
        f"(x := {TOUCH})",
        f"msp({TOUCH})",
        "open('touched', 'w')",
        "eval(\"open('touched', 'w')\")",
        "energy.__globals__",
        "energy().apply",
        "msp.__class__()",
        "scores.energy()",
        "msp()[0]",
        "msp() & msp()",
        "msp() or msp()",
        "energy(T=9**9**9)",
        "energy(*[1])",
        "energy(**{'T': 1})",
        "import os",
        "msp(); msp()",
        "msp()\nenergy()",
        "msp(",
        "|msp()",
        "msp()\0",
        "\ud800",
        "1",
        "'msp()'",
        "",
        "  \n ",
        None,
        3,
        b"msp()",
        ["msp()"],
    ],
    ids=lambda text: repr(text)[:50],
)
def test_hostile_text_is_refused_and_never_evaluated(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"\S"):
        detector_text.parse(text)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "text",
    [
        "chain(" * 2000 + "msp()" + ")" * 2000,
        "(" * 9000 + "msp()" + ")" * 9000,
        "energy(T=" + "-" * 15000 + "1)",
        "energy(T=" + "(" * 100 + "1," + ",)" * 100 + ")",
        "energy(T=" + "1+" * 9000 + "1)",
        "msp()" + ".a" * 9000,
        "msp" + "()" * 9000,
        "msp()|" * 3000 + "msp()",
        "energy(T=" + "9" * 6000 + ")",
    ],
    ids=lambda text: text[:20],
)
def test_deep_nesting_is_refused(text):
    with pytest.raises(ValueError, match=r"\S"):
        detector_text.parse(text)


def test_very_long_text_is_refused():
    with pytest.raises(ValueError, match="at most 20000 characters"):
        detector_text.parse("msp()" + " " * 20_000 + "|")


def test_a_hundred_detectors_in_one_text_are_read():
    parts = ", ".join(f"d{i}=ta(k=0.2)|react(clip={i}.5)|energy()" for i in range(100))
    assert detector_text.parse(f"bundle({parts})").spec.count("react") == 100


@pytest.mark.parametrize(
    "text",
    ["(" * 9000 + "k" + ")" * 9000, "ta(k=" + "-" * 15000 + "k)", "k" + ".a" * 9000],
    ids=lambda text: text[:20],
)
def test_free_names_of_deep_texts_are_refused(text):
    with pytest.raises(ValueError, match=r"nested this deeply|cannot read"):
        detector_text.free_names(text)
