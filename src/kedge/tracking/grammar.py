"""The language of filters and orders, as far as all things that can be searched share it.

    filter     = comparison { [AND] comparison }
    comparison = name operator value | name [NOT] IN (value, ...) | name IS [NOT] NULL
    name       = [entity "."] key                  key bare, in backticks or in double quotes
    order      = name [ASC | DESC]

What may be searched by which name differs (`search.py`, `search_models.py`) and is told by a `Grammar`. Error texts are
those that clients of the MLflow protocol match. Everything is bounded, so that no text can cost much.
"""

import ast
import shlex
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import msgspec

from kedge.domain.finding import Condition, Operator, Order, Subject
from kedge.errors import SearchInvalid
from kedge.tracking.clauses import clauses_of, joined_lists, statements_of
from kedge.tracking.words import Word, WordKind, words_of

TEXT_CHARACTERS = 200_000  # of one filter: a list of 5,000 run ids
TEXT_WORDS = 40_000
PATTERN_CHARACTERS = 1_000  # of one LIKE
CONDITIONS = 100
ORDERS = 32
ORDER_CHARACTERS = 2_000

_NUMBERS = {WordKind.INTEGER, WordKind.FLOAT}
_LISTS = {Operator.IN, Operator.NOT_IN}
_PATTERNS = {Operator.LIKE, Operator.ILIKE}
_TAGGED = MappingProxyType({"attribute": Subject.ATTRIBUTE, "tag": Subject.TAG, "tags": Subject.TAG})


class Found(msgspec.Struct, frozen=True):
    """One comparison as it was read, its operator not yet checked."""

    subject: Subject
    key: str
    operator: str
    value: str | float | tuple[str, ...] | None


class Grammar(msgspec.Struct, frozen=True, kw_only=True):
    """What may be searched, and by which names.

    `attributes` maps each name that a filter may use to the name the store knows; `sortable` does so for orders. Numbers are
    compared with `numeric` attributes, lists with `listed` ones. `entities` are the words that may stand before the dot. The
    rest is how the error texts for one thing differ from those for another.
    """

    attributes: Mapping[str, str]
    sortable: Mapping[str, str]
    numeric: frozenset[str]
    listed: frozenset[str]
    entities: Mapping[str, Subject] = _TAGGED
    entities_text: str = "Invalid entity type '{}'. Valid entity types are ('attribute', 'tag', 'tags')"
    datasets: frozenset[str] = frozenset()
    nullable: frozenset[Subject] = frozenset()
    nullable_text: str = ""
    clause_text: str = "{}"
    faulty_text: str = "Invalid clause(s) in filter string: {clauses}"
    blank_text: str = "Invalid filter '{text}'. Could not be parsed."
    several_text: str = "Search filter contained multiple expression {text!r}. Provide AND-ed expression list."
    value_text: str = "Expected a quoted string value or a list of quoted string values for attributes. Got value {}"
    text_for_numbers: str = ""
    numbers_only: bool = True


def comparisons(text: str, grammar: Grammar) -> list[Found]:
    """Read a filter. Raises SearchInvalid."""
    return [_comparison(clause.parts, grammar) for clause in compared(text, grammar)]


def compared(text: str, grammar: Grammar) -> list[Word]:
    """Cut a filter into its comparisons, each of a name, an operator and (but for IS NULL) a value. Raises SearchInvalid."""
    if not text:
        return []
    statements = statements_of(_bounded_words(text))
    if not statements:
        raise SearchInvalid(grammar.blank_text.format(text=text))
    if len(statements) > 1:
        raise SearchInvalid(grammar.several_text.format(text=text))
    clauses = joined_lists(clauses_of(statements[0]))
    kept = [clause for clause in clauses if clause.kind is WordKind.COMPARED]
    if faulty := [clause.text for clause in clauses if clause.kind is not WordKind.COMPARED and not clause.says("AND")]:
        pieces = ", ".join(grammar.clause_text.format(clause) for clause in faulty)
        raise SearchInvalid(grammar.faulty_text.format(clauses=pieces, text=text))
    if len(kept) > CONDITIONS:
        raise SearchInvalid(f"Invalid filter: {len(kept)} comparisons, and at most {CONDITIONS} are read. Ask for less.")
    return kept


def orders(texts: Sequence[str], grammar: Grammar) -> list[Order]:
    """Read orders, each with the name it is written by. Raises SearchInvalid."""
    if len(texts) > ORDERS:
        raise SearchInvalid(f"Invalid order_by: {len(texts)} clauses, and at most {ORDERS} are read. Ask for less.")
    read = []
    for text in texts:
        name, ascending = sort_key(text)
        subject, key = named(name.strip(), grammar.sortable, grammar=grammar)
        read.append(Order(subject, key, ascending))
    return read


