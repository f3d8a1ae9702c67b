"""Bars of a metric, a pair per detector: jood's and a paper's."""

from collections.abc import Mapping, Sequence

from matplotlib import figure
import numpy as np

from jood.report import figures


def draw(
    names: Sequence[str],
    values: Mapping[str, Mapping[str, float]],
    axis_title: str,
    title: str,
) -> figure.Figure:
    """Draws bars of percentages, a group per detector.

    Args:
      names: The detectors, from left to right.
      values: Percentages by series ('jood: ...', 'paper: ...') and detector; one
        that is missing has no bar.
      axis_title: Name of the quantity that is the height.
      title: Text above the bars.
    """
    size = (min(1.6 + 0.75 * len(names), figures.WIDTH), 3.2)
    fig = figure.Figure(figsize=size, layout="constrained")
    axis = fig.subplots()
    axis.spines[["top", "right"]].set_visible(False)
    width = 0.8 / len(values)
    for index, (series, numbers) in enumerate(values.items()):
        places = [i for i, name in enumerate(names) if name in numbers]
        heights = [numbers[names[i]] for i in places]
        left = np.array(places) - 0.4 + width * (index + 0.5)
        drawn = axis.bar(
            left, heights, width, color=figures.COLOURS[index], label=series
        )
        axis.bar_label(drawn, fmt="%.1f", fontsize=8, padding=1)
    axis.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=9)
    axis.set(ylabel=axis_title, ylim=(0, None))
    axis.set_title(title, fontsize=10)
    figures.legend_below(fig, axis.get_legend_handles_labels()[0])
    return fig
