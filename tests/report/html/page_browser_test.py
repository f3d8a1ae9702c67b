"""The page in a real browser: sorts, filters, keyboard, narrow and dark screens."""

from helpers import tiny_picture
import pytest

from jood.report.html import page

pytestmark = pytest.mark.slow

NAMES = ("Energy", "FS+TA", "MSP", "ReAct+TA", "KNN")
AUROCS = (92.04, 95.6, 88.0, float("nan"), 100.0)
SETS = ("near", "far_away", "gaussian_noise", "textures", "mean")
LONG = "fuse(feature_sim(),energy(),weights=(1,0.016))|" * 4


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A page with a wide table, a wide picture and words that do not break."""
    columns = [page.GridColumn("detector")]
    for name in SETS:
        columns.append(page.GridColumn("AUROC", name, descending=True))
        columns.append(page.GridColumn("FPR95", name))
    rows = [
        [page.Cell(name)] + [page.Cell(f"{x:.1f}", x), page.Cell("5.0", 5.0)] * 5
        for name, x in zip(NAMES, AUROCS, strict=True)
    ]
    card = page.Card(
        [(page.embedded(tiny_picture.png()), "image")] * 3, ["score", LONG]
    )
    blocks = [
        page.Text(f"A paragraph about {LONG}"),
        page.Grid(columns, rows, f"Caption {LONG}"),
        page.PictureBlock(tiny_picture.png(1200, 300), f"Picture {LONG}", "stem", 1200),
        page.Cards(f"Cards {LONG}", [card] * 5),
        page.Facts("Configuration", {"detector": LONG}),
    ]
    text = page.render(f"Title {LONG}", LONG, [page.Section("Results", blocks)])
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(text, encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def open_page(browser, address):
    """Opens the page; at the end, no console message and no request but the file."""
    contexts, told, asked = [], [], []

    def opened(width=1200, scheme="light"):
        context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme
        )
        contexts.append(context)
        shown = context.new_page()
        shown.on("console", lambda message: told.append(message.text))
        shown.on("pageerror", lambda error: told.append(str(error)))
        shown.on("request", lambda request: asked.append(request.url))
        shown.goto(address)
        return shown

    yield opened
    for context in contexts:
        context.close()
    assert told == []
    assert {url for url in asked if not url.startswith("data:")} == {address}


def names(shown):
    return shown.locator("tbody tr:not([hidden]) th").all_inner_texts()


def sorting(shown, index):
    return shown.locator("thead tr:last-child th").nth(index).get_attribute("aria-sort")


def test_a_click_sorts_best_first_and_another_turns_it_round(open_page):
    shown = open_page()
    assert names(shown) == list(NAMES)
    button = shown.locator("thead button").nth(1)
    button.click()
    assert names(shown) == ["KNN", "FS+TA", "Energy", "MSP", "ReAct+TA"]
    assert sorting(shown, 1) == "descending"
    button.click()
    assert names(shown) == ["MSP", "Energy", "FS+TA", "KNN", "ReAct+TA"]  # NaN last
    assert sorting(shown, 1) == "ascending"
    shown.locator("thead button").first.click()
    assert names(shown) == sorted(NAMES)
    assert (sorting(shown, 0), sorting(shown, 1)) == ("ascending", "none")


def test_lower_is_better_sorts_the_other_way_first_and_equal_rows_stay(open_page):
    shown = open_page()
    shown.locator("thead button").nth(2).click()
    assert sorting(shown, 2) == "ascending"
    assert names(shown) == list(NAMES)


def test_words_filter_rows_and_the_number_is_told(open_page):
    shown = open_page()
    told = shown.locator("output")
    assert told.inner_text() == "5 rows"
    box = shown.get_by_label("Filter rows")
    box.fill("ta")
    assert names(shown) == ["FS+TA", "ReAct+TA"]
    assert told.inner_text() == "2 of 5 rows"
    shown.locator("thead button").nth(1).click()  # a filter outlives sorting
    assert names(shown) == ["FS+TA", "ReAct+TA"]
    box.fill("TA react")
    assert names(shown) == ["ReAct+TA"]
    box.fill("nothing of the kind")
    assert names(shown) == []
    assert told.inner_text() == "0 of 5 rows"
    box.fill("")
    assert len(names(shown)) == 5


def test_the_keyboard_alone_filters_sorts_and_scrolls(open_page):
    shown = open_page()

    def focused():
        return shown.evaluate(
            "document.activeElement.textContent.trim() || document.activeElement.type"
        )

    def tab_to(wanted):
        for _ in range(30):
            shown.keyboard.press("Tab")
            if focused() == wanted:
                return
        raise AssertionError(f"Tab does not reach {wanted!r}")

    shown.keyboard.press("Tab")
    assert focused() == "Skip to the content"
    tab_to("search")
    shown.keyboard.type("energy")
    assert names(shown) == ["Energy"]
    shown.keyboard.press("Control+A")
    shown.keyboard.press("Delete")
    tab_to("AUROC")
    style = "getComputedStyle(document.activeElement)"
    assert shown.evaluate(f"{style}.outlineStyle") == "solid"
    shown.keyboard.press("Enter")
    assert names(shown)[0] == "KNN"
    assert focused() == "AUROC"
    shown.keyboard.press("Space")
    assert names(shown)[0] == "MSP"
    tab_to("Configuration")
    shown.keyboard.press("Enter")
    assert shown.locator("details").get_attribute("open") is not None


@pytest.mark.parametrize("width", [320, 390, 1200])
def test_the_table_scrolls_and_not_the_page(open_page, width):
    shown = open_page(width)
    shown.locator("summary").click()
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    scroll = shown.locator(".grid .scroll")
    wide = scroll.evaluate("e => e.scrollWidth > e.clientWidth")
    assert wide == (width < 1000)
    if wide:
        scroll.evaluate("e => { e.scrollLeft = 200; }")
        assert scroll.evaluate("e => e.scrollLeft") == 200
        left = scroll.evaluate("e => e.getBoundingClientRect().left")
        name = shown.locator("tbody th").first.bounding_box()
        assert name["x"] == pytest.approx(left, abs=1)  # the names stay in sight


def test_every_picture_is_shown(open_page):
    shown = open_page()
    sizes = shown.evaluate("[...document.images].map((i) => i.naturalWidth)")
    assert len(sizes) == 16
    assert min(sizes) > 0


def test_a_picture_opens_large_with_those_beside_it_and_escape_closes_it(open_page):
    shown = open_page()
    dialog = shown.locator("dialog")
    small = shown.locator(".strip .open").first
    small.click()
    assert dialog.evaluate("e => e.open")
    widths = dialog.locator("img").evaluate_all("all => all.map((i) => i.width)")
    assert len(widths) == 3
    assert min(widths) > 3 * small.bounding_box()["width"]
    shown.keyboard.press("Escape")
    assert not dialog.evaluate("e => e.open")
    small.focus()
    shown.keyboard.press("Enter")
    assert dialog.evaluate("e => e.open")
    dialog.get_by_role("button", name="Close").click()
    assert not dialog.evaluate("e => e.open")


@pytest.mark.parametrize(("width", "least"), [(390, 800), (1400, 1200)])
def test_a_plot_is_shown_at_a_size_that_can_be_read(open_page, width, least):
    shown = open_page(width)
    plot = shown.locator(".plot img")
    assert least <= plot.bounding_box()["width"] <= 1200
    plot.click()
    large = shown.locator("dialog img")
    assert large.evaluate("i => i.width") == 1200
    assert shown.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_plot_has_a_white_ground(open_page, scheme):
    shown = open_page(scheme=scheme)
    css = "e => getComputedStyle(e).backgroundColor"
    assert shown.locator(".plot img").evaluate(css) == "rgb(255, 255, 255)"
    shown.locator(".plot img").click()
    assert shown.locator("dialog img").evaluate(css) == "rgb(255, 255, 255)"


def luminance(colour):
    """Of 'rgb(r, g, b)', as WCAG defines it."""
    parts = [int(x) / 255 for x in colour[4:-1].split(",")]
    linear = [
        x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts
    ]
    return sum(w * x for w, x in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_on_light_and_dark_screens(open_page, scheme):
    shown = open_page(scheme=scheme)

    def colour(selector, what):
        css = f"e => getComputedStyle(e).{what}"
        return luminance(shown.locator(selector).first.evaluate(css))

    for behind in (
        colour("body", "backgroundColor"),
        colour(".cards li", "backgroundColor"),
    ):
        assert (behind < 0.2) == (scheme == "dark")
        for selector in ("body", "figcaption", "nav a", "td", ".caption"):
            pair = sorted([behind, colour(selector, "color")])
            assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5
