"""The detector that a row of a paper's table is."""

from jood.methods import detector_list
from jood.methods import detector_text
from jood.methods import presets
from jood.methods import value_sources


def read(text: str, benchmark: str, network: str, paper: str = "") -> detector_list.Row:
    """Returns the detector of a row, with a benchmark's, network's, paper's values."""
    template = presets.templates().get(text, text)
    values = (benchmark, network, paper)
    component = detector_text.parse(presets.fill(template, *values).text)
    sources = value_sources.of_template(text, template, *values)
    return detector_list.Row(component, sources)
