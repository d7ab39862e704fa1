"""The messenger: lets time do what is due to alerts, makes deliveries of notices, and sends them. One process at a time.

    alert + notice (one transaction, with what raised it) -> deliveries (one transaction) -> taken -> sent -> ended
Each arrow may be where the process is killed: what was not done is done by the next one. A message that was sent, whose
end was not written, is sent again under the same id, so that its receiver can drop it. The end of one delivery is written
with the taking of the next: each costs one commit, and only the one under way may come twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from zlib import crc32

import msgspec

from kedge.domain.alert_life import (
    KEDGE,
    ONCE,
    AlertLife,
    AlertMove,
    AlertState,
    EscalationRules,
    Moved,
    Notice,
    calmed_down,
    passed,
    resolved,
)
from kedge.domain.alerting import Alert, AlertKind, AlertSeverity
from kedge.domain.channels import (
    AlertDelivery,
    AlertRules,
    ChannelKind,
    ChannelRules,
    DeliveryState,
    Message,
    calm_windows,
    delivery_id,
    quiet_hours,
)
from kedge.domain.durations import seconds_of, span_of
from kedge.domain.ids import Digest, ModelName
from kedge.domain.played import is_past, played_note
from kedge.errors import Conflict, NotTold
from kedge.monitoring.telling.alerts import THE_LOOP
from kedge.monitoring.telling.desk import event_of
from kedge.ports import AlertChannel, Alerts, Clock, Deployments, Models, Notes, Runs
from kedge.security.redact import redact

LEASE = Digest("controller:alerts")
LEASE_SECONDS = 60.0
OWNED_SECONDS = 120.0
FIRST_RETRY, LONGEST_RETRY = 5.0, 900.0
GIVE_UP = timedelta(hours=24)
ROBOTS = (ChannelKind.WEBHOOK, ChannelKind.PAGERDUTY, ChannelKind.LOG)  # they want to know what is acknowledged


class Messenger:
    """Tells people what the outbox holds."""

    def __init__(
        self,
        *,
        alerts: Alerts,
        runs: Runs,
        models: Models,
        deployments: Deployments,
        notes: Notes,
        first: Mapping[str, ChannelRules],
        rules: AlertRules,
        channels: Callable[[], Mapping[str, AlertChannel]],
        window: str,
        project: str,
        clock: Clock,
        owner: str,
    ) -> None:
        self._alerts, self._runs, self._models, self._deployments, self._notes = alerts, runs, models, deployments, notes
        self._first, self._rules, self._channels = first, rules, channels
        self._window, self._project, self._clock, self._owner = span_of(window), project, clock, owner
        self._aging = aging_of(rules, self._window)
        self._renew_at: datetime | None = None

    def tick(self) -> list[AlertDelivery]:
        """Do all that is due, where this process holds the lease; give the deliveries that were tried."""
        if not self._work() or not self._leads():
            return []
        try:
            self._age()
            self._spread()
            return self._send()
        finally:
            self._renew_at = None
            self._runs.release(LEASE, self._owner)

    def calm_down(self, model: ModelName, *, at: datetime) -> None:
        """Resolve what enough windows in a row did not show, at the end of the last of them: a past that is played, or
        windows that are measured late, count by their own time."""
        for life in self._alerts.list(model=model, resolved=False):
            calmed, notice = calmed_down(life, max(at, life.seen_at), rules=self._aging)
            if calmed is not life:
                with suppress(Conflict):  # a person was first: the next window looks again
                    self._alerts.put(calmed, event_of(calmed), notice=notice)

    # ---- what is due ----

    def _work(self) -> bool:
        """Say whether anything is due: reads only."""
        now = self._clock.now()
        if self._alerts.notices(limit=1) or any(one.next_at <= now for one in self._alerts.waiting()):
            return True
        return any(self._aged(life, now)[0] is not life for life in self._alerts.list(resolved=False))

    def _leads(self) -> bool:
        """Hold the lease, renewed when a third of it has passed. A delivery belongs to one sender in any case."""
        now = self._clock.now()
        if self._renew_at is not None and now < self._renew_at:
            return True
        held = self._runs.claim(LEASE, self._owner, now=now, seconds=LEASE_SECONDS)
        self._renew_at = now + timedelta(seconds=LEASE_SECONDS / 3) if held else None
        return held

    def _age(self) -> None:
        """Let time do what is due to each alert."""
        for life in self._alerts.list(resolved=False):
            aged, notice = self._aged(life, self._clock.now())
            if aged is not life:
                try:
                    self._alerts.put(aged, event_of(aged), notice=notice)
                except Conflict:
                    continue  # a person or a window was first: the next tick looks again

    def _aged(self, life: AlertLife, now: datetime) -> Moved:
        if life.kind in ONCE and (why := self._done(life)):
            return resolved(life, at=now, actor=KEDGE, reason=why)
        return passed(life, now, rules=self._aging)

    def _done(self, life: AlertLife) -> str:
        """Say by what something that was told once is over; "" where it is not."""
        if life.kind is AlertKind.ROLLOUT_WAITS:
            deployment = self._deployments.find(life.model)
            still = deployment is not None and f"{life.model}@{deployment.challenger}" == life.newest.subject
            return "" if still and deployment is not None and deployment.waiting else "it was decided"
        if life.kind is AlertKind.UNWATCHED:
            return self._watched_again(life)
        if life.kind is AlertKind.COST:
            return "" if self._clock.now() < budget_ends(life.newest) else "another period of the budget has begun"
        newest = next(iter(self._models.list(life.model)), None)
        later = newest is not None and newest.registered_at > life.seen_at
        return f"version {newest.number} was registered since" if later and newest is not None else ""

    def _watched_again(self, life: AlertLife) -> str:
        """Say whether another version is champion than the one that cannot be watched; the loop says for itself that it
        goes on (`windows.attend`)."""
        deployment = self._deployments.find(life.model)
        now = f"version {deployment.champion}" if deployment is not None else ""
        return f"{now} is champion now" if now and life.newest.subject not in (now, THE_LOOP) else ""

    # ---- deliveries ----

    def _spread(self) -> None:
        """Make the deliveries of the notices that have none."""
        notices = self._alerts.notices()
        made: list[AlertDelivery] = []
        for serial, notice in notices:
            hold = self._held_until(notice)
            made += [
                AlertDelivery(
                    id=delivery_id(notice.id, name),
                    serial=serial,
                    alert=notice.life.id,
                    episode=notice.life.episode,
                    channel=name,
                    move=notice.move,
                    next_at=hold or self._clock.now(),
                    held=hold is not None,
                )
                for name in self._meant(notice, made)
            ]
        if notices:
            self._alerts.spread([serial for serial, _ in notices], made)

    def _meant(self, notice: Notice, made: Sequence[AlertDelivery]) -> list[str]:
        """Name the channels that a notice is for; `made` are deliveries that are not written yet."""
        life = notice.life
        if self._is_played(life.model, notice.at):
            return []
        if notice.move in (AlertMove.ACKNOWLEDGED, AlertMove.RESOLVED):
            told, known = self._told(life, made), {**self._rules.channels, **self._first}
            kinds = ROBOTS if notice.move is AlertMove.ACKNOWLEDGED else tuple(ChannelKind)
            return [name for name, rules in known.items() if name in told and rules.kind in kinds]
        names = {**self._first, **{name: self._rules.channels[name] for name in self._rules.escalate_to[: life.level]}}
        return [name for name, rules in names.items() if _takes(rules, life)]

    def _told(self, life: AlertLife, made: Sequence[AlertDelivery]) -> set[str]:
        """Name the channels that were told of this episode, or will be."""
        alive = (DeliveryState.SENT, DeliveryState.WAITING)
        of = [*self._alerts.deliveries(life.id, limit=1000), *(one for one in made if one.alert == life.id)]
        return {one.channel for one in of if one.episode == life.episode and one.state in alive}

    def _held_until(self, notice: Notice) -> datetime | None:
        """Say until when a notice waits: for a mute to end, or quiet hours where it is not critical."""
        now = self._clock.now()
        muted = next((mute.until for mute in self._alerts.mutes() if mute.model == notice.life.model), now)
        quiet = now
        if self._rules.quiet_hours and notice.life.severity is not AlertSeverity.CRITICAL:
            quiet = quiet_until(self._rules.quiet_hours, now)
        until = max(muted, quiet)
        return until if until > now else None

    def _is_played(self, model: ModelName, at: datetime) -> bool:
        """Say whether a notice tells of a past that was played: nobody is told of that."""
        played = self._notes.get(played_note(model)) is not None
        return played and is_past(at, now=self._clock.now(), window=self._window)

    def _send(self) -> list[AlertDelivery]:
        """Send what is due, in order for each alert and channel; a channel that fails is left alone until the next tick."""
        tried: list[AlertDelivery] = []
        unwritten: AlertDelivery | None = None
        blocked: set[tuple[str, str]] = set()
        failing: set[str] = set()
        channels = self._channels()
        try:
            for one in self._alerts.waiting():
                place, now = (one.channel, one.alert), self._clock.now()
                if place in blocked or one.channel in failing or one.next_at > now:
                    blocked.add(place)
                    continue
                if not self._leads():
                    break
                taken = self._alerts.take(one, self._owner, now=now, seconds=OWNED_SECONDS, ended=unwritten)
                unwritten = None
                if taken is None:
                    blocked.add(place)
                    continue
                unwritten = self._sent(taken, channels.get(taken.channel))
                tried.append(unwritten)
                if unwritten.state is DeliveryState.WAITING:
                    blocked.add(place)
                    failing.add(unwritten.channel)
        finally:
            if unwritten is not None:
                self._alerts.end(unwritten)
        return tried

    def _sent(self, delivery: AlertDelivery, channel: AlertChannel | None) -> AlertDelivery:
        """Send one delivery, and say what became of it."""
        now, notice = self._clock.now(), self._alerts.notice(delivery.serial)
        if channel is None:
            return _ended(delivery, DeliveryState.DROPPED, at=now, answer="this channel is not declared any more")
        if why := self._unneeded(delivery, notice):
            return _ended(delivery, DeliveryState.DROPPED, at=now, answer=why)
        if (until := self._held_until(notice)) is not None:
            return msgspec.structs.replace(delivery, next_at=until, held=True, attempts=delivery.attempts - 1)
        try:
            answer = channel.send(self._message(delivery, notice))
        except NotTold as error:
            return self._failed(delivery, redact(str(error)), final=error.final)
        except Exception as error:  # the notifier's door: one message that cannot be written must not hold the others
            return self._failed(delivery, redact(f"{type(error).__name__}: {error}"), final=False)
        return _ended(delivery, DeliveryState.SENT, at=self._clock.now(), answer=redact(answer))

    def _unneeded(self, delivery: AlertDelivery, notice: Notice) -> str:
        """Say why nobody needs a delivery any more: it was held back and is over, or its beginning was never told."""
        if notice.move in (AlertMove.ACKNOWLEDGED, AlertMove.RESOLVED):
            sent = (one for one in self._alerts.deliveries(delivery.alert, limit=1000) if one.state is DeliveryState.SENT)
            begun = any(one.episode == delivery.episode and one.channel == delivery.channel for one in sent)
            return "" if begun else "this channel was not told that it began"
        life = self._alerts.get(delivery.alert)
        over = life.episode != delivery.episode or life.state is not AlertState.FIRING
        return f"it was {life.state.value} before it could be told" if delivery.held and over else ""

    def _message(self, delivery: AlertDelivery, notice: Notice) -> Message:
        base = self._rules.url.rstrip("/")
        url = f"{base}{notice.life.newest.link}" if base else ""
        return Message(id=delivery.id, notice=notice, url=url, project=self._project)

    def _failed(self, delivery: AlertDelivery, answer: str, *, final: bool) -> AlertDelivery:
        now = self._clock.now()
        if final or now - (delivery.first_at or now) >= GIVE_UP:
            return _ended(delivery, DeliveryState.FAILED, at=now, answer=answer)
        return msgspec.structs.replace(delivery, answer=answer, next_at=now + retry_after(delivery.id, delivery.attempts))


def budget_ends(alert: Alert) -> datetime:
    """Say when what an alert tells of a budget is over: hours of CPU count by the month, runs for seven days."""
    at = alert.raised_at
    if "cpu_hours" not in alert.subject:
        return at + timedelta(days=7)
    return (at.replace(day=1, hour=0, minute=0, second=0, microsecond=0) + timedelta(days=32)).replace(day=1)


def aging_of(rules: AlertRules, window: timedelta) -> EscalationRules:
    """Read what time does from a project's rules."""
    return EscalationRules(
        calm=calm_windows(rules, window),
        escalate=seconds_of(rules.escalate_after) if rules.escalate_after else None,
        levels=max(1, len(rules.escalate_to)),
        remind=seconds_of(rules.remind) if rules.remind else None,
    )


