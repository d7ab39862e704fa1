"""Comparing any two tables: /api/v1/comparison, and its page under Monitoring."""

from typing import Annotated

from litestar import Controller, get
from litestar.params import FromQuery, QueryParameter

from kedge.server.comparing import RULES
from kedge.server.reading.comparing import ComparisonPage, comparison_page, offers
from kedge.server.routes.given import ANSWERS, TheComparisons, TheHouse, ThePages
from kedge.server.routes.pages import Page, show
from kedge.web.comparing import comparison_values

_PATIENCE = 2.0  # seconds that a browser waits
_LOOK_AGAIN = "2"
Version = Annotated[
    str,
    QueryParameter(
        max_length=400,
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


class ComparisonPages(Controller):
    """The comparison as a page."""

    include_in_schema = False

    @get("/monitoring/compare", sync_to_thread=True)
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
        values = comparison_values(found.comparison) if found.comparison is not None else {}
        offered = {"all_rules": RULES, "offers": offers(house)}
        shown = show(pages, "comparison", title="Compare", noun="Monitoring", page=found, **offered, **values)
        if found.waiting is not None:
            shown.set_header("refresh", _LOOK_AGAIN)
        return shown
