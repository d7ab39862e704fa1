"""The requests answered last, so that one that is sent again counts once and gets the same answer."""

from collections import OrderedDict
from hashlib import blake2b

from kedge.domain.ids import RequestId
from kedge.serving.wire.questions import InferResponse


class Recent:
    """A bounded memory of (request id, body) -> answer, the oldest forgotten first.

    An id that comes back with another body, or asks another version, is another request (many clients send one id always):
    it is logged under `ID~DIGEST` of that. An id is the first's as soon as that waits for its answer. After a
    restart the log's readers drop what is there twice.
    """

    def __init__(self, *, most: int = 4096, most_bytes: int = 64 * 2**20) -> None:
        self._most, self._most_bytes, self._bytes = most, most_bytes, 0
        self._answers: OrderedDict[RequestId, InferResponse] = OrderedDict()
        self._first: OrderedDict[str, RequestId] = OrderedDict()

    def name(self, told: str, body: bytes, *, beside: bytes = b"") -> tuple[RequestId, RequestId]:
        """Name a request in this memory (its id, its body, and what it says `beside` that) and in the log (its id, where the
        id is this request's)."""
        digest = blake2b(body, digest_size=8, key=blake2b(beside, digest_size=16).digest() if beside else b"")
        exact = RequestId(f"{told}~{digest.hexdigest()}")
        if told not in self._first:
            return exact, RequestId(told)
        self._first.move_to_end(told)
        return exact, RequestId(told) if self._first[told] == exact else exact

    def find(self, exact: RequestId) -> InferResponse | None:
        """Find the answer that was given."""
        return self._answers.get(exact)

    def claim(self, exact: RequestId, told: str) -> None:
        """Let an id be that of a request that is under way, unless it is another's."""
        self._first.setdefault(told, exact)
        while len(self._first) > self._most:
            self._first.popitem(last=False)

    def release(self, exact: RequestId, told: str) -> None:
        """Let an id be free again whose request was refused: what is sent next under it may be put right."""
        if exact not in self._answers and self._first.get(told) == exact:
            del self._first[told]

    def keep(self, exact: RequestId, told: str, *, answer: InferResponse) -> None:
        """Remember an answer that is in the log; one that is remembered already stays as it is."""
        if exact in self._answers:
            return
        self._answers[exact] = answer
        self._bytes += _size(answer)
        self.claim(exact, told)
        while len(self._answers) > self._most or self._bytes > self._most_bytes:
            self._bytes -= _size(self._answers.popitem(last=False)[1])


def _size(answer: InferResponse) -> int:
    """Tell about how many bytes an answer takes in memory."""
    return 500 + sum(tensor.data.nbytes for tensor in answer.outputs)
