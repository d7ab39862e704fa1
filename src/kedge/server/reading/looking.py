"""What a page's box asks: a filter in the search grammar, or plain words that look for a part of a name."""

import re

from kedge.domain.finding import Condition, Operator, Subject
from kedge.tracking import spelling

_GRAMMAR = re.compile(r"[=<>!'\"`()]|\b(?:like|ilike|in|is(?:\s+not)?\s+null)\b", re.IGNORECASE)


def filter_of(text: str, *, name: str = "name") -> str:
    """Read the box: words without any sign of the grammar look for a part of the attribute `name`."""
    text = " ".join(text.split())
    if not text or _GRAMMAR.search(text):
        return text
    return spelling.filter_of([Condition(Subject.ATTRIBUTE, name, Operator.ILIKE, f"%{text}%")])
