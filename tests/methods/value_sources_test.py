"""Every value of a detector has a source: typed, published, a fallback or a default."""

import ast

import pytest

import jood
from jood import models
from jood.methods import detector_list
from jood.methods import preset_values
from jood.methods import presets
from jood.methods import value_sources


def values_of(spec):
    """The values in a full text, 'method(parameter=value)'."""
    calls = [node for node in ast.walk(ast.parse(spec)) if isinstance(node, ast.Call)]
    return {
        f"{call.func.id}({word.arg}={ast.unparse(word.value)})"
        for call in calls
        for word in call.keywords
    }


@pytest.mark.parametrize("benchmark", preset_values.BENCHMARKS)
def test_every_value_of_every_row_has_a_source(benchmark):
    names = [*presets.templates(), *presets.PRESETS]
    for name, row in detector_list.read_each({n: n for n in names}, benchmark).items():
        assert set(row.sources) == values_of(row.component.spec), name
        assert all(row.sources.values())


@pytest.mark.parametrize("benchmark", preset_values.BENCHMARKS)
def test_a_source_names_what_it_is_for_and_no_placeholder_is_left(benchmark):
    for network in models.names():
        values = preset_values.resolve(benchmark, network)
        for value in values.values():
            assert value.source, network
            assert not {"{", "}"} & set(value.source), network
        clip = values["clip"]
        published = "HIMPLoS, Sec. V-F, for" in clip.source
        assert published == clip.text.startswith("clip="), (clip, network)
        if clip.source.startswith("fallback: 0.9-quantile"):
            assert clip.source.endswith(f"no published value for {network}")


def test_typed_published_and_default_values_are_told_apart():
    text = "bundle(**{'a b': himplos, 'c': ta(0.1)|react()|energy()})"
    assert value_sources.of(text, "cifar10", "densenet100_cifar") == {
        "feature_mask(q=0.6)": "HIMPLoS, Sec. V-F",
        "react(clip=1.6)": "HIMPLoS, Sec. V-F, for DenseNet",
        "energy(T=1.0)": "default",
        "ta(k=0.1)": "as given",
        "ta(stage='C4')": "default",
        "react(q=0.9)": "default",
    }


def test_values_of_one_source_stand_together():
    sources = value_sources.of("line_energy", "cifar10", "densenet100_cifar")
    assert value_sources.written(sources) == (
        "line(q_a=0.9), line(q_w=0.9), line(clip=1.0): LINE's paper, for "
        "DenseNet; "
        "energy(T=1.0): default"
    )


def test_a_benchmark_s_own_values_are_called_so_and_others_are_fallbacks(monkeypatch):
    monkeypatch.setattr(preset_values, "BENCHMARKS", {**preset_values.BENCHMARKS})
    preset_values.register("own", preset_values.PresetValues({"k": "0.4"}))
    row = detector_list.read("fs_ta_energy", "own")
    assert row.component.spec.startswith("ta(k=0.4,")
    assert row.sources["ta(k=0.4)"] == "the values of benchmark own"
    assert row.sources["fuse(weights='scale')"].startswith("fallback")
    assert jood.parse("himplos", "own").slot == "score"
