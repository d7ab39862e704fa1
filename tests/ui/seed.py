"""A believable year of one model, written through the ports by hand: what the loop would have left behind in its store.

Six versions from March to December 2013, one rolled back, one refused at the gate, one on trial at 25 %; weekly rhythm,
a summer above the limit, drifting features, a ledger that trains four times. Everything follows from a fixed seed.
"""

import math
from datetime import UTC, datetime

from tests.ui.watched import told
from tests.ui.year_versions import DAY, END, FEATURES, MODEL, PROMOTED, START, TRIAL_FROM, YearVersions

from kedge.domain.alerting import Alert, AlertKind
from kedge.domain.events import EventKind
from kedge.domain.ids import ModelName
from kedge.domain.monitoring import Block, Drift, Health, Risk, VersionHealth, Window
from kedge.domain.project import Budget, DataRules, ProjectSpec, TrainingRules
from kedge.domain.registry import AliasMove
from kedge.domain.retraining import LedgerEntry
from kedge.domain.rollout import Apart, Deployment, GuardOdds, Move, RolloutLook, ShadowCompared, SliceLook
from kedge.ports import MetaStore

LIMITS = {1: 0.515, 2: 0.515, 3: 0.518, 5: 0.505}


def spec(name: str = MODEL) -> ProjectSpec:
    return ProjectSpec(
        name=ModelName(name),
        data=DataRules(source="data.py:flights", time="departs_at", label="late", key="flight_id", label_delay="1d"),
        training=TrainingRules(budget=Budget(cpu_hours=2.0, runs_per_week=3)),
    )


