"""How datasets are named, tables and files alike."""

import pytest

from kedge.data.references import check_name, named_after
from kedge.errors import RequestInvalid


@pytest.mark.parametrize("name", ["", "a/b", ".a", "-a", "a b", "a@1", "x" * 201, None])
def test_what_cannot_stand_in_a_reference_names_nothing(name):
    with pytest.raises(RequestInvalid, match="cannot name a dataset"):
        check_name(name)


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("data/raw", "data-raw"),
        ("données/été 2013.csv", "données-été-2013.csv"),
        (".hidden", "hidden"),
        ("_x", "_x"),
        ("...", "data"),
        ("a/" * 150 + "end", ("a-" * 150 + "end")[-200:].strip("-")),
    ],
)
def test_a_path_names_its_dataset(place, name):
    assert named_after(place) == name
    assert check_name(name) == name
