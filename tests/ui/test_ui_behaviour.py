"""What a person does with the pages: keyboard, theme, live updates, going back."""

import pytest
from playwright.sync_api import expect
from tests.ui.conftest import served
from tests.ui.filled import FilledHouse, fortnight
from tests.ui.looking import opened
from tests.ui.seed import DAY, MODEL, START

from kedge.domain.events import Event, EventKind
from kedge.domain.ids import digest_of

pytestmark = pytest.mark.ui
RING = """() => {
  const style = getComputedStyle(document.activeElement);
  return document.activeElement !== document.body && style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
}"""
SHIFT = """
  window.shift = 0;
  new PerformanceObserver((list) => { for (const one of list.getEntries()) window.shift += one.value; })
    .observe({ type: "layout-shift", buffered: true });
"""


def test_the_theme_is_chosen_and_kept(browser, site):
    context = browser.new_context(color_scheme="light")
    with opened(context, site, "/") as (page, wrong):
        ground = "getComputedStyle(document.body.parentElement).backgroundColor"
        light = page.evaluate(ground)
        for name in ("light", "dark"):
            page.locator("#theme").click()
            expect(page.locator("#theme")).to_have_text(f"Theme: {name}")
        assert page.evaluate(ground) != light
        page.reload()
        expect(page.locator("#theme")).to_have_text("Theme: dark")
        assert page.evaluate(ground) != light
        assert wrong == []
    context.close()


def test_times_can_be_shown_as_utc(contexts, site):
    with opened(contexts(1440), site, "/") as (page, _):
        first = page.locator("#happened time").first
        expect(first).to_have_text("29 h ago")
        page.locator("#times").click()
        expect(first).to_have_text("2013-12-28 00:00:00 UTC")
        expect(page.locator("#times")).to_have_attribute("aria-pressed", "true")


def test_every_control_is_reached_by_tab_with_a_ring(contexts, site):
    with opened(contexts(1440), site, "/models/flights") as (page, _):
        controls = page.evaluate(
            "[...document.querySelectorAll('a[href], button, input, summary, [tabindex]')]"
            ".filter((one) => one.checkVisibility() && one.tabIndex >= 0).length"
        )
        for _ in range(controls):
            page.keyboard.press("Tab")
            assert page.evaluate(RING), page.evaluate("document.activeElement.outerHTML.slice(0, 120)")


def test_the_menu_of_a_phone_closes_with_escape_and_gives_focus_back(contexts, site):
    with opened(contexts(390), site, "/") as (page, _):
        summary = page.locator(".menu summary")
        summary.click()
        expect(page.locator(".menu div")).to_be_visible()
        page.keyboard.press("Tab")
        page.keyboard.press("Escape")
        expect(page.locator(".menu div")).not_to_be_visible()
        expect(summary).to_be_focused()


def test_slash_finds(contexts, site):
    with opened(contexts(1440), site, "/") as (page, _):
        page.keyboard.press("/")
        page.keyboard.type("v3")
        page.keyboard.press("Enter")
        page.wait_for_url("**/models/flights/versions/3")


def test_promoting_asks_first_and_the_safe_choice_is_focused(browser):
    house = FilledHouse(fortnight())
    with served(house) as site:
        context = browser.new_context()
        with opened(context, site, "/models/flights") as (page, wrong):
            page.get_by_role("link", name="Promote v2 now").click()
            expect(page.get_by_role("link", name="Keep it as it is")).to_be_focused()
            page.get_by_label("Type flights v2 to promote").fill("flights v2")
            page.get_by_label("Reason").fill("storm forecast")
            page.get_by_role("button", name="Promote v2").click()
            page.wait_for_url("**/models/flights")
            assert "v2" in page.locator("h1").inner_text()
            assert wrong == []
        context.close()
    assert house.meta.deployments.find(MODEL).champion == 2


def happen(meta, number):
    meta.events.append(
        Event(
            key=digest_of("fresh", number),
            kind=EventKind.TURN_ENDED,
            at=START + 14 * DAY,
            subject=MODEL,
            actor="policy:ledger",
            message=f"Turn {number} ended.",
        )
    )


def test_news_wait_behind_a_button(browser):
    house = FilledHouse(fortnight(), at=START + 14 * DAY)
    context = browser.new_context()
    with served(house) as site, opened(context, site, "/") as (page, wrong):
        line = page.locator("#line")
        expect(line).to_have_text("Live")
        before = page.locator("#happened li").first.inner_text()
        happen(house.meta, 1)
        button = page.locator("button.news")
        expect(button).to_have_text("1 new, show", timeout=8000)
        assert page.locator("#happened li").first.inner_text() == before
        button.click()
        expect(page.locator("#happened li").first).to_contain_text("Turn 1 ended.")
        assert wrong == []
    context.close()


def test_a_lost_line_is_said(browser):
    context = browser.new_context()
    with served(FilledHouse(fortnight(), at=START + 14 * DAY)) as site:
        page = context.new_page()
        page.goto(site)
        expect(page.locator("#line")).to_have_text("Live")
    expect(page.locator("#line")).to_contain_text("Not live: figures are from", timeout=8000)
    page.close()
    context.close()


def test_nothing_moves_where_motion_is_reduced(browser, site):
    context = browser.new_context(reduced_motion="reduce")
    with opened(context, site, "/models/flights") as (page, _):
        moving = page.evaluate("document.getAnimations().length")
        assert moving == 0
    context.close()


def test_text_of_twice_the_size_still_fits(contexts, site):
    with opened(contexts(1440), site, "/") as (page, _):
        page.evaluate(
            "document.styleSheets[0].insertRule('html { font-size: 200% }', document.styleSheets[0].cssRules.length)"
        )
        assert page.evaluate("parseFloat(getComputedStyle(document.body).fontSize)") == 28
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("path", ["/", "/models/flights", "/monitoring"])
def test_a_page_is_light_and_still(contexts, site, path):
    page = contexts(1440).new_page()
    answers = []
    page.on("response", lambda answer: answers.append(answer))
    page.add_init_script(SHIFT)
    page.goto(site + path, wait_until="load")
    page.wait_for_timeout(400)
    own = [answer for answer in answers if "plotly.js" not in answer.url and "stream" not in answer.url]
    assert len(own) <= 6
    assert sum(len(answer.body()) for answer in own) < 400_000
    assert page.evaluate("window.shift") < 0.02
    page.close()
