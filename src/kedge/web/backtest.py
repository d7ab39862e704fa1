"""The page of a backtest: one file that needs nothing beside it. Curves of cost, marks of trainings, the table.

The figures are SVG with a title on each mark; the style sheets of the UI are in the file.
"""

from collections.abc import Sequence
from math import ceil, log

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from kedge.domain.backtest import Backtest, PolicyCost, PricedBacktest
from kedge.web import charts, curves, words
from kedge.web.assets import HERE
from kedge.web.charts import Frame
from kedge.web.curves import Curves, Line, colour_of

STYLES = ("tokens", "ground", "frame", "parts", "charts", "tracking")
DRAWN = ("ledger", "best interval in hindsight", "oracle", "square-root interval", "risk")
WIDTH, ROW, LEFT = 930, 22, 225


def page_of(made: Backtest) -> str:
    """Write a backtest as a page."""
    jinja = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    styles = "\n".join((HERE / "static" / f"{name}.css").read_text() for name in STYLES)
    jinja.filters |= FILTERS
    return jinja.get_template("backtest.html").render(
        made=made,
        results=figures_of(made),
        words=words,
        charts=charts,
        styles=Markup(styles),  # noqa: S704 - our own style sheets
    )


def figures_of(made: Backtest) -> list[tuple[PricedBacktest, Markup, Markup]]:
    """Draw each price's two figures: cost so far, and when each policy trained."""
    return [(result, cost_figure(result), decisions(made, result.policies)) for result in made.results]


def own_first(made: Backtest, price: float) -> Backtest:
    """Give a backtest whose first results are those nearest to a price, of the least delay first."""
    near = min((abs(log(one.price / price)) for one in made.results), default=0.0) if price > 0 else 0.0
    own = [one for one in made.results if price > 0 and abs(log(one.price / price)) <= near + 1e-9]
    return msgspec.structs.replace(made, results=(*own, *(one for one in made.results if one not in own)))


def scale_of(result: PricedBacktest) -> float:
    """Choose one scale down a table: the greatest end of any interval."""
    return max([*(abs(end) for one in result.policies for end in (one.low, one.high)), 1e-9]) * 1.05


def sentence(result: PricedBacktest) -> str:
    """Say what a price's table comes to."""
    costs = {one.policy: one for one in result.policies}
    ledger = costs["ledger"]
    real = [one for one in result.policies if not one.hindsight]
    best = min(real, key=lambda one: one.relative)
    if best.policy == "ledger":
        return f"The ledger costs least: {words.number(ledger.relative)} of never retraining."
    return (
        f"{best.policy[0].upper()}{best.policy[1:]} costs least, {words.number(best.relative)} of never retraining; "
        f"the ledger {words.number(ledger.relative)}."
    )


def drawn(result: PricedBacktest) -> list[tuple[str, str]]:
    """Name the policies that are drawn as lines, each with the class of its colour."""
    there = {one.policy for one in result.policies}
    return [(name, colour_of(place)) for place, name in enumerate(name for name in DRAWN if name in there)]


def cost_figure(result: PricedBacktest) -> Markup:
    """Draw the cost so far of some policies against never's, step by step."""
    costs = {one.policy: one for one in result.policies}
    never = costs["never"].by_step
    lines: list[Line] = []
    for name, css in drawn(result):
        pairs = zip(costs[name].by_step, never, strict=True)
        lines.append(Line(name, css, [(float(step), cost - paid) for step, (cost, paid) in enumerate(pairs)]))
    title = f"Cost so far less never's, as a share of never's whole cost, at a price of {result.price:g}"
    return curves.figure(Curves(title=title, lines=lines))


FILTERS = {"costs_say": sentence, "costs_scale": scale_of, "costs_drawn": drawn}


def decisions(made: Backtest, policies: Sequence[PolicyCost]) -> Markup:
    """Draw when each policy trained: a row each, a mark for each training."""
    height = ROW * len(policies) + 28
    seconds = [(begin - made.begins[0]).total_seconds() for begin in made.begins]
    named = "%d %b %H:%M" if seconds[-1] < 4 * 86400 else "%d %b %y"
    frame = Frame(left=LEFT, right=WIDTH - 40, top=8, bottom=height - 20, x=(0, max(seconds[-1], 1)), y=(0, len(policies)))
    parts = []
    for place, one in enumerate(policies):
        y = 8 + ROW * place + ROW / 2
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{frame.right}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text class="name" x="{LEFT - 10}" y="{y + 4}" text-anchor="end">{escape(one.policy)}</text>')
        for at in one.trained:
            x = frame.x((at - made.begins[0]).total_seconds())
            parts.append(f'<circle class="dot one" cx="{x:.1f}" cy="{y}" r="3"><title>{words.utc(at)}</title></circle>')
    for begin in made.begins[:: ceil(len(made.begins) / 8)]:
        x = frame.x((begin - made.begins[0]).total_seconds())
        parts.append(f'<text class="tick" x="{x:.1f}" y="{height - 4}" text-anchor="middle">{begin:{named}}</text>')
    box = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    body = "".join(parts)
    return Markup(f'<svg class="chart decisions" {box} role="img" aria-label="When each policy trained">{body}</svg>')  # noqa: S704 - numbers, our own classes, and escaped text only
