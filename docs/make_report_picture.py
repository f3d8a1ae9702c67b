"""Draws docs/report.png: the table and the mistakes of a quickstart's report.

    jood quickstart --seeds=5 --workdir=runs/five
    python docs/make_report_picture.py runs/five/results/report.html docs/report.png

It needs a Chromium, as the tests of the pages do.
"""

import pathlib
import shutil
import sys

from playwright import sync_api

_ROWS, _GROUPS = 5, 3  # of the table, and of its columns, those that fit
_SHOWN = "#results, #what-it-gets-wrong"


def main(report: str, picture: str) -> None:
    """Opens the page, hides the rest and writes the picture."""
    address = pathlib.Path(report).resolve().as_uri()
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        page = browser.new_page(
            viewport={"width": 800, "height": 1020},  # as wide as the text of the site
            device_scale_factor=2,
        )
        page.goto(address)
        page.add_style_tag(
            content=f"section:not({_SHOWN}) {{ display: none }}"
            f"#results tbody tr:nth-child(n + {_ROWS + 1}),"
            f"#results [scope=colgroup]:nth-child(n + {_GROUPS + 2}),"
            f"#results tr > :nth-child(n + {2 * _GROUPS + 2}) {{ display: none }}"
        )
        page.locator("#results").evaluate("section => section.scrollIntoView()")
        page.screenshot(path=picture)


if __name__ == "__main__":
    main(*sys.argv[1:])