class Year(YearVersions):
    """Writes the year into a store."""

    def __init__(self, meta: MetaStore, *, model: str = MODEL, hostile: str = "") -> None:
        super().__init__(meta, model=model, hostile=hostile)
        self.blocks: dict[tuple[datetime, int], Block] = {}

    def write(self, end: datetime = END) -> None:
        self.write_versions()
        day, revision = START, 0
        regret, step = 0.0, 0
        while day < end:
            revision = self._deployments(day, revision)
            self._window(day, revision)
            if (day - START).days % 7 == 6:
                regret, step = self._ledger(day + DAY, regret, step)
            day += DAY

    def champion(self, at: datetime) -> int:
        return max(number for number, since in PROMOTED.items() if since <= at)

    def _deployments(self, day: datetime, revision: int) -> int:
        for number, since in PROMOTED.items():
            if since == day:
                previous = {1: None, 2: 1, 3: 2, 5: 3}[number]
                actor, reason = (
                    ("policy:ledger", "first model")
                    if number == 1
                    else ("policy:canary", "three steps without harm; regret stood at 41.2 of 40")
                )
                move = AliasMove(
                    model=self.model,
                    alias="champion",
                    number=number,
                    previous=previous,
                    serial=[1, 2, 3, 5].index(number) + 1,
                    moved_at=day,
                    actor=actor,
                    reason=f"{reason}{self.hostile}",
                )
                self.meta.models.move(move, self.event(EventKind.ALIAS_MOVED, day, f"champion moved to v{number}"))
                revision += 1
                self._deploy(
                    Deployment(model=self.model, revision=revision, champion=number, since=day, actor=actor, reason=reason),
                    EventKind.MODEL_PROMOTED,
                    f"v{number} promoted: {reason}",
                )
        if day == datetime(2013, 8, 5, tzinfo=UTC):
            revision += 1
            self._deploy(
                Deployment(
                    model=self.model,
                    revision=revision,
                    champion=3,
                    challenger=4,
                    share=0.05,
                    salt="a",
                    since=day,
                    actor="policy:ledger",
                    reason="regret stood at 40.3 of 40",
                ),
                EventKind.ROLLOUT_STARTED,
                "v4 on trial with 5 % of the traffic",
            )
        if day == datetime(2013, 8, 7, tzinfo=UTC):
            look = self._look(
                revision,
                4,
                day,
                Move.ROLL_BACK,
                "harm shown: its loss is above that of v3 by 0.041, odds 412 : 1",
                difference=0.041,
                evidence=412.0,
            )
            self.meta.deployments.add_look(look, self.event(EventKind.ROLLOUT_LOOKED, day, "v4 shows harm"))
            revision += 1
            self._deploy(
                Deployment(
                    model=self.model,
                    revision=revision,
                    champion=3,
                    since=day,
                    actor="policy:canary",
                    reason="v4 lost more than v3",
                ),
                EventKind.MODEL_ROLLED_BACK,
                "v4 rolled back; v3 has all traffic",
            )
        if day == TRIAL_FROM:
            revision += 1
            self._deploy(
                self._trial(revision, 0.05, 0, day), EventKind.ROLLOUT_STARTED, "v6 on trial with 5 % of the traffic"
            )
        if day == TRIAL_FROM + DAY:
            look = self._look(
                revision, 6, day, Move.ADVANCE, "the hold is over and no harm was shown", difference=-0.014, evidence=0.6
            )
            self.meta.deployments.add_look(look, self.event(EventKind.ROLLOUT_LOOKED, day, "v6 shows no harm"))
            revision += 1
            self._deploy(
                self._trial(revision, 0.25, 1, day), EventKind.ROLLOUT_ADVANCED, "v6 raised from 5 % to 25 % of the traffic"
            )
            self._watch_live(revision, day)
            look = self._look(
                revision,
                6,
                END,
                Move.HOLD,
                "no harm shown; the hold lasts until 30 December",
                difference=-0.011,
                evidence=1.7,
            )
            self.meta.deployments.add_look(look, self.event(EventKind.ROLLOUT_LOOKED, END, "v6 shows no harm at 25 %"))
        return revision

    def _watch_live(self, revision: int, day: datetime) -> None:
        """Write the looks of a day at the log as it grew: odds that wander, a shadow's comparison, slices."""
        logs = {"errors": -0.6, "latency": -0.9, "answers": -0.4, "slices": -1.2}
        for number in range(1, 41):
            logs = {name: max(-2.0, log + self.chance.gauss(-0.01, 0.14)) for name, log in logs.items()}
            at = day + (END - day) * number / 41
            guards = {
                name: GuardOdds(odds=10**log, reason=f"it failed on 0 of {number * 5} rows{self.hostile}")
                for name, log in logs.items()
            }
            apart = tuple(
                Apart(
                    prediction=f"flights-2013-12-29T{hour}:00.{hour}{self.hostile}",
                    champion=0.11,
                    challenger=0.93 - 0.05 * hour,
                    features={"carrier": f"MQ{self.hostile}", "wind__speed": 21.9, "plane__seats": None, "night": True},
                )
                for hour in range(5)
            )
            slices = tuple(
                SliceLook(
                    column="carrier",
                    value=f"{name}{self.hostile}",
                    rows=rows,
                    champion_rows=3 * rows,
                    errors=0,
                    disagreed=2,
                    judged=rows > 200,
                )
                for name, rows in (("AA", 412), ("MQ", 240), ("HA", 3))
            )
            look = RolloutLook(
                model=self.model,
                revision=revision,
                window=f"live-{number:06d}",
                challenger=6,
                step=1,
                share=0.25,
                move=Move.HOLD,
                reason="version 6 at step 2 of 3 (25% of traffic) shows no harm; it has lasted 20 h of 2d",
                looked_at=at,
                rows=number * 5,
                champion_rows=number * 15,
                share_seen=0.25,
                evidence=max(found.odds for found in guards.values()),
                limit=1100,
                guards=guards,
                live=True,
                requests=number * 5,
                slow=1,
                overridden=12,
                entities=number * 14,
                split_odds=0.3,
                comparison=ShadowCompared(pairs=812, disagreed=23, mean_difference=0.013, psi=0.041, ks=0.07, largest=apart)
                if number == 40
                else None,
                slices=slices if number == 40 else (),
            )
            event = self.event(EventKind.ROLLOUT_LOOKED, at, "v6 shows no harm")
            self.meta.deployments.add_look(look, event)

    def _trial(self, revision: int, share: float, step: int, day: datetime) -> Deployment:
        return Deployment(
            model=self.model,
            revision=revision,
            champion=5,
            challenger=6,
            share=share,
            step=step,
            salt="b",
            since=day,
            actor="policy:canary",
            reason="regret stood at 40.9 of 40",
        )

    def _deploy(self, deployment: Deployment, kind: EventKind, message: str) -> None:
        self.meta.deployments.put(deployment, self.event(kind, deployment.since, message, actor=deployment.actor))

    def _look(
        self, revision: int, challenger: int, day: datetime, move: Move, reason: str, *, difference: float, evidence: float
    ) -> RolloutLook:
        return RolloutLook(
            model=self.model,
            revision=revision,
            window=Window(day - DAY, day).id,
            challenger=challenger,
            step=1 if day == END else 0,
            share=0.25 if day == END else 0.05,
            move=move,
            reason=f"{reason}{self.hostile}",
            looked_at=day,
            rows=217,
            share_seen=0.251,
            errors=0,
            days=1,
            difference=difference,
            evidence=evidence,
        )

    def _loss(self, day: datetime, champion: int) -> float:
        age = (day - PROMOTED[champion]).days
        summer = 0.09 * math.exp(-(((day - datetime(2013, 7, 6, tzinfo=UTC)).days / 26) ** 2))
        autumn = -0.08 * math.exp(-(((day - datetime(2013, 10, 1, tzinfo=UTC)).days / 38) ** 2))
        winter = 0.075 * math.exp(-(((day - datetime(2013, 12, 14, tzinfo=UTC)).days / 9) ** 2))
        return 0.452 + summer + autumn + winter + 0.00035 * age + self.chance.gauss(0, 0.024)

    def _window(self, day: datetime, revision: int) -> None:
        champion, rows = self.champion(day), 800 + self.chance.randrange(120)
        labelled = day - DAY
        trial = day > TRIAL_FROM
        if labelled >= START:
            version = self.champion(labelled)
            taken = self.chance.randrange(170, 230) if trial else 0
            loss = self._loss(labelled, version)
            kept = {(labelled, version): Block(day=labelled, version=version, rows=rows - taken, loss=loss * (rows - taken))}
            if trial:
                kept[(labelled, 6)] = Block(day=labelled, version=6, rows=taken, loss=(loss - 0.011) * taken)
            self.blocks = {key: block for key, block in self.blocks.items() if key[0] >= PROMOTED[champion]} | kept
        window = Window(day, day + DAY)
        means = [block.loss / block.rows for block in self.blocks.values() if block.version == champion][-7:]
        mean = sum(means) / len(means) if means else 0.45
        limit = LIMITS[champion]
        alarm = mean - 0.014 > limit
        first = window.end in (datetime(2013, 6, 25, tzinfo=UTC), datetime(2013, 12, 14, tzinfo=UTC))
        drift = tuple(self._drift(name, index, day) for index, name in enumerate(FEATURES))
        alerts = []
        if first:
            alerts.append(
                Alert(
                    key=f"risk-{window.id}",
                    model=self.model,
                    kind=AlertKind.RISK,
                    message=f"v{champion} loses at least {mean - 0.01:.3f}, over the {limit} you accepted{self.hostile}",
                    raised_at=window.end,
                    evidence=1310.0,
                    limit=1000.0,
                )
            )
        if day in (END - 3 * DAY, END - 2 * DAY):
            name = FEATURES[(END - day).days - 2]
            alerts.append(
                Alert(
                    key=f"drift-{window.id}",
                    model=self.model,
                    kind=AlertKind.DATA_DRIFT,
                    message=f"{name} moved: a middling flight now sits at the 68th percentile{self.hostile}",
                    raised_at=window.end,
                    subject=name,
                    evidence=3400.0,
                    limit=1000.0,
                )
            )
        share = 0.25 if trial else 0.0
        versions = [
            VersionHealth(
                version=champion, rows=round(rows * (1 - share)), errors=0, mean_output=0.24, latency_seconds=0.0062
            )
        ]
        if trial:
            versions.append(
                VersionHealth(version=6, rows=round(rows * share), errors=0, mean_output=0.236, latency_seconds=0.0064)
            )
        health = Health(
            model=self.model,
            window=window,
            rows=rows,
            labels=rows if labelled >= START else 0,
            versions=tuple(versions),
            blocks=tuple(self.blocks.values()),
            drift=drift,
            risk=Risk(accepted=limit / 1.05, limit=limit, mean=mean, lower=mean - 0.014, days=len(means), alarm=alarm)
            if means
            else None,
            alerts=tuple(alerts),
            loss=mean,
        )
        if day >= END - 40 * DAY or self.hostile:
            health = told(health, hostile=self.hostile)
        for one in alerts:
            self.meta.watches.raise_alert(
                one, self.event(EventKind.ALERT_RAISED, one.raised_at, one.message, actor="monitoring", kind=one.kind.value)
            )
        self.meta.watches.put(
            health,
            b"",
            event=self.event(EventKind.WINDOW_MEASURED, window.end, f"Window {window.id} measured: {rows} predictions"),
        )

    def _drift(self, name: str, index: int, day: datetime) -> Drift:
        late = max(0.0, 14 - (END - day).days) / 14
        evidence = math.exp(late * (8.5 - 0.9 * index)) if index < 2 else 0.4 + self.chance.random() * 4 / (1 + index)
        shift = (0.18, 0.12, 0.04, -0.06)[index] * (0.3 + 0.7 * late) if index < 4 else self.chance.gauss(0, 0.02)
        return Drift(
            column=f"{name}{self.hostile}",
            psi=abs(shift),
            jensen_shannon=abs(shift) / 3,
            shift=shift,
            evidence=evidence,
            limit=1000.0,
            alarm=evidence >= 1000,
        )

    def _ledger(self, at: datetime, regret: float, step: int) -> tuple[float, int]:
        slope, gain = 0.52, 1.4 + self.chance.gauss(0, 0.9)
        regret = max(0.0, regret + gain + slope)
        decision = "retrain" if regret >= 40 else "look" if step % 6 == 5 else "wait"
        reason = {
            "retrain": f"regret {regret:.1f} reached the price of 40",
            "look": "a sixth step since the last look",
            "wait": f"regret {regret:.1f} is below the price of 40",
        }[decision]
        entry = LedgerEntry(
            model=self.model,
            step=step,
            window=Window(at - DAY, at).id,
            decided_at=at,
            policy="ledger",
            decision=decision,
            reason=f"{reason}{self.hostile}",
            champion=self.champion(at - DAY),
            rows=5600,
            loss=0.47,
            slope=slope,
            gain=gain,
            regret=regret,
            price=40.0,
            phi=0.1,
            interval=math.sqrt(80 / slope),
            level=2600.0,
            gains=10.0,
            gaps=20.0,
            since_look=step % 6,
        )
        self.meta.ledgers.put(
            entry, self.event(EventKind.RETRAINING_DECIDED, at, f"{decision}: {reason}", actor="policy:ledger")
        )
        return (0.0 if decision == "retrain" else regret), step + 1
