"""The detector that a row of a paper's table is."""

from jood.methods import detector_list
from jood.methods import detector_text
from jood.methods import presets
from jood.methods import value_sources


def read(text: str, benchmark: str, network: str) -> detector_list.Row:
    """Returns the detector of a row's text with a benchmark's and network's values."""
    template = presets.templates().get(text, text)
    component = detector_text.parse(presets.fill(template, benchmark, network).text)
    sources = value_sources.of_template(text, template, benchmark, network)
    return detector_list.Row(component, sources)
