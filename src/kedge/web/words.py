"""How numbers, times and names are written for people: one place, so that every page writes them alike.

Numbers: three significant digits unless compared, thousands "10,482", minus "−" (U+2212). Times: relative up to a week,
then the day; the exact UTC time always stands beside it in `title` and `datetime`.
"""

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from kedge.domain.evaluation import METRIC_WORDS

NONE = "–"
_SMALL = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def number(value: float | None, digits: int = 3) -> str:
    """Write a number with so many significant digits; a missing or infinite one as a dash or ∞."""
    if value is None or math.isnan(value):
        return NONE
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    if places > 9:
        return f"{value:.{digits - 1}e}".replace("-", "−")
    return f"{value:,.{places}f}".replace("-", "−")


def value(measured: float | None) -> str:
    """Write a measured value as tables compare it: five significant digits, whole numbers as counts, NaN as a word."""
    if measured is None:
        return NONE
    if math.isnan(measured):
        return "NaN"
    if math.isinf(measured):
        return number(measured)
    if measured == int(measured) and abs(measured) < 1e12:
        return count(int(measured))
    if abs(measured) >= 1e6 or abs(measured) < 1e-4:
        return f"{measured:.4e}".replace("-", "−")
    return f"{measured:,.5g}".replace("-", "−")


def from_ms(milliseconds: int) -> datetime | None:
    """Read a client's time, in milliseconds since 1970; None for one that no calendar has."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, OSError, ValueError):
        return None


def source(text: str) -> str:
    """Write where data came from: of a description in JSON its address, else the text, cut."""
    found = re.search(r'"(?:uri|url|path|name)"\s*:\s*"([^"]{1,300})"', text)
    return found[1] if found else text[:300]


def loss(value: float | None) -> str:
    """Write a loss, which is compared: three decimals below ten."""
    if value is None or not math.isfinite(value):
        return number(value)
    return f"{value:,.3f}".replace("-", "−") if abs(value) < 10 else number(value, 4)


def measure(value: float | None) -> str:
    """Write what a check measured: whole numbers as counts, all else as a loss."""
    if value is None or not math.isfinite(value):
        return number(value)
    return count(int(value)) if value == int(value) else loss(value)


def check(name: str) -> str:
    """Write a check's name as a heading."""
    text = " ".join(metric(word) for word in name.split(" "))
    return text[:1].upper() + text[1:]


def plain(value: float) -> str:
    """Write a value as it is, to six digits."""
    return f"{value:.6g}".replace("-", "−")


def fixed(value: float, places: int) -> str:
    """Write a number with so many decimals."""
    return f"{value:.{places}f}".replace("-", "−")


def signed(value: float | None) -> str:
    """Write a difference with its sign, three decimals; what rounds to 0 has none."""
    if value is None or math.isnan(value):
        return NONE
    text = loss(abs(value))
    if not text.strip("0."):
        return text
    return ("−" if value < 0 else "+") + text


def count(value: int | None) -> str:
    """Write a count with thousands."""
    return NONE if value is None else f"{value:,}".replace("-", "−")


def many(value: int, one: str, *, more: str = "") -> str:
    """Write a count with its noun: "1 run", "10,482 runs"."""
    return f"{count(value)} {one if value == 1 else more or one + 's'}"


def small(value: int) -> str:
    """Write a small count as a word, as a sentence wants it."""
    return _SMALL[value] if 0 <= value < len(_SMALL) else count(value)


def percent(share: float | None) -> str:
    """Write a share of 1 as a percentage without its sign: "25", "0.4"."""
    if share is None or math.isnan(share):
        return NONE
    hundredfold = 100 * share
    return number(hundredfold, 2) if abs(hundredfold) < 1 else f"{hundredfold:,.0f}".replace("-", "−")


def odds(evidence: float | None) -> str:
    """Write evidence as odds: "14 : 1"; below even odds the other way round, "1 : 4"."""
    if evidence is None or math.isnan(evidence) or evidence < 0:
        return NONE
    if evidence == 0:
        return "0 : 1"
    if evidence >= 1e6 or evidence <= 1e-6:
        return "over 1,000,000 : 1" if evidence > 1 else "under 1 : 1,000,000"
    if evidence >= 1:
        return f"{number(evidence, 2) if evidence < 100 else count(_two_digits(evidence))} : 1"
    return f"1 : {number(1 / evidence, 2) if evidence > 0.01 else count(_two_digits(1 / evidence))}"


def _two_digits(value: float) -> int:
    scale: int = 10 ** max(0, math.floor(math.log10(value)) - 1)
    return round(value / scale) * scale


def metric(name: str) -> str:
    """Give a metric's name as people say it."""
    return METRIC_WORDS.get(name, name.replace("_", " "))


def duration(seconds: float | None) -> str:
    """Write a duration in its largest unit: "6.2 ms", "38 min", "5 h", "12 d"."""
    if seconds is None or math.isnan(seconds):
        return NONE
    if seconds < 1:
        return f"{number(1000 * seconds, 2)} ms"
    for limit, size, unit in ((90, 1, "s"), (5400, 60, "min"), (36 * 3600, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{count(round(seconds / 86400))} d"


def size(value: int) -> str:
    """Write bytes with a decimal unit."""
    amount = float(value)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{number(amount, 3) if unit != 'B' else value} {unit}"
        amount /= 1000
    return f"{number(amount, 3)} TB"


def day(at: datetime, now: datetime | None = None) -> str:
    """Write a day: "29 Dec", with its year where it is not this year."""
    text = f"{at.day} {at:%b}"
    return text if now is not None and at.year == now.year else f"{text} {at.year}"


def long_day(at: datetime) -> str:
    """Write a day in full: "29 December 2013"."""
    return f"{at.day} {at:%B} {at.year}"


def utc(at: datetime) -> str:
    """Write the exact time, UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def iso(at: datetime) -> str:
    """Write a time for machines."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def when(at: datetime, now: datetime) -> str:
    """Write a time as seen from now: "12 min ago", "in 5 h", "3 d ago", "29 Dec"."""
    distance = abs(now - at)
    if distance > timedelta(days=7):
        return day(at, now)
    if distance < timedelta(seconds=2):
        return "now"
    text = duration(distance.total_seconds())
    return f"{text} ago" if at <= now else f"in {text}"


def sentence(text: str) -> str:
    """Write a phrase as a sentence: first letter large, a full stop at the end."""
    text = text.strip()
    if not text:
        return ""
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?:" else ".")


def listed(names: Sequence[str], most: int = 3) -> str:
    """Write names as a sentence does: "a, b and c", "a, b, c and 4 more"."""
    shown = list(names[:most])
    if len(names) > most:
        return f"{', '.join(shown)} and {len(names) - most} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)


def short(digest: str) -> str:
    """Shorten a digest as far as people compare them: its first twelve characters."""
    return digest[:12]
