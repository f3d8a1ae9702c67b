"""The generated page of all methods is what the code says now."""

import importlib.util
import re

from helpers.jobs import ROOT

from jood.methods import detector_text


def make_methods():
    where = ROOT / "docs" / "make_methods.py"
    found = importlib.util.spec_from_file_location("make_methods", where)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_the_methods_page_is_up_to_date():
    module = make_methods()
    assert module.PAGE.read_text() == module.page(), (
        "the methods changed: run python docs/make_methods.py"
    )


def test_every_method_has_a_row_with_slot_and_paper():
    module = make_methods()
    for name, factory in detector_text.factories().items():
        call, slot, what, fits, cost, paper, *_ = module.row(name, factory)
        assert call.startswith(f"`{name}(")
        assert slot == factory().slot
        assert what
        assert cost
        assert (fits == "–") == (not factory().passes), name
        ours = paper.startswith(("Feature Map", "Sun et al., HIMPLoS", "LFF"))
        assert ours or re.search(r"\b(19|20)\d\d\b", paper), f"{name}: {paper!r}"
