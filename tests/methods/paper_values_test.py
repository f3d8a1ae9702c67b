"""Presets know whose table they are for, and for whose network a value is."""

import re

import pytest

import jood
from jood import papers
from jood.deploy import method_choice
from jood.methods import detector_list
from jood.methods import paper_values
from jood.methods import preset_values
from jood.methods import presets
from jood.methods import value_sources
from jood.papers import row_reading


@pytest.mark.parametrize("benchmark", ["cifar10", "cifar100", "imagenet", "waterbirds"])
def test_feature_sim_compares_with_the_same_knn_and_dice_in_all_experiments(benchmark):
    rows = presets.everything(benchmark, paper="feature_sim")
    assert rows["KNN"] == "knn(k=1000)"
    assert rows["DICE"] == "dice(q=0.7)|energy()"
    assert rows["DICE"] == presets.preset("dice_energy", benchmark, "", "feature_sim")
    own = presets.everything(benchmark)
    expected = {"cifar10": "0.9", "cifar100": "0.9"}.get(benchmark, "0.7")
    assert own["DICE"] == f"dice(q={expected})|energy()"


@pytest.mark.parametrize("paper", ["", "himplos", "lff", "ssod"])
@pytest.mark.parametrize("benchmark", ["cifar10", "imagenet"])
def test_a_paper_without_values_of_its_own_takes_each_method_s(benchmark, paper):
    rows = presets.everything(benchmark, "resnet50", paper)
    assert rows == presets.everything(benchmark, "resnet50")


def test_odin_takes_no_step_in_feature_sim_s_waterbirds_rows_alone():
    rows = {
        benchmark: presets.everything(benchmark, paper="feature_sim")["ODIN"]
        for benchmark in ("waterbirds", "cifar10", "imagenet")
    }
    assert rows.pop("waterbirds") == "odin(eps=0.0)"
    assert set(rows.values()) == {"odin(eps=0.0014)"}
    assert presets.everything("waterbirds")["ODIN"] == "odin(eps=0.0014)"
    assert not jood.parse("odin(eps=0.0)").needs_network  # temperature alone


def test_wherever_a_preset_is_read_it_can_be_told_the_paper():
    values = ("cifar10", "densenet100_cifar", "feature_sim")
    assert jood.parse("knn_paper", *values[:2], paper=values[2]).spec.startswith(
        "knn(k=1000,"
    )
    (row,) = detector_list.read_each({"a": "knn_paper"}, *values).values()
    assert row.component.spec.startswith("knn(k=1000,")
    assert row.sources["knn(k=1000)"].startswith("Feature Sim, App. A.2, 'in all")
    assert value_sources.of("knn_paper", *values) == row.sources
    chosen = method_choice.rows("KNN", *values)["KNN"]
    assert chosen.component.spec.startswith("knn(k=1000,")
    assert row_reading.read("KNN", *values).component.spec.startswith("knn(k=1000,")


def test_an_unknown_paper_is_told_the_known_ones():
    with pytest.raises(ValueError, match=r"paper 'feature_sims'.*feature_sim"):
        presets.preset("knn_paper", "cifar10", paper="feature_sims")
    assert tuple(paper_values.PAPERS) == papers.PAPERS


@pytest.mark.parametrize(
    ("network", "line", "source"),
    [
        ("resnet50", "q_a=0.1, q_w=0.1, clip=0.8", "LINE's paper, for ResNet-50"),
        ("mobilenet_v2", "q_a=0.1, q_w=0.1, clip=0.2", "HIMPLoS's clip for MobileNet"),
        ("vit_b_16", "q_a=0.1, q_w=0.1, clip=0.8", "no published value for vit_b_16"),
        ("densenet121", "q_a=0.1, q_w=0.1, clip=0.8", "value for densenet121"),
    ],
)
def test_line_says_for_which_network_its_values_were_published(network, line, source):
    value = preset_values.resolve("imagenet", network)["line"]
    assert value.text == line
    assert source in value.source
    assert value.source.startswith("fallback") == (network != "resnet50")


def test_line_on_cifar_is_published_for_densenet():
    own = preset_values.resolve("cifar100", "densenet100_cifar")["line"]
    other = preset_values.resolve("cifar100", "resnet18_cifar")["line"]
    assert own.text == other.text == "q_a=0.1, q_w=0.9, clip=1.0"
    assert own.source == "LINE's paper, for DenseNet"
    assert re.fullmatch(
        "fallback: .* no published value for resnet18_cifar", other.source
    )


@pytest.mark.parametrize(
    ("benchmark", "weight"), [("imagenet", 1300), ("cifar100", 130), ("cifar10", 13)]
)
def test_odin_s_weight_follows_the_number_of_classes_but_in_feature_sim_s_tables(
    benchmark, weight
):
    own = presets.preset("fs_ta_odin", benchmark)
    assert own.endswith(f"weights=(1, {weight}))")
    papers_own = presets.preset("fs_ta_odin", benchmark, paper="feature_sim")
    assert papers_own.endswith("weights=(1, 1300))")


def test_feature_sim_fuses_the_mean_form_of_gradnorm():
    assert "gradnorm(norm='mean'), weights=(1, 0.4)" in presets.preset("fs_ta_gradnorm")


def test_the_row_of_knn_says_what_a_part_of_the_bank_does():
    source = preset_values.resolve("imagenet", "resnet50")["knn"].source
    assert "takes that part of k (39 for 50,000 of ImageNet's)" in source
