"""The search of the catalogue: what it reads, what it finds, in which order."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.data.finding import CatalogueIndex, hits_in, read_query, words_of
from kedge.domain.catalogue import Shelved
from kedge.domain.data import Column, ColumnNote, ColumnType, Dataset, DatasetKind, DatasetVersion, Schema
from kedge.domain.ids import DatasetName, Digest
from kedge.errors import SearchInvalid

AT = datetime(2026, 1, 1, tzinfo=UTC)
MARKS = {"table": lambda one: one.kind is DatasetKind.TABLE, "unowned": lambda one: not one.entry.owner}


def shelved(name: str, *columns: str, message: str = "", tags: tuple[str, ...] = (), **entry: object) -> Shelved:
    schema = Schema(tuple(Column(name=column, type=ColumnType.FLOAT) for column in columns))
    version = DatasetVersion(
        dataset=DatasetName(name),
        number=3,
        digest=Digest(f"{name}-digest"),
        schema=schema,
        parts=(),
        rows=0,
        order="",
        created_at=AT,
        message=message,
    )
    kept = Dataset(name=DatasetName(name), kind=DatasetKind.TABLE, created_at=AT, **entry)
    return Shelved(entry=kept, newest=version, tags=dict.fromkeys(tags, 3))


SHELF = [
    shelved("flights", "tailNum", "dep_delay", description="Departures from New York, from the carriers", owner="ada"),
    shelved("weather", "visib", description="Hourly observations for flights at three airports", tags=("gold",)),
    shelved("planes", "tail_num", columns=(ColumnNote(name="tail_num", meaning="Registration of the aéroplane"),)),
    shelved("people.rides", "email", message="first load of flights"),
]
INDEX = CatalogueIndex(SHELF)


def found(query: str) -> list[str]:
    return [str(one.name) for _, one in INDEX.find(read_query(query, tuple(MARKS)), MARKS)]


def test_names_are_cut_into_words() -> None:
    assert list(words_of("tailNum_2 Über-Café s3://a/b")) == ["tail", "num", "2", "uber", "cafe", "s3", "a", "b"]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["flights", "people.rides", "planes", "weather"]),
        ("flights", ["flights", "weather", "people.rides"]),
        ("fli", ["flights", "weather", "people.rides"]),
        ("FLIGHTS york", ["flights"]),
        ("aeroplane", ["planes"]),
        ("tail num", ["flights", "planes"]),
        ('"tail num"', ["flights", "planes"]),
        ('"york new"', []),
        ('"new york"', ["flights"]),
        ('"new yo"', ["flights"]),
        ("owner:ada", ["flights"]),
        ("owner:flights", []),
        ("column:email", ["people.rides"]),
        ("gold", ["weather"]),
        ("flights -york", ["weather", "people.rides"]),
        ("-flights", ["planes"]),
        ("is:table -is:unowned", ["flights"]),
        ("is:unowned flights", ["weather", "people.rides"]),
        ("gs://bucket", []),
        ("!!", ["flights", "people.rides", "planes", "weather"]),
    ],
)
def test_a_query_finds(query: str, names: list[str]) -> None:
    assert found(query) == names


def test_a_whole_word_goes_before_its_beginning() -> None:
    index = CatalogueIndex([shelved("rate"), shelved("rates")])
    assert [str(one.name) for _, one in index.find(read_query("rate", ()), {})] == ["rate", "rates"]


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("x" * 1001, "1000 are the most"),
        ("is:odd", "is:odd is no filter; there are is:table"),
        ("owener:ada", "owener: is no field; did you mean owner:"),
        ("foo:bar", "foo: is no field; there are column:, kind:"),
    ],
)
def test_what_cannot_be_read_is_refused(query: str, says: str) -> None:
    with pytest.raises(SearchInvalid, match=says):
        read_query(query, tuple(MARKS))


def test_the_nearest_word_is_offered() -> None:
    assert INDEX.near(read_query("wether", ())) == "weather"
    assert INDEX.near(read_query("-wether zzzz", ())) == ""


def test_hits_show_the_weightiest_texts_with_their_words_marked() -> None:
    hits = hits_in(SHELF[1], read_query("flight weather", ()))
    assert [hit.field for hit in hits] == ["name", "description"]
    assert [piece.text for hit in hits for piece in hit.pieces if piece.hit] == ["weather", "flights"]
    assert "".join(piece.text for piece in hits[1].pieces) == "Hourly observations for flights at three airports"


def test_hits_of_a_field_are_only_in_that_field_and_long_texts_are_cut() -> None:
    one = shelved("flights", description="word " * 200 + "flights " + "end " * 200)
    (hit,) = hits_in(one, read_query("name:flights", ()))
    assert hit.field == "name"
    (hit,) = hits_in(one, read_query("end", ()))
    text = "".join(piece.text for piece in hit.pieces)
    assert text.startswith("… ")
    assert text.endswith(" …")
    assert len(text) < 200
    assert hits_in(one, read_query("", ())) == ()


WORDS = st.sampled_from(["flights", "weather", "tail num", "gold", "New York", "rate", "rates", ""])
SAID = st.fixed_dictionaries(
    {"description": WORDS, "owner": WORDS, "tags": st.lists(WORDS.filter(bool), max_size=2).map(tuple)}
)


@given(changes=st.lists(st.tuples(st.sampled_from("abcd"), st.lists(WORDS.filter(bool), max_size=2), SAID), max_size=12))
def test_an_index_that_is_kept_is_as_one_that_is_made_anew(changes) -> None:
    kept = CatalogueIndex(())
    shelf: dict[str, Shelved] = {}
    for name, names, said in changes:
        shelf[name] = shelved(name, *names, **said)
        kept.put(shelf[name])
    made = CatalogueIndex(list(shelf.values()))
    assert len(kept) == len(made) == len(shelf)
    for query in ("", "flights", "fli", '"new york"', "rate", "tail -gold", "owner:gold", "is:unowned"):
        asked = read_query(query, tuple(MARKS))
        assert kept.find(asked, MARKS) == made.find(asked, MARKS)
        assert kept.near(asked) == made.near(asked)
