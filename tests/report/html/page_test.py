"""A page: one file that fetches nothing, says nothing it was not told to."""

from html import parser

from helpers import tiny_picture
import pytest

from jood.report.html import page


class Reader(parser.HTMLParser):
    """Collects tags with their attributes, and the text of cells."""

    def __init__(self):
        super().__init__()
        self.tags, self.cells, self.inside = [], [], False

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in ("td", "th"):
            self.cells.append("")
            self.inside = True

    def handle_endtag(self, tag):
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data):
        if self.inside:
            self.cells[-1] += data

    def found(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def read(text):
    reader = Reader()
    reader.feed(text)
    return reader


def everything():
    columns = [
        page.GridColumn("name"),
        page.GridColumn("AUROC", "near", descending=True),
    ]
    rows = [
        [page.Cell("a"), page.Cell("91.5", 91.53, "best")],
        [page.Cell("b<i>"), page.Cell("90.0", 90.0, "second")],
        [page.Cell("c"), page.Cell("–", float("nan"))],
    ]
    card = page.Card(
        [(page.embedded(tiny_picture.png()), "image")], ["score 1", "predicted: <b>"]
    )
    blocks = [
        page.Text("One.\n\nTwo & three."),
        page.Grid(columns, rows, "Caption."),
        page.PictureBlock(tiny_picture.png(), 'A "picture".', "stem", 40),
        page.Cards("near, highest", [card]),
        page.Facts("Configuration", {"seed": 0, "model": "m", "ood": ["x"]}),
    ]
    sections = [page.Section("What's in it?", blocks), page.Section("Empty", [])]
    return page.render("A <title>", "Line one.\nLine two.", sections)


def test_nothing_is_fetched():
    reader = read(everything())
    for _, attributes in reader.tags:
        for name in ("src", "href", "srcset", "action", "data"):
            assert attributes.get(name, "#").startswith(("#", "data:"))
    (policy,) = [
        meta["content"]
        for meta in reader.found("meta")
        if meta.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none'")
    assert "url(" not in everything()
    assert "@import" not in everything()


def test_what_it_is_given_is_text_and_not_markup():
    text = everything()
    assert "A &lt;title&gt;" in text
    assert "b&lt;i&gt;" in text
    assert "predicted: &lt;b&gt;" in text
    assert "Two &amp; three." in text
    assert read(text).found("img")[0]["alt"] == 'A "picture".'


def test_sections_are_linked_and_empty_ones_are_left_out():
    text = everything()
    reader = read(text)
    (section,) = reader.found("section")
    assert {"href": f"#{section['id']}"} in reader.found("a")
    assert "Empty" not in text


def test_cells_carry_the_value_they_are_sorted_by_and_their_mark():
    reader = read(everything())
    keys = [td["data-key"] for td in reader.found("td") if "data-key" in td]
    assert keys == ["91.53", "90.0", ""]
    assert reader.cells[-6:] == ["a", "91.5", "b<i>", "90.0", "c", "–"]
    assert "<b>91.5</b>" in everything()
    assert "<u>90.0</u>" in everything()
    columns = [th for th in reader.found("th") if th.get("scope") == "col"]
    assert [th["data-first"] for th in columns] == ["ascending", "descending"]
    assert [th["aria-sort"] for th in columns] == ["none", "none"]


def test_columns_of_one_group_share_a_heading():
    columns = [
        page.GridColumn("a"),
        page.GridColumn("b", "g"),
        page.GridColumn("c", "g"),
    ]
    assert page.Grid(columns, []).groups == [("", 1), ("g", 2)]


def test_rows_of_another_length_are_refused():
    with pytest.raises(ValueError, match="needs 2 cells"):
        page.Grid([page.GridColumn("a"), page.GridColumn("b")], [[page.Cell("x")]])


def test_a_picture_is_read_with_half_of_its_pixels(tmp_path):
    (tmp_path / "roc.png").write_bytes(tiny_picture.png(300, 100))
    picture = page.PictureBlock.read(tmp_path / "roc.png", "ROC.")
    assert (picture.width, picture.stem) == (150, "roc")
    assert picture.source.startswith("data:image/png;base64,")


def test_folded_blocks_are_on_the_page_below_a_title_that_opens_them():
    blocks = [page.Text("Inside."), page.Cards("Cards", [page.Card([], ["one"])])]
    folded = page.Folded("Of <b> too", blocks)
    text = page.render("t", "", [page.Section("s", [folded])])
    tags = [name for name, _ in read(text).tags]
    start = text.index("<details>")
    assert start < text.index("Of &lt;b&gt; too") < text.index("Inside.")
    assert text.index("<b>one</b>") < text.index("</details>")
    assert tags.count("details") == 1
