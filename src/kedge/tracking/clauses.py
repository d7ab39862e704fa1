"""Joins the words of a filter into clauses: `params.lr = '0.1'` is one comparison, `(1, 2)` one pair of brackets.

    words      params . lr  =  '0.1'   AND   run_id  IN  ('a', 'b')
    joined     IDENTIFIER   =  STRING  AND   IDENTIFIER  IN  BRACKETS
    clauses    COMPARED                AND   COMPARED

Each pass walks the words once and joins neighbours, the way SQL tools group a statement, so that a faulty filter breaks
into the same pieces that the clients' error texts name. Nothing nests: what is in brackets stays words.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from kedge.tracking.words import Word, WordKind

_W = WordKind
_NUMBERS = {_W.FLOAT, _W.INTEGER}
_PLAIN = _NUMBERS | {_W.STRING, _W.SYMBOL, _W.NAME, _W.PLACEHOLDER, _W.BRACKETS, _W.FUNCTION, _W.IDENTIFIER, _W.OPERATION}
_NAMED = {_W.STRING, _W.SYMBOL, _W.NAME, _W.WILDCARD, _W.FUNCTION}
_ALIASED = _NUMBERS | {_W.HEX, _W.BRACKETS, _W.FUNCTION, _W.IDENTIFIER, _W.OPERATION, _W.COMPARED}
_LISTABLE = _NUMBERS | {_W.STRING, _W.SYMBOL, _W.NAME, _W.PLACEHOLDER, _W.FUNCTION, _W.IDENTIFIER, _W.COMPARED, _W.LISTED}
_LISTABLE |= {_W.OPERATION, _W.KEYWORD, _W.ORDER, _W.COMMENT, _W.WILDCARD}
_Fits: TypeAlias = Callable[[Word], bool]


def statements_of(words: Iterable[Word]) -> list[list[Word]]:
    """Split at semicolons; each stays with what is before it. Blank ones are left out."""
    found: list[list[Word]] = [[]]
    depth, ended = 0, False
    for word in words:
        if ended and word.kind not in {_W.SPACE, _W.COMMENT}:
            found.append([])
            ended = False
        if word.kind is _W.PUNCTUATION:
            depth += {"(": 1, ")": -1}.get(word.text, 0)
            ended = word.text == ";" and depth <= 0
        found[-1].append(word)
    return [words for words in found if any(word.kind is not _W.SPACE for word in words)]


def clauses_of(words: Iterable[Word]) -> list[Word]:
    """Join the words of a statement into clauses; spaces between them are kept."""
    joined = _bracketed(words)
    joined = _paired(joined, lambda word: word.kind is _W.NAME, lambda word: word.kind is _W.BRACKETS, into=_W.FUNCTION)
    joined = _dotted(joined)
    joined = [Word(_W.IDENTIFIER, word.text) if word.kind in {_W.NAME, _W.SYMBOL} else word for word in joined]
    orderable = _NUMBERS | {_W.IDENTIFIER}
    joined = _paired(joined, lambda word: word.kind in orderable, lambda word: word.kind is _W.ORDER, into=_W.IDENTIFIER)
    joined = _between(joined, lambda word: word.kind in {_W.OPERATOR, _W.WILDCARD}, _plain, into=_W.OPERATION)
    joined = _between(joined, lambda word: word.kind is _W.COMPARISON, _comparable, into=_W.COMPARED)
    joined = _paired(
        joined, lambda word: word.kind in _ALIASED, lambda word: word.kind is _W.IDENTIFIER, into=_W.IDENTIFIER, once=True
    )
    return _between(joined, lambda word: word.text == ",", lambda word: word.kind in _LISTABLE, into=_W.LISTED)


def joined_lists(clauses: Iterable[Word]) -> list[Word]:
    """Join `name IN (...)`, `name NOT IN (...)`, `name IS NULL` and `name IS NOT NULL` into comparisons, spaces left out.

    A name that begins none of these takes the two or three words behind it along unjoined.
    """
    left = [word for word in clauses if word.kind is not _W.SPACE]
    done: list[Word] = []
    at = 0
    while at < len(left):
        if left[at].kind is not _W.IDENTIFIER:
            done.append(left[at])
            at += 1
            continue
        if len(left) - at < 3:
            return done + left[at:]
        name, second, third = left[at : at + 3]
        if (operator := _short_operator(second, third)) is not None:
            value = (third,) if third.kind is _W.BRACKETS else ()
            done.append(_compared(name, operator, *value))
            at += 3
            continue
        if len(left) - at < 4:
            return done + left[at:]
        fourth = left[at + 3]
        if second.says("NOT") and third.says("IN") and fourth.kind is _W.BRACKETS:
            done.append(_compared(name, "NOT IN", fourth))
        else:
            done += left[at : at + 4]
        at += 4
    return done


def _short_operator(second: Word, third: Word) -> str | None:
    if second.says("IN") and third.kind is _W.BRACKETS:
        return second.text
    if second.says("IS") and third.says("NULL", "NOT NULL"):
        return f"IS {third.text.upper()}"
    return None


def _compared(name: Word, operator: str, *value: Word) -> Word:
    parts = (name, Word(_W.KEYWORD, operator), *value)
    return Word(_W.COMPARED, " ".join(part.text for part in parts), parts)


def _plain(word: Word) -> bool:
    return word.kind in _PLAIN or word.says("CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP")


def _comparable(word: Word) -> bool:
    return word.kind in _PLAIN or word.says("NULL")


def _bracketed(words: Iterable[Word]) -> list[Word]:
    """Join what stands between outermost matching brackets; a bracket without its partner stays a word."""
    all_words = list(words)
    partner: dict[int, int] = {}
    opened: list[int] = []
    for at, word in enumerate(all_words):
        if word.kind is _W.PUNCTUATION and word.text == "(":
            opened.append(at)
        elif word.kind is _W.PUNCTUATION and word.text == ")" and opened:
            partner[opened.pop()] = at
    done: list[Word] = []
    at = 0
    while at < len(all_words):
        end = partner.get(at)
        if end is None:
            done.append(all_words[at])
            at += 1
        else:
            done.append(_joined(_W.BRACKETS, all_words[at : end + 1], parts=all_words[at + 1 : end]))
            at = end + 1
    return done


def _joined(kind: WordKind, pieces: Sequence[Word], *, parts: Sequence[Word] = ()) -> Word:
    return Word(kind, "".join(piece.text for piece in pieces), tuple(parts))


def _behind(words: Sequence[Word], at: int) -> int:
    """Find the next word that is no space; the end where there is none."""
    at += 1
    while at < len(words) and words[at].kind is _W.SPACE:
        at += 1
    return at


def _paired(words: Sequence[Word], first: _Fits, second: _Fits, *, into: WordKind, once: bool = False) -> list[Word]:
    """Join each word with the one behind it, where both fit; what was joined may be joined again unless `once`."""
    done: list[Word] = []
    at = 0
    while at < len(words):
        word, end = words[at], at + 1
        while first(word) and (behind := _behind(words, end - 1)) < len(words) and second(words[behind]):
            word = _joined(into, [word, *words[end : behind + 1]])
            end = behind + 1
            if once:
                break
        done.append(word)
        at = end
    return done


def _dotted(words: Sequence[Word]) -> list[Word]:
    """Join names with the names behind their dots: `metrics.a.b`; a dot with no name behind it ends the identifier."""
    done: list[Word] = []
    at = 0
    while at < len(words):
        word, end = words[at], at + 1
        pieces = [word]
        fits = word.kind in {_W.NAME, _W.SYMBOL}
        while fits and (dot := _behind(words, end - 1)) < len(words) and words[dot].text == ".":
            behind = _behind(words, dot)
            stop = behind if behind < len(words) and words[behind].kind in _NAMED else dot
            pieces += words[end : stop + 1]
            end = stop + 1
        done.append(_joined(_W.IDENTIFIER, pieces) if len(pieces) > 1 else word)
        at = end
    return done


def _between(words: Sequence[Word], middle: _Fits, sides: _Fits, *, into: WordKind) -> list[Word]:
    """Join `a o b` where `o` is a middle and both sides fit. What was joined may be the left side of the next."""
    done: list[Word] = []
    last = -1  # where in `done` the last word stands that is no space
    at = 0
    while at < len(words):
        word = words[at]
        behind = _behind(words, at)
        if middle(word) and last >= 0 and sides(done[last]) and behind < len(words) and sides(words[behind]):
            pieces = [*done[last:], *words[at : behind + 1]]
            parts = (done[last], word, words[behind])
            del done[last:]
            done.append(_joined(into, pieces, parts=parts))
            at = behind + 1
            continue
        if word.kind is not _W.SPACE:
            last = len(done)
        done.append(word)
        at += 1
    return done
