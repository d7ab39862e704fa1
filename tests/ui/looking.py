"""Open a page in the browser and look for what must never be: messages, refusals, strangers, overflow, faint text."""

from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

LOOK = (Path(__file__).parent / "looking.js").read_text()


@contextmanager
def opened(context, site, path):
    """Open a page; gives it with the list of what went wrong so far."""
    page = context.new_page()
    wrong = []
    page.on(
        "console", lambda message: wrong.append(f"console: {message.text}") if message.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: wrong.append(f"script: {error}"))
    page.on("request", lambda request: _stranger(request.url, site, wrong))
    page.add_init_script(
        "addEventListener('securitypolicyviolation', (e) => console.error('refused', e.violatedDirective, e.blockedURI))"
    )
    page.goto(site + path, wait_until="load")
    try:
        yield page, wrong
    finally:
        page.close()


def _heard(message, wrong):
    if message.type in ("error", "warning"):
        wrong.append(f"console: {message.text}")


def _stranger(url, site, wrong):
    if urlsplit(url).netloc != urlsplit(site).netloc and not url.startswith(("data:", "blob:")):
        wrong.append(f"stranger: {url}")


def faults(page):
    """List what is wrong with a page as it stands."""
    return page.evaluate(LOOK)
