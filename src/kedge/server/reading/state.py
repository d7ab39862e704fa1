"""The states that anything on a page may be in, and the small structs that pages and the API share."""

from datetime import datetime
from enum import Enum

import msgspec


class State(Enum):
    """A state is colour + icon + word. The value is the class of its colour and icon; words vary with the place."""

    WELL = "well"
    TRIAL = "trial"
    WATCH = "watch"
    ALARM = "alarm"
    HOLDS = "holds"
    IDLE = "idle"
    RUNNING = "running"


class Sentence(msgspec.Struct, frozen=True, kw_only=True):
    """The answer on top of a page: one sentence, and one or two more on what Kedge does about it."""

    state: State
    say: str
    sub: str = ""


class Station(msgspec.Struct, frozen=True, kw_only=True):
    """One of the ten stations of the loop: its state, the word for it, one figure, and the page that explains it."""

    name: str
    state: State
    word: str
    figure: str
    link: str


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A named figure with its unit."""

    name: str
    text: str
    unit: str = ""


class Happened(msgspec.Struct, frozen=True, kw_only=True):
    """One event, as a page shows it."""

    serial: int
    at: datetime
    state: State
    kind: str
    subject: str
    message: str
    actor: str
    link: str = ""


class Next(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is to come: what, when as a phrase, and when as a time where one can say."""

    what: str
    then: str
    at: datetime | None = None
