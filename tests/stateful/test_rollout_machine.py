"""Rollouts as people and policies drive them, killed at any write: old or new, never none, never two."""

from contextlib import suppress

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.unit.evaluation.toys import spec
from tests.unit.rollout.health import DAY, START, health, side
from tests.unit.rollout.test_rollout_room import MODEL, Killed, Ports, World

from kedge.domain.rollout import RolloutRules, Strategy
from kedge.errors import Conflict, NotFound

BY = {"actor": "person:ada", "reason": "I looked"}
ACTS = ("pause", "resume", "abort", "promote", "roll_back", "approve")


kills = st.one_of(st.none(), st.tuples(st.integers(0, 3), st.booleans()))


class RolloutMachine(RuleBasedStateMachine):
    """Drives one model's rollout; any call may be killed before or after one of its writes."""

    @initialize()
    def begin(self) -> None:
        """Deploy a first version."""
        self.world, self.day = World(), 0
        self.world.start(1)

    def teardown(self) -> None:
        """Let go of the store."""
        if hasattr(self, "world"):
            self.world.store.close()

    def attempt(self, act, kill) -> None:
        """Act, and die at the write that is named; a refusal changes nothing."""
        self.world.open(Ports(*kill) if kill else None)
        with suppress(Conflict, NotFound, Killed):
            act()

    @rule(number=st.sampled_from([1, 2, 3, 4]), strategy=st.sampled_from(Strategy), approve=st.booleans(), kill=kills)
    def deploy(self, number, strategy, approve, kill) -> None:
        """Put a version on trial by hand."""
        rules = RolloutRules(strategy=strategy, approve=approve, steps=("50%", "100%"), max_age="3d")
        self.attempt(lambda: self.world.rollout.deploy(self.world.versions[number], rules=rules, **BY), kill)

    @rule(verb=st.sampled_from(ACTS), kill=kills)
    def by_hand(self, verb, kill) -> None:
        """Move the trial by hand."""
        act = getattr(self.world.rollout, verb)
        self.attempt(lambda: act(spec(), MODEL, **BY) if verb == "approve" else act(MODEL, **BY), kill)

    @rule(kind=st.sampled_from(["fine", "broken", "silent"]), kill=kills)
    def a_day_passes(self, kind, kill) -> None:
        """Settle a day."""
        seen, now = self.day, self.world.now
        self.day += 1
        self.world.clock.time = START + self.day * DAY
        sides = [side(now.champion, 500)]
        if now.challenger is not None and kind != "silent":
            sides.append(side(now.challenger, 500) if kind == "fine" else side(now.challenger, 0, 500))
        self.attempt(lambda: self.world.rollout.settle(spec(), health(*sides, day=seen)), kill)

    @precondition(lambda self: hasattr(self, "world"))
    @invariant()
    def one_champion_answers(self) -> None:
        """The alias and the deployment name a version that is loaded; settled, they name the same."""
        deployment, alias = self.world.now, self.world.champion
        assert deployment.champion in self.world.versions
        assert alias in self.world.versions
        assert 0 <= deployment.share <= 1
        assert deployment.challenger is not None or (deployment.share, deployment.waiting, deployment.step) == (0, "", 0)
        assert deployment.challenger != deployment.champion
        revisions = self.world.store.deployments.list(MODEL)
        assert [each.revision for each in revisions] == list(range(1, len(revisions) + 1))

    @precondition(lambda self: hasattr(self, "world"))
    @invariant()
    def whoever_comes_next_makes_it_whole(self) -> None:
        """One more look and the deployment is what the alias says, and nothing decided is left undone."""
        self.world.open()
        settled = self.world.rollout.finish(spec(), MODEL)
        assert settled.champion == self.world.champion
        look = self.world.store.deployments.newest_look(MODEL)
        assert look is None or look.move.value in ("hold", "ask") or settled.revision > look.revision


RolloutMachine.TestCase.settings = settings(max_examples=20, stateful_step_count=15, derandomize=True)
TestRollout = RolloutMachine.TestCase
