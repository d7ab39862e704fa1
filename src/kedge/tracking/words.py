"""Cuts the text of a filter or of an order into words, as the clients of the MLflow protocol expect it to be cut.

The clients' filters are SQL conditions, and what counts as a name, a number or an operator follows what SQL tools do:
names may stand in backticks or double quotes, a word before a dot or a bracket is a name even where it is a keyword, and a
minus before digits belongs to the number. Linear in the length of the text, and every text can be cut.
"""

import re
from enum import Enum
from itertools import islice
from typing import NamedTuple


class WordKind(Enum):
    """What a word is; the last ones are made by `tracking/clauses.py` of several words."""

    COMMENT = "comment"
    SPACE = "space"
    ASSIGN = "assign"
    WILDCARD = "wildcard"
    NAME = "name"
    PLACEHOLDER = "placeholder"
    KEYWORD = "keyword"
    BUILTIN = "builtin"
    HEX = "hex"
    FLOAT = "float"
    INTEGER = "integer"
    STRING = "string"
    SYMBOL = "symbol"
    ORDER = "order"
    COMPARISON = "comparison"
    OPERATOR = "operator"
    PUNCTUATION = "punctuation"
    ERROR = "error"
    BRACKETS = "brackets"
    FUNCTION = "function"
    IDENTIFIER = "identifier"
    OPERATION = "operation"
    COMPARED = "compared"
    LISTED = "listed"


class Word(NamedTuple):
    """A word, or several that belong together: what it is, its text as written, and the words it is made of."""

    kind: WordKind
    text: str
    parts: tuple["Word", ...] = ()

    def says(self, *keywords: str) -> bool:
        """Say whether it is one of these keywords, in upper case or lower."""
        return self.kind is WordKind.KEYWORD and self.text.upper() in keywords


_LETTER = "[A-Za-zÀ-Üà-ü]"
_NO_LETTER = "(?![_A-Za-zÀ-Üà-ü])"
# the first that fits wins, so the order is part of the language
_SHAPES = [
    (WordKind.COMMENT, r"(?:--|\# )[^\r\n]*(?:\r\n|\r|\n|$)"),
    (WordKind.SPACE, r"\s+"),
    (WordKind.ASSIGN, r":="),
    (WordKind.PUNCTUATION, r"::"),
    (WordKind.WILDCARD, r"\*"),
    (WordKind.NAME, r"`(?:``|[^`])*`"),
    (WordKind.PLACEHOLDER, r"\?|%(?:\(\w+\))?s|(?<!\w)[$:?]\w+"),
    (WordKind.ERROR, r"\\\w+"),
    (WordKind.KEYWORD, r"(?:CASE|IN|VALUES|USING|FROM|AS)\b"),
    (WordKind.NAME, rf"(?:@|\#\#|\#){_LETTER}\w+"),
    (WordKind.NAME, rf"{_LETTER}\w*(?=\s*\.(?!\d))"),
    (WordKind.NAME, rf"(?<=\.){_LETTER}\w*"),
    (WordKind.NAME, rf"{_LETTER}\w*(?=\()"),
    (WordKind.HEX, r"-?0x[\dA-F]+"),
    (WordKind.FLOAT, rf"-?\d+(?:\.\d+)?E-?\d+|{_NO_LETTER}-?(?:\d+(?:\.\d*)|\.\d+){_NO_LETTER}"),
    (WordKind.INTEGER, rf"{_NO_LETTER}-?\d+{_NO_LETTER}"),
    (WordKind.STRING, r"'(?:''|\\'|[^'])*'"),
    (WordKind.SYMBOL, r'"(?:""|\\"|[^"])*"'),
    (WordKind.NAME, r"(?<![\w\])])\[[^\]\[]+\]"),
    (WordKind.KEYWORD, r"NOT\s+NULL\b|(?:GROUP|ORDER)\s+BY\b"),
    (WordKind.ORDER, r"(?:ASC|DESC)(?:\s+NULLS\s+(?:FIRST|LAST))?\b|NULLS\s+(?:FIRST|LAST)\b"),
    (WordKind.COMPARISON, r"(?:NOT\s+)?(?:LIKE|ILIKE|RLIKE|REGEXP)\b"),
    (WordKind.KEYWORD, r"\w[$\#\w]*"),  # or a name: `_KEYWORDS` tells
    (WordKind.PUNCTUATION, r"[;:()\[\],.]"),
    (WordKind.OPERATOR, r"->>?|\#>>?|@>|<@|-|\#-"),
    (WordKind.COMPARISON, r"[<>=~!]+"),
    (WordKind.OPERATOR, r"[+/@\#%^&|]+"),
    (WordKind.ERROR, r"."),
]
_KINDS = [kind for kind, _ in _SHAPES]
_ANY = re.compile("|".join(f"({shape})" for _, shape in _SHAPES), re.IGNORECASE | re.DOTALL)
_WORD_SHAPE = 1 + max(index for index, (_, shape) in enumerate(_SHAPES) if shape.startswith(r"\w"))

# the keywords of SQL that someone may come to write in a filter; any other bare word is a name
_KEYWORDS = frozenset(
    {
        *("ALL", "AND", "ANY", "AS", "BETWEEN", "BY", "CASE", "CAST", "COUNT", "CURRENT_DATE", "CURRENT_TIME"),
        *("CURRENT_TIMESTAMP", "DEFAULT", "DELETE", "DISTINCT", "DROP", "ELSE", "END", "EXCEPT", "EXISTS", "FALSE", "FROM"),
        *("GROUP", "HAVING", "IN", "INSERT", "INTERSECT", "INTO", "IS", "JOIN", "KEY", "LIMIT", "MAX", "MIN", "NONE", "NOT"),
        *(
            "NULL",
            "OFFSET",
            "ON",
            "OR",
            "ORDER",
            "OVER",
            "PARAMETER",
            "PARAMETERS",
            "SELECT",
            "SET",
            "SOURCE",
            "SUM",
            "THEN",
        ),
        *("TIME", "TRUE", "TYPE", "UNION", "UPDATE", "USER", "USING", "VALUES", "VERSION", "WHEN", "WHERE"),
    }
)
_BUILTINS = frozenset({"DATE", "TIMESTAMP"})


def words_of(text: str, most: int | None = None) -> list[Word]:
    """Cut a text into words, at most so many; all of them together are the text again."""
    found = []
    for match in islice(_ANY.finditer(text), most):
        shape = match.lastindex or len(_KINDS)
        kind = _KINDS[shape - 1]
        if shape == _WORD_SHAPE:
            kind = _kind_of(match.group())
        found.append(Word(kind, match.group()))
    return found


def _kind_of(word: str) -> WordKind:
    if word.upper() in _KEYWORDS:
        return WordKind.KEYWORD
    return WordKind.BUILTIN if word.upper() in _BUILTINS else WordKind.NAME
