"""Comparing any two tables: /api/v1/comparison, and its page under Monitoring."""

from typing import Annotated, Any
from urllib.parse import urlencode

from litestar import Controller, Request, Response, get, post
from litestar.datastructures import UploadFile
from litestar.params import FromQuery, MultipartBody, QueryParameter
from litestar.response import Redirect

from kedge.errors import RequestInvalid
from kedge.server.brought import BODY_AT_MOST, PLACES, BroughtFile
from kedge.server.comparing import RULES, ComparisonAsked
from kedge.server.door import COMPARED
from kedge.server.problems import handle
from kedge.server.reading.comparing import ComparisonPage, brought_page, comparison_page, offers
from kedge.server.routes.given import ANSWERS, TheComparisons, TheHouse, ThePages
from kedge.server.routes.pages import Page, show
from kedge.web.comparing import comparison_values

_PATIENCE = 2.0  # seconds that a browser waits
_LOOK_AGAIN = "2"
_LONGEST = 400
Version = Annotated[
    str,
    QueryParameter(
        max_length=_LONGEST,
        description="flights@v3, predictions:flights@2026-05-01..2026-05-08, or reference:flights@v3.",
    ),
]
Rules = Annotated[str, QueryParameter(max_length=40, description="kedge, evidently or nannyml.")]


class ComparisonRoutes(Controller):
    """The comparison as JSON."""

    path = "/api/v1/comparison"
    tags = ("monitoring",)

    @get("/", sync_to_thread=True, responses=ANSWERS)
    def compare(
        self,
        house: TheHouse,
        comparisons: TheComparisons,
        *,
        reference: Version = "",
        current: Version = "",
        rules: Rules = "kedge",
        together: FromQuery[bool] = False,
    ) -> ComparisonPage:
        """Tell how far each column of a table lies from a reference, and what is odd about it."""
        return comparison_page(house, comparisons, reference=reference, current=current, rules=rules, together=together)


def _refuse_words(request: Request[Any, Any, Any], error: UnicodeDecodeError) -> Response[Any]:
    """Refuse a form whose words cannot be read: they are read before the handler is asked."""
    return handle(request, RequestInvalid(f"a field of the form is no text in UTF-8: {error.reason}; send its words so"))


class ComparisonPages(Controller):
    """The comparison as a page."""

    include_in_schema = False

    @get(COMPARED, sync_to_thread=True)
    def page(
        self,
        pages: ThePages,
        house: TheHouse,
        comparisons: TheComparisons,
        *,
        reference: Version = "",
        current: Version = "",
        rules: Rules = "kedge",
        together: FromQuery[bool] = False,
    ) -> Page:
        """Show two sides and what moved between them."""
        found = comparison_page(
            house,
            comparisons,
            reference=reference.strip(),
            current=current.strip(),
            rules=rules,
            together=together,
            patience=_PATIENCE,
        )
        shown = _shown(pages, house, found=found)
        if found.waiting is not None:
            shown.set_header("refresh", _LOOK_AGAIN)
        return shown

    @post(
        COMPARED,
        sync_to_thread=True,
        request_max_body_size=BODY_AT_MOST,
        status_code=200,
        exception_handlers={UnicodeDecodeError: _refuse_words},
    )
    def brought(
        self, pages: ThePages, house: TheHouse, comparisons: TheComparisons, *, data: MultipartBody[dict[str, Any]]
    ) -> Page | Redirect:
        """Compare a file that a person brings; without one, lead to the page of what is named."""
        files = {side: _file(data.get(f"{side}_file")) for side in PLACES}
        given = {side: one for side, one in files.items() if one is not None}
        asked = {name: str(data.get(name) or "").strip()[:_LONGEST] for name in (*PLACES, "rules", "together")}
        if not given:
            told = {name: value for name, value in asked.items() if value}
            return Redirect(f"{COMPARED}?{urlencode(told)}", status_code=303)
        wishes = ComparisonAsked(asked["rules"] or RULES[0], asked["together"] == "true")
        try:
            found = brought_page(house, comparisons, names=asked, files=given, asked=wishes)
        finally:
            for one in given.values():
                one.data.close()
        return _shown(pages, house, found=found)


def _shown(pages: ThePages, house: TheHouse, *, found: ComparisonPage) -> Page:
    values = comparison_values(found.comparison) if found.comparison is not None else {}
    offered = {"all_rules": RULES, "offers": offers(house)}
    return show(pages, "comparison", title="Compare", noun="Monitoring", page=found, **offered, **values)


def _file(sent: object) -> BroughtFile | None:
    """Give a file of a form; None where none was chosen: a browser then sends one without a name."""
    if not isinstance(sent, UploadFile) or not sent.filename:
        return None
    return BroughtFile(sent.filename, sent.file)
