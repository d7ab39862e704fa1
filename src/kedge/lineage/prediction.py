"""Finding one answer in the prediction log. Of records with the same request the first counts: what the caller got."""

from collections.abc import Sequence

import msgspec

from kedge.domain.ids import Digest, PredictionId, digest_bytes, split_prediction_id
from kedge.domain.monitoring import COPIED, PredictionBatch
from kedge.domain.records import decode_answers, decode_batch
from kedge.domain.rows import place_of
from kedge.errors import NotFound, StoreBroken
from kedge.ports import Journal


class Logged(msgspec.Struct, frozen=True):
    """One row of a request as it was answered, by its place in the record, and the digest of the record that says so."""

    batch: PredictionBatch
    row: int
    record: Digest


def find_call(journal: Journal, batch: PredictionBatch, *, version: int) -> Sequence[PredictionBatch]:
    """Find the requests that a version answered in the same call as this one, in their order in it.

    Raises NotFound where some of them are no longer in the log: their rows cannot be put beside this one's again.
    """
    call, _, of = batch.calls[version]
    mark = call.encode()
    found: dict[int, PredictionBatch] = {}
    for _, payload in journal.scan():
        if mark in payload:
            other = decode_batch(payload)
            if version in other.calls and other.calls[version][0] == call:
                found.setdefault(other.calls[version][1], other)
    if len(found) < of:
        raise NotFound(
            f"request {batch.request!r} was answered together with {of - 1} others, of which {of - len(found)} are no longer"
            " in the prediction log: the call cannot be made again as it was"
        )
    return [found[place] for place in sorted(found)]


def find_copied(journal: Journal, batch: PredictionBatch) -> PredictionBatch | None:
    """Find the record that says a request again, with what a version in shadow answered; None where it was not copied."""
    mark = batch.request.encode()
    for _, payload in journal.scan(since=batch.at):
        if mark in payload and (other := decode_answers(payload)).variant == COPIED and other.request == batch.request:
            return decode_batch(payload)
    return None


def find_prediction(journal: Journal, prediction: PredictionId) -> Logged:
    """Find an answer by its id. Raises NotFound saying what is known; StoreBroken for a record that cannot be read."""
    parts = split_prediction_id(prediction)
    if parts is None:
        raise NotFound(
            f"{prediction!r} is not a prediction's id; one looks like REQUEST.ROW, for example flights-2013-03-01T11.0"
        )
    request, row = parts
    try:
        found = journal.find(prediction)
        batch = None if found is None else decode_batch(found)
    except msgspec.DecodeError as error:
        raise StoreBroken(f"a record of the prediction log cannot be read ({error}); restore it from a backup") from error
    if found is None or batch is None:
        raise NotFound(
            f"no answered request is called {request!r}; ids stand in the answers of the data plane and in its log"
        )
    place = place_of(batch.rows, len(batch.versions), row=row)
    if place is None:
        kept = f"{', '.join(map(str, batch.rows))} in the log" if batch.rows else f"0 to {len(batch.versions) - 1}"
        raise NotFound(f"request {request!r} has rows {kept}, not {row}")
    return Logged(batch, place, digest_bytes(found))
