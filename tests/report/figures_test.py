"""What figures share: legends that fit, files that are equal in equal runs."""

from matplotlib import lines
import pytest

from jood.report import figures


@pytest.mark.parametrize("panels", [1, 2, 3])
@pytest.mark.parametrize("count", [2, 11])
def test_a_legend_below_lies_inside_the_figure_and_below_the_panels(panels, count):
    fig, axes = figures.grid(panels, 3.8, 2.6)
    for axis in axes:
        axis.set(title="a detector", xlabel="score")
    names = [f"a_longer_name_{i}" for i in range(count)]
    figures.legend_below(fig, [lines.Line2D([], [], label=name) for name in names])
    fig.draw_without_rendering()
    (legend,) = fig.legends
    assert [text.get_text() for text in legend.get_texts()] == names
    box = legend.get_window_extent()
    assert fig.bbox.x0 <= box.x0 < box.x1 <= fig.bbox.x1
    assert fig.bbox.y0 <= box.y0
    for axis in axes:
        assert axis.get_tightbbox().y0 > box.y1
        assert axis.get_window_extent().height > 1.2 * fig.dpi  # panels keep theirs


def test_equal_pictures_are_equal_files(tmp_path):
    contents = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        fig, (axis,) = figures.grid(1, 2, 2)
        axis.plot([0, 1])
        figures.save_pictures(tmp_path / folder, {"p": fig})
        files = sorted((tmp_path / folder).iterdir())
        contents.append({file.name: file.read_bytes() for file in files})
    assert contents[0] == contents[1]
    assert list(contents[0]) == ["p.pdf", "p.png"]
    assert b"CreationDate" not in contents[0]["p.pdf"]
