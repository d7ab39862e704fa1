"""Full-text search of the catalogue: words in whatever is said of datasets, and filters.

    flights delay            both words, anywhere; the beginning of a word is enough
    "scheduled arrival"      these words side by side
    -test                    not this word
    owner:ada tag:gold       in this field: name, owner, tag, kind, column, source, message
    is:stale is:personal     table, files, stale, fresh, personal, undescribed, unowned

A word counts more in a name than in a text, more where it is rare, more where it is whole. Case and accents do not count.
"""

import difflib
import math
import re
import unicodedata
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from kedge.domain.catalogue import CatalogueHit, HitPiece, Shelved
from kedge.domain.data import DatasetKind
from kedge.errors import SearchInvalid

LONGEST = 1000
"""Characters of a query."""

_WORD = re.compile(r"[^\W_]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_QUERY = re.compile(r'(-?)(?:([a-z]+):)?("(?:[^"]*)"?|\S+)')
_WEIGHTS = {
    "name": 8.0,
    "tag": 5.0,
    "column": 4.0,
    "owner": 4.0,
    "version tag": 3.0,
    "description": 2.5,
    "meaning": 2.0,
    "source": 1.5,
    "message": 1.0,
    "kind": 1.0,
}
_FIELDS = {"name", "owner", "tag", "kind", "column", "source", "message"}
_PREFIX = 0.6
_SNIPPET = 160
_MOST_HITS = 4

Is = Callable[[Shelved], bool]


class Sought(NamedTuple):
    """One part of a query: words side by side, in one field or anywhere ("")."""

    words: tuple[str, ...]
    field: str
    without: bool


class Looked(NamedTuple):
    """A query as it is read."""

    terms: tuple[Sought, ...]
    marks: tuple[tuple[str, bool], ...]


class _Text(NamedTuple):
    """A text of a dataset: its field, what it is called for people, itself."""

    field: str
    label: str
    text: str


_Place = tuple[int, int, int]
"""Where a word stands: the dataset, the text of it, the place among the text's words."""


def read_query(query: str, marks: Sequence[str]) -> Looked:
    """Read a query. Raises SearchInvalid for one too long, or a mark (`is:`) that is none."""
    if len(query) > LONGEST:
        raise SearchInvalid(f"the search is {len(query)} characters long; {LONGEST} are the most")
    terms, asked = [], []
    for minus, key, raw in _QUERY.findall(query):
        without, text = minus == "-", raw.strip('"')
        if key == "is":
            if text.lower() not in marks:
                raise SearchInvalid(f"is:{text} is no filter; there are {', '.join(f'is:{mark}' for mark in marks)}")
            asked.append((text.lower(), without))
            continue
        if key and key not in _FIELDS and not text.startswith("//"):  # an address is words
            near = difflib.get_close_matches(key, [*_FIELDS, "is"], n=1)
            hint = (
                f"did you mean {near[0]}:?" if near else f"there are {', '.join(f'{one}:' for one in sorted(_FIELDS))}, is:"
            )
            raise SearchInvalid(f"{key}: is no field; {hint} To look for the words, write a blank for the colon")
        field = key if key in _FIELDS else ""
        found = words_of(text if field or not key else f"{key} {text}")
        if found:
            terms.append(Sought(words=found, field=field, without=without))
    return Looked(terms=tuple(terms), marks=tuple(asked))


@lru_cache(maxsize=2**16)  # names of columns and owners stand in many datasets
def words_of(text: str) -> tuple[str, ...]:
    """Cut a text into words: lower case, without accents, a name such as `tailNum_2` into its parts."""
    return tuple(word for word, _, _ in _words_at(text))


def _words_at(text: str) -> Iterator[tuple[str, int, int]]:
    """Give each word as it is looked for, with its place in the text."""
    for match in _WORD.finditer(text):
        start = match.start()
        for part in _CAMEL.split(match[0]):
            yield _plain(part), start, start + len(part)
            start += len(part)


def _plain(word: str) -> str:
    if word.isascii():
        return word.lower()
    return "".join(letter for letter in unicodedata.normalize("NFKD", word.casefold()) if not unicodedata.combining(letter))


class CatalogueIndex:
    """The words of all datasets. `marks` say what `is:` may ask for, and of whom it is true. One thread at a time."""

    def __init__(self, shelf: Sequence[Shelved]) -> None:
        self._shelf = list(shelf)
        self._texts = [list(_texts(one)) for one in shelf]
        self._numbers = {one.name: number for number, one in enumerate(shelf)}
        self._places: dict[str, list[_Place]] = {}
        for dataset, texts in enumerate(self._texts):
            self._add(dataset, texts)
        self._words = sorted(self._places)

    def __len__(self) -> int:
        return len(self._shelf)

    def put(self, one: Shelved) -> None:
        """Take a dataset as it is now in place of what was known of it; a new one comes last."""
        number, texts = self._numbers.setdefault(one.name, len(self._shelf)), list(_texts(one))
        if number == len(self._shelf):
            self._shelf.append(one)
            self._texts.append([])
        self._shelf[number] = one
        if texts == self._texts[number]:
            return
        for word in {word for text in self._texts[number] for word in words_of(text.text)}:
            left = [place for place in self._places[word] if place[0] != number]
            if left:
                self._places[word] = left
            else:
                del self._places[word]
                del self._words[bisect_left(self._words, word)]
        self._texts[number] = texts
        for word in self._add(number, texts):
            insort(self._words, word)

    def _add(self, number: int, texts: Sequence[_Text]) -> list[str]:
        """Note where a dataset's words stand; give those that are new."""
        new = []
        for place, text in enumerate(texts):
            for at, word in enumerate(words_of(text.text)):
                if word not in self._places:
                    self._places[word] = []
                    new.append(word)
                self._places[word].append((number, place, at))
        return new

    def find(self, query: Looked, marks: dict[str, Is]) -> list[tuple[float, Shelved]]:
        """Find the datasets that a query fits, the best first, equal ones by name. Without words: all, by name."""
        scores: dict[int, float] | None = None
        for term in query.terms:
            found = self._scores(term)
            if term.without:
                kept = scores if scores is not None else dict.fromkeys(range(len(self._shelf)), 0.0)
                scores = {one: score for one, score in kept.items() if one not in found}
            elif scores is None:
                scores = found
            else:
                scores = {one: score + found[one] for one, score in scores.items() if one in found}
        if scores is None:
            scores = dict.fromkeys(range(len(self._shelf)), 0.0)
        for mark, without in query.marks:
            scores = {one: score for one, score in scores.items() if marks[mark](self._shelf[one]) is not without}
        ranked = [(score, self._shelf[one]) for one, score in scores.items()]
        return sorted(ranked, key=lambda each: (-each[0], each[1].name))

    def near(self, query: Looked) -> str:
        """Give the word of the catalogue that is nearest to one that was looked for and is not in it; "" for none."""
        for term in query.terms:
            for word in () if term.without else term.words:
                if not self._matching(word):
                    close = difflib.get_close_matches(word, self._words, n=1, cutoff=0.7)
                    if close:
                        return close[0]
        return ""

    def _scores(self, term: Sought) -> dict[int, float]:
        """Score the datasets that have a term; words side by side are looked for from the first of them."""
        found: dict[int, float] = {}
        last = len(term.words) - 1
        rows = [self._matching(word, prefix=place == last) for place, word in enumerate(term.words)]
        if not all(rows):
            return {}
        following = [{place for word in row for place in self._places[word]} for row in rows[1:]]
        for word in rows[0]:
            places = self._places[word]
            rare = math.log(1 + len(self._shelf) / (1 + len({dataset for dataset, _, _ in places})))
            whole = 1.0 if word == term.words[0] else _PREFIX
            for dataset, text, at in places:
                field = self._texts[dataset][text].field
                if term.field and field != term.field:
                    continue
                if all((dataset, text, at + step) in after for step, after in enumerate(following, 1)):
                    score = _WEIGHTS[field] * rare * whole * len(term.words)
                    found[dataset] = max(found.get(dataset, 0.0), score)
        return found

    def _matching(self, word: str, *, prefix: bool = True) -> list[str]:
        """List the words that are, or begin with, a word."""
        if not prefix:
            return [word] if word in self._places else []
        found = []
        for other in self._words[bisect_left(self._words, word) :]:
            if not other.startswith(word):
                break
            found.append(other)
        return found


def hits_in(one: Shelved, query: Looked) -> tuple[CatalogueHit, ...]:
    """Show where the words of a query stand in a dataset: the weightiest texts, the words marked."""
    wanted = [(term.field, term.words) for term in query.terms if not term.without]
    if not wanted:
        return ()
    hits = []
    for text in sorted(_texts(one), key=lambda each: -_WEIGHTS[each.field]):
        spans = [
            (start, end)
            for word, start, end in _words_at(text.text)
            if any(not field or field == text.field for field, words in wanted if any(map(word.startswith, words)))
        ]
        if spans:
            hits.append(CatalogueHit(field=text.label, pieces=_pieces(text.text, spans)))
    return tuple(hits[:_MOST_HITS])


def _pieces(text: str, spans: Sequence[tuple[int, int]]) -> tuple[HitPiece, ...]:
    """Cut a text, or what of it surrounds the first word that was meant, into pieces."""
    begin = 0 if len(text) <= _SNIPPET else max(0, spans[0][0] - _SNIPPET // 3)
    end = min(len(text), begin + _SNIPPET)
    pieces, at = [HitPiece("… ", hit=False)] if begin else [], begin
    for start, stop in spans:
        if start < at or stop > end:
            continue
        pieces += [HitPiece(text[at:start], hit=False), HitPiece(text[start:stop], hit=True)]
        at = stop
    pieces.append(HitPiece(text[at:end] + (" …" if end < len(text) else ""), hit=False))
    return tuple(piece for piece in pieces if piece.text)


def _texts(one: Shelved) -> Iterator[_Text]:
    entry = one.entry
    yield _Text("name", "name", entry.name)
    yield _Text("kind", "kind", "table" if one.kind is DatasetKind.TABLE else "files")
    for field, text in (("owner", entry.owner), ("description", entry.description), ("source", entry.source)):
        if text:
            yield _Text(field, field, text)
    for tag in entry.tags:
        yield _Text("tag", "tag", tag)
    for tag in one.tags:
        yield _Text("version tag", "version tag", tag)
    noted = {note.name: note for note in entry.columns}
    for name in dict.fromkeys((*(one.newest.schema.names() if one.newest else ()), *noted)):
        yield _Text("column", "column", name)
        if name in noted and noted[name].meaning:
            yield _Text("meaning", f"column {name}", noted[name].meaning)
    if one.newest is not None and one.newest.message:
        yield _Text("message", f"message of v{one.newest.number}", one.newest.message)
