"""A window of the log and what a version was judged on, as sides of a comparison: by the room and by the server's job."""

import msgspec
import pytest
from tests.loop.small import PROJECT, opened, played, write

from kedge.domain.comparing import FrameComparison
from kedge.domain.ids import ModelName
from kedge.errors import NotFound, RequestInvalid
from kedge.server.comparing import comparison_job


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = write(tmp_path_factory.mktemp("logged") / "small", project=PROJECT)
    played(made)
    return made


@pytest.fixture
def house(folder):
    house, _ = opened(folder)
    yield house
    house.close()


def window_of(house, place: int) -> str:
    one = house.meta.watches.windows(house.spec.name)[place]
    return f"predictions:{house.spec.name}@{one.start:%Y-%m-%dT%H:%M}..{one.end:%Y-%m-%dT%H:%M}"


def made(house, *names: str) -> FrameComparison | str:
    where = (str(house.settings.project), house.settings.store)
    found = comparison_job(where, (*names, "kedge", ""))
    return found if isinstance(found, str) else msgspec.json.decode(found, type=FrameComparison)


def test_the_newest_window_is_compared_with_what_its_champion_was_judged_on(house):
    champion = house.meta.deployments.find(house.spec.name).champion
    reference = f"reference:{house.spec.name}@v{champion}"
    found = made(house, reference, window_of(house, -1))
    inputs = [column.name for column in house.registry.get(house.spec.name, champion).signature.inputs]
    assert {column.name for column in found.columns} == {*inputs, "prediction"}
    kept = house.references.at_gate(house.spec.name, champion)
    assert found.rows_reference == len(kept.sample()[1])
    assert found.rows_current == house.meta.watches.list(house.spec.name, limit=1)[0].rows
    rows = house.sides.rows(reference, answers=True).rows
    assert set(rows["site"].unique()) <= {"north", "south"}
    assert rows["prediction"].is_between(0, 1).all()


def test_a_sample_is_nothing_but_itself(house):
    reference = f"reference:{house.spec.name}@v1"
    assert not made(house, reference, reference).moved


def test_windows_are_compared_with_windows_and_with_tables(house):
    two = made(house, window_of(house, -2), window_of(house, -1))
    assert "prediction" in {column.name for column in two.columns}
    table = made(house, f"{house.spec.dataset}", window_of(house, -1))
    assert "site" in {column.name for column in table.columns}
    assert house.spec.data.label not in {column.name for column in table.columns}


@pytest.mark.parametrize(
    ("side", "error"),
    [
        ("reference:small@v99", NotFound),
        ("reference:small", RequestInvalid),
        ("predictions:small@yesterday..", RequestInvalid),
        ("predictions:small@1999-01-01..1999-01-02", RequestInvalid),
        ("predictions:nobody", RequestInvalid),
    ],
)
def test_what_was_not_logged_is_refused_with_what_to_write(house, side, error):
    side = side.replace("small", house.spec.name)
    with pytest.raises(error, match=r"write such as|see: kedge|List them"):
        house.sides.rows(side, answers=True)
    assert isinstance(made(house, side, window_of(house, -1)), str)
    assert house.meta.models.last_number(ModelName("nobody")) == 0