def sort_key(text: str) -> tuple[str, bool]:
    """Read an order: a name, as written, and whether it ascends. Raises SearchInvalid."""
    unread = SearchInvalid(f"Invalid order_by clause '{text[:ORDER_CHARACTERS]}'. Could not be parsed.")
    statements = statements_of(words_of(text)) if len(text) <= ORDER_CHARACTERS else []
    if len(statements) != 1:
        raise unread
    clauses = clauses_of(statements[0])
    plain = [clause for clause in clauses if clause.kind is not WordKind.SPACE]
    stamped = plain[0].kind is WordKind.BUILTIN and plain[0].text.lower() == "timestamp" and clauses[0] is plain[0]
    if stamped and (len(plain) == 1 or (len(plain) == 2 and plain[1].kind is WordKind.ORDER)):
        name = " ".join(["timestamp", *(clause.text for clause in plain[1:])])
    elif len(clauses) == 1 and clauses[0].kind is WordKind.IDENTIFIER:
        name = clauses[0].text
    else:
        raise unread
    try:
        parts = shlex.split(name.replace("`", '"'))
    except ValueError:
        raise unread from None
    if len(parts) > 2:
        raise unread
    if len(parts) < 2:
        return name, True
    if parts[1].lower() not in {"asc", "desc"}:
        raise SearchInvalid(f"Invalid ordering key in order_by clause '{text}'.")
    return parts[0], parts[1].lower() == "asc"


def condition(found: Found, operators: Iterable[Operator], *, otherwise: str) -> Condition:
    """Make a condition of a comparison whose operator is one of these. Raises SearchInvalid, with the text given."""
    try:
        operator = Operator(found.operator)
    except ValueError:
        raise SearchInvalid(otherwise) from None
    if operator not in operators:
        raise SearchInvalid(otherwise)
    if isinstance(found.value, tuple) != (operator in _LISTS):
        raise SearchInvalid(
            f"Invalid comparator '{found.operator}' for {found.key!r}: "
            "use IN or NOT IN with a list of values, and a list with nothing else."
        )
    if operator in _PATTERNS and len(str(found.value)) > PATTERN_CHARACTERS:
        raise SearchInvalid(f"Invalid pattern for {found.key!r}: it is longer than {PATTERN_CHARACTERS} characters.")
    return Condition(found.subject, found.key, operator, found.value)


def no_twice(read: Sequence[Order], texts: Sequence[object]) -> None:
    """Refuse an order that names a key twice. Raises SearchInvalid."""
    if len({(one.subject, one.key) for one in read}) < len(read):
        raise SearchInvalid(f"`order_by` contains duplicate fields: {list(texts)}")


def checked_limit(limit: int, most: int) -> int:
    """Give the size of a page. Raises SearchInvalid where it is not in 1 to `most`."""
    if limit < 1:
        raise SearchInvalid(f"Invalid value {limit} for parameter 'max_results' supplied. It must be a positive integer")
    if limit > most:
        raise SearchInvalid(f"Invalid value {limit} for parameter 'max_results' supplied. It must be at most {most}")
    return limit


def shown(names: Iterable[str]) -> str:
    """Write a set of names as the clients' error texts do."""
    return "{" + ", ".join(repr(name) for name in sorted(names)) + "}"


def _bounded_words(text: str) -> list[Word]:
    if len(text) > TEXT_CHARACTERS:
        raise SearchInvalid(f"Invalid filter: {len(text)} characters, and at most {TEXT_CHARACTERS} are read. Ask for less.")
    words = words_of(text, TEXT_WORDS + 1)
    if len(words) > TEXT_WORDS:
        raise SearchInvalid(f"Invalid filter: more than {TEXT_WORDS} words, and no more are read. Ask for less.")
    return words


def _comparison(parts: Sequence[Word], grammar: Grammar) -> Found:
    name, operator = parts[0], parts[1].text.upper()
    if name.kind is not WordKind.IDENTIFIER:
        raise SearchInvalid(f"Invalid comparison clause. Expected 'Identifier' found '{name.text}'")
    if len(parts) == 2 and not grammar.nullable:
        raise SearchInvalid("Invalid comparison clause. Expected 3 tokens found 2")
    subject, key = named(name.text, grammar.attributes, grammar=grammar)
    if len(parts) == 2:
        if subject not in grammar.nullable:
            raise SearchInvalid(grammar.nullable_text.format(subject=subject.value, key=_written(name.text)))
        return Found(subject, key, operator, None)
    return Found(subject, key, operator, _value(subject, _written(name.text), parts[2], grammar))


def named(text: str, attributes: Mapping[str, str], *, grammar: Grammar) -> tuple[Subject, str]:
    """Say what a name names, and by which key the store knows it. Raises SearchInvalid."""
    entity, dot, _ = text.partition(".")
    subject: Subject | None = Subject.ATTRIBUTE
    if dot and (subject := grammar.entities.get(_bare(entity))) is None:
        raise SearchInvalid(grammar.entities_text.format(_bare(entity)))
    key = _written(text)
    if subject is Subject.ATTRIBUTE:
        if key not in attributes:
            raise SearchInvalid(f"Invalid attribute key '{key}' specified. Valid keys are '{shown(attributes)}'")
        return subject, attributes[key]
    if subject is Subject.DATASET and key not in grammar.datasets:
        raise SearchInvalid(f"Invalid dataset key '{key}' specified. Valid keys are '{shown(grammar.datasets)}'")
    return subject or Subject.ATTRIBUTE, key


