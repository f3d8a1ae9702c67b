"""What `chain` refuses because it would do nothing, and what it accepts."""

import pytest

from jood.core import component as component_lib
from jood.core import compose
from jood.methods import detector_text


@pytest.mark.parametrize(
    "text",
    [
        "react(clip=0.01)|feature_sim()",
        "temperature(T=9.0)|knn(k=2)",
        "ta(k=1.0)|feature_sim(stage='C3')",
        "prototype_smoothing()|knn()",
        "dice()|mahalanobis()",
        "react()|fuse(feature_sim(), gmm(), weights=(1, 1))",
        "react()|bundle(a=feature_sim(), b=gram())",
    ],
)
def test_a_part_that_the_score_does_not_read_is_refused(text):
    with pytest.raises(ValueError, match=r"has no effect on .* reads .* only"):
        detector_text.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "react()|fuse(feature_sim(), energy(), weights=(1, 1))",
        "ta(stage='C3')|gmm(stage='C4')",
        "ta()|knn()",
        "react()|knn()",
        "dice()|residual()",
        "dice()|pixel_msp()",
        "prototype_smoothing()|nnguide()",
    ],
)
def test_a_part_that_the_score_reads_is_accepted(text):
    assert (
        detector_text.parse(detector_text.parse(text).spec).spec
        == detector_text.parse(text).spec
    )


def test_a_nested_chain_is_the_flat_one_also_where_it_looks_again():
    inner = detector_text.parse("ta()|react(clip=1.0)")
    nested = compose.chain(inner, detector_text.parse("odin()"))
    flat = detector_text.parse("ta()|react(clip=1.0)|odin()")
    assert nested.edits == flat.edits
    assert nested.spec == flat.spec


def test_fitted_values_of_another_composition_are_refused():
    component = detector_text.parse("bundle(a=react()|energy(), b=dice()|energy())")
    with pytest.raises(
        component_lib.NotFittedError, match="expected the fitted values of 2"
    ):
        component.apply(((1.0,),), None)
