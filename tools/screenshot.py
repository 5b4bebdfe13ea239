"""Take book/_static/site.png, the README's picture: python tools/screenshot.py [PAGE]."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import browser  # noqa: E402

from dltlib import book  # noqa: E402

if __name__ == "__main__":
    site = book.build().parent
    page_name = sys.argv[1] if len(sys.argv) > 1 else f"{(book.chapters() or ['intro'])[0]}"
    with browser.chromium() as chromium:
        page = chromium.new_page(viewport={"width": 1280, "height": 860}, color_scheme="light")
        page.goto((site / "book" / f"{page_name}.html").as_uri())
        page.evaluate("window.MathJax?.startup?.promise")
        page.screenshot(path=ROOT / "book" / "_static" / "site.png")
