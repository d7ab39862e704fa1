"""What a search asks for and what it gives: `tracking/search.py` reads it from text, `storage/sql/finding.py` runs it.

    metrics.loss < 0.5 AND tags.team = 'a'  ->  where = (Condition(METRIC, "loss", LT, 0.5), Condition(TAG, "team", EQ, "a"))
    metrics.loss ASC                        ->  order = (Order(METRIC, "loss"),)

Conditions are joined by AND. The tree knows nothing of a protocol: names in it are Kedge's own (`start_time`, `run_name`).
"""

import base64
import binascii
import hashlib
from enum import Enum
from typing import Generic, TypeVar

import msgspec

from kedge.errors import SearchInvalid

T = TypeVar("T")


class Subject(Enum):
    """What a condition or an order looks at."""

    ATTRIBUTE = "attribute"
    METRIC = "metric"
    PARAM = "param"
    TAG = "tag"
    DATASET = "dataset"


class Operator(Enum):
    """How a condition compares. LIKE minds the case, ILIKE does not; `%` stands for any text, `_` for one character."""

    EQ = "="
    NE = "!="
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="
    LIKE = "LIKE"
    ILIKE = "ILIKE"
    IN = "IN"
    NOT_IN = "NOT IN"
    IS_NULL = "IS NULL"
    IS_NOT_NULL = "IS NOT NULL"


class LifecycleView(Enum):
    """Which of the living and the deleted a search sees."""

    ACTIVE = "active"
    DELETED = "deleted"
    ALL = "all"


class Condition(msgspec.Struct, frozen=True):
    """One comparison: of a number with a number, of a text with a text or a tuple of texts; IS NULL has no value."""

    subject: Subject
    key: str
    operator: Operator
    value: str | float | tuple[str, ...] | None = None


class Order(msgspec.Struct, frozen=True):
    """One sort key. A metric of a logged model may be asked for as measured on one dataset."""

    subject: Subject
    key: str
    ascending: bool = True
    dataset_name: str = ""
    dataset_digest: str = ""


class DatasetChoice(msgspec.Struct, frozen=True):
    """Look only at metrics measured on this dataset (logged models); without a digest, on any version of it."""

    name: str
    digest: str = ""


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """One search. `limit` is the size of a page, `page` the token of the page to read ("" is the first).

    What meets all of `where` and none of `without` is found. `experiments` bounds a search of runs or logged models
    (nothing named, nothing found); others leave it out.
    `counted` asks for the number of all that match, on whatever page.
    """

    where: tuple[Condition, ...] = ()
    without: tuple[Condition, ...] = ()
    order: tuple[Order, ...] = ()
    limit: int = 1000
    page: str = ""
    experiments: tuple[str, ...] = ()
    view: LifecycleView = LifecycleView.ACTIVE
    datasets: tuple[DatasetChoice, ...] = ()
    counted: bool = False


class Page(msgspec.Struct, Generic[T], frozen=True):
    """A page of what was found, the token of the next page ("" at the end) and, where asked for, how many match in all."""

    items: tuple[T, ...]
    next: str = ""
    total: int | None = None


Position = tuple[str | int | float | None, ...]  # the sort values of the last item of a page

_CHECK_BYTES = 9


def token_of(query: Query, position: Position) -> str:
    """Write where a page of this search ended: opaque, and of no use to any other search."""
    held = msgspec.msgpack.encode(position)
    return base64.urlsafe_b64encode(_check(query, held) + held).decode()


def position_in(query: Query) -> Position | None:
    """Read where the page before ended, from the query's own token; None for the first page. Raises SearchInvalid."""
    if not query.page:
        return None
    try:
        raw = base64.b64decode(query.page.encode("ascii"), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise SearchInvalid("Invalid page token, could not base64-decode") from None
    check, held = raw[:_CHECK_BYTES], raw[_CHECK_BYTES:]
    if check != _check(query, held):
        raise SearchInvalid("Invalid page token: it is of another search, or was changed. Start again at the first page")
    try:
        return msgspec.msgpack.decode(held, type=Position)
    except (msgspec.DecodeError, ValueError):
        raise SearchInvalid("Invalid page token: it cannot be read. Start again at the first page") from None


def _check(query: Query, held: bytes) -> bytes:
    asked = msgspec.structs.replace(query, page="", limit=0, counted=False)
    return hashlib.sha256(msgspec.msgpack.encode(asked) + b"\0" + held).digest()[:_CHECK_BYTES]
