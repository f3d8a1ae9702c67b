"""The detector that a row of a paper's table is."""

from jood.methods import detector_list
from jood.methods import presets


def read(text: str, benchmark: str, network: str, paper: str = "") -> detector_list.Row:
    """Returns the detector of a row, with a benchmark's, network's, paper's values."""
    template = presets.templates().get(text, text)
    return detector_list.of_template(text, template, benchmark, network, paper)
