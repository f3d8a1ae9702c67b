"""The generated page of all methods is what the code says now."""

import re

import make_methods

from jood.methods import detector_text


def test_the_methods_page_is_up_to_date():
    assert make_methods.PAGE.read_text() == make_methods.page(), (
        "the methods changed: run python docs/make_methods.py"
    )


def test_every_method_has_a_row_with_slot_and_paper():
    for name, factory in detector_text.factories().items():
        call, slot, what, fits, cost, paper, *_ = make_methods.row(name, factory)
        assert call.startswith(f"`{name}(")
        assert slot == factory().slot
        assert what
        assert cost
        assert (fits == "–") == (not factory().passes), name
        ours = paper.startswith(("Feature Map", "Sun et al., HIMPLoS", "LFF"))
        assert ours or re.search(r"\b(19|20)\d\d\b", paper), f"{name}: {paper!r}"