def _written(name: str) -> str:
    """Take the key out of a name: what is behind the first dot, without its quotes."""
    entity, dot, key = name.partition(".")
    return _bare(_unquoted(key if dot else entity))


def _bare(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == "`" else text


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def _value(subject: Subject, key: str, word: Word, grammar: Grammar) -> str | float | tuple[str, ...]:
    match subject:
        case Subject.METRIC:
            if word.kind not in _NUMBERS:
                raise SearchInvalid(f"Expected numeric value type for metric. Found {word.text}")
            return float(word.text)
        case Subject.PARAM | Subject.TAG:
            if not _is_text(word):
                kind = "parameter" if subject is Subject.PARAM else "tag"
                raise SearchInvalid(f"Expected a quoted string value for {kind} (e.g. 'my-value'). Got value {word.text}")
            return _text(word)
        case Subject.DATASET:
            if word.kind is WordKind.BRACKETS:
                return list_of(word)
            if not _is_text(word):
                raise SearchInvalid(f"Expected a quoted string value for dataset attributes. Got value {word.text}")
            return _text(word)
        case Subject.ATTRIBUTE:
            return _attribute_value(key, word, grammar)


def _attribute_value(key: str, word: Word, grammar: Grammar) -> str | float | tuple[str, ...]:
    if word.kind in _NUMBERS and key in grammar.numeric:
        return _number(word, key)
    if word.kind in _NUMBERS and grammar.text_for_numbers:
        raise SearchInvalid(grammar.text_for_numbers)
    if key in grammar.numeric and grammar.numbers_only:
        raise SearchInvalid(f"Expected numeric value type for numeric attribute: {key}. Found {word.text}")
    if _is_text(word):
        return _text(word)
    if word.kind is WordKind.BRACKETS:
        if key not in grammar.listed:
            listed = sorted(grammar.listed)
            raise SearchInvalid(f"Only {listed} attributes support comparison with a list of quoted string values.")
        return list_of(word)
    raise SearchInvalid(grammar.value_text.format(word.text))


def _number(word: Word, key: str) -> float:
    if word.kind is WordKind.FLOAT:
        return float(word.text)
    if len(word.text) > 19 or not -(2**63) <= int(word.text) < 2**63:
        raise SearchInvalid(f"Invalid value for numeric attribute '{key}': {word.text[:40]!r} does not fit 64 bits")
    return int(word.text)


def _is_text(word: Word) -> bool:
    return word.kind in {WordKind.STRING, WordKind.IDENTIFIER}


def _text(word: Word) -> str:
    if len(word.text) > 1 and word.text[0] == word.text[-1] and word.text[0] in "'\"":
        return word.text[1:-1]
    raise SearchInvalid(
        f"Parameter value is either not quoted or unidentified quote types used for string value {word.text}. "
        "Use either single or double quotes."
    )


def list_of(word: Word) -> tuple[str, ...]:
    """Read `('a', "b")`. Raises SearchInvalid.

    Quotes and backslashes inside these texts mean what they mean in Python, as the clients expect; outside lists they stand
    for themselves.
    """
    items: list[str | float] = []
    fresh = True
    for part in (part for part in word.parts if part.kind is not WordKind.SPACE):
        if part.text == "," and not fresh:
            fresh = True
        elif part.kind in _NUMBERS and fresh:
            items.append(float(part.text) if part.kind is WordKind.FLOAT else int(part.text[:4000]))
            fresh = False
        elif part.kind in {WordKind.STRING, WordKind.SYMBOL}:
            read = _literal(part.text)
            if fresh:
                items.append(read)
            elif isinstance(items[-1], str):
                items[-1] += read
            else:
                raise SearchInvalid(_ILL_FORMED)
            fresh = False
        else:
            raise SearchInvalid(_ILL_FORMED)
    if not items:
        raise SearchInvalid(_EMPTY if not word.parts or all(p.kind is WordKind.SPACE for p in word.parts) else _ILL_FORMED)
    texts = tuple(item for item in items if isinstance(item, str))
    if len(texts) < len(items):
        raise SearchInvalid(f"{_NOT_TEXT}: {tuple(items)}")
    return texts


_IN_LIST = "While parsing a list in the query,"
_ILL_FORMED = f"{_IN_LIST} expected a non-empty list of string values, but got ill-formed list."
_EMPTY = f"{_IN_LIST} expected a non-empty list of string values, but got empty list"
_NOT_TEXT = f"{_IN_LIST} expected string value, punctuation, or whitespace, but got different type in list"


def _literal(text: str) -> str:
    inner = text[1:-1]
    if text[0] not in inner and "\\" not in inner and "\n" not in inner and "\r" not in inner:
        return inner
    try:
        return str(ast.literal_eval(text))
    except (SyntaxError, ValueError):
        raise SearchInvalid(_ILL_FORMED) from None
