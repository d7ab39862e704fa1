"""THE closed loop: read this first. One row goes from the source to a served answer, and from its truth to retraining.

`turn` makes a model from new rows and starts its rollout; `watch` looks at what is served, once after each window, and
decides whether to turn again. Every step is keyed by the digest of its inputs and writes its event with its state, so a
turn that was killed and started again repeats nothing and loses nothing.
"""

from kedge.app import House
from kedge.domain.evaluation import Gain
from kedge.domain.monitoring import Window
from kedge.domain.project import ProjectSpec
from kedge.domain.retraining import Look, Retrain, Wait
from kedge.domain.turning import Turned
from kedge.errors import Conflict, DataInvalid, SourceFailed, TrainingFailed

TRIES = 5


def turn(house: House, spec: ProjectSpec, because: Retrain) -> Turned:
    """Make one turn of the loop: from new rows to a served, watched model. Whatever fails, what is live stays live."""
    for left in reversed(range(TRIES)):
        try:
            return _turn(house, spec, because)
        except (DataInvalid, SourceFailed, TrainingFailed) as error:
            return house.retraining.failed(spec, because, error)
        except Conflict:  # another turn wrote first: what is done is found again, the rest comes after it
            if not left:
                raise
    raise AssertionError("the last try returns or raises")


def _turn(house: House, spec: ProjectSpec, because: Retrain) -> Turned:
    version = house.data.commit(spec, upto=because.at)                           # 1 rows -> immutable dataset version
    house.data.require_valid(version, spec)                                      # 2 bad data stops here
    frame = house.features.training_frame(spec, version, upto=because.at)        # 3 point-in-time correct rows
    house.monitoring.require_watchable(spec, house.features.service(spec))       #   what is to be watched is served
    candidate = house.pipelines.train(spec, frame.without_newest())              # 4 a tracked run: code + params + data
    champion = house.registry.champion(spec.name)
    verdict = house.evaluation.gate(spec, candidate, against=champion, on=frame.newest())  # 5 the gate
    if not verdict.passed:
        return house.retraining.refused(spec, because, candidate, verdict)
    final = house.pipelines.train(spec, frame)                                   # 6 refit up to now ...
    verdict = house.evaluation.require_agreement(spec, final, candidate, on=frame.newest(), after=verdict)
    if not verdict.passed:                                                       # ... which is what was tested
        return house.retraining.refused(spec, because, candidate, verdict)
    challenger = house.registry.register(spec, final, candidate, verdict, frame)  # 7 immutable model version
    house.references.take(spec, challenger, frame)                               #   and what it calls normal
    house.rollout.start(spec, challenger, because)                               # 8 shadow or canary; guarded by watch()
    return house.retraining.turned(spec, because, challenger)


def watch(house: House, spec: ProjectSpec, window: Window) -> Turned:
    """Take one look at what is served: settle the rollout, then decide whether to turn again."""
    health = house.monitoring.measure(spec, window)                              # 9 predictions joined with late labels
    if house.serves:
        house.messenger.calm_down(spec.name, at=window.end)                      #   alerts that windows stopped to show
    house.rollout.settle(spec, health)                                           # 10 advance, promote, roll back or hold
    decision = house.retraining.decide(spec, health)                             # 11 pure policy: wait, look or retrain
    if isinstance(decision, Look):
        decision = house.retraining.looked(spec, health, look(house, spec))
    match decision:
        case Retrain() as because:
            return turn(house, spec, because)
        case Look(reason) | Wait(reason):
            return Turned(steady=reason)


def look(house: House, spec: ProjectSpec) -> Gain | None:
    """Train a candidate and compare it with the champion on the newest rows; release nothing. None: it could not."""
    try:
        version = house.data.commit(spec)
        house.data.require_valid(version, spec)
        frame = house.features.training_frame(spec, version)
        candidate = house.pipelines.train(spec, frame.without_newest())
    except (DataInvalid, SourceFailed, TrainingFailed) as error:
        house.retraining.failed(spec, None, error)
        return None
    return house.evaluation.gain(spec, candidate, over=house.registry.champion(spec.name), on=frame.newest())