def retry_after(id: str, attempts: int) -> timedelta:
    """Give the wait before the next attempt: doubled each time, up to a quarter of an hour, a quarter more or less by the
    delivery's id, so that many do not come back at once."""
    wait = min(LONGEST_RETRY, FIRST_RETRY * 2 ** min(attempts - 1, 20))
    return timedelta(seconds=wait * (0.75 + 0.5 * (crc32(f"{id}/{attempts}".encode()) / 2**32)))


def quiet_until(text: str, now: datetime) -> datetime:
    """Say when the quiet hours end that `now` lies in; `now` where it lies in none."""
    start, end = quiet_hours(text)
    moment = now.time().replace(tzinfo=None)
    inside = start <= moment < end if start <= end else moment >= start or moment < end
    if not inside:
        return now
    ends = now.replace(hour=end.hour, minute=end.minute, second=0, microsecond=0)
    return ends if ends > now else ends + timedelta(days=1)


def _takes(rules: ChannelRules, life: AlertLife) -> bool:
    return life.severity.rank >= rules.severity.rank and (not rules.kinds or life.kind in rules.kinds)


def _ended(delivery: AlertDelivery, state: DeliveryState, *, at: datetime, answer: str) -> AlertDelivery:
    return msgspec.structs.replace(delivery, state=state, ended_at=at, answer=answer)
