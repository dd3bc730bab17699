"""The parts of watching that are pure: who is next, how fast, and what a sweep has met."""

import itertools

import pytest

from scene import Scene
from sieve_async import (
    JobStatus,
)
from sieve_async.watching.agenda import Agenda
from sieve_async.watching.pace import Pace
from sieve_async.watching.rounds import Round, is_hopeless

QUEUED, PROCESSING = JobStatus.QUEUED, JobStatus.PROCESSING


def taken(agenda: Agenda) -> list[str]:
    """The ids in the order in which an agenda hands them out."""
    ids = []
    while agenda.next_due() is not None:
        ids.append(agenda.take().job_id)
    return ids


def test_agenda_order() -> None:
    """Urgent looks come first, then what is due sooner; new jobs keep the order they came in."""
    scene, agenda = Scene(), Agenda()
    agenda.add(scene.watch("late", 5))
    agenda.add(scene.watch("soon", 1))
    agenda.add_new(scene.watch("new-1", 3))
    agenda.add_new(scene.watch("new-2", 3))
    agenda.add_urgent(scene.watch("urgent", 4))

    assert agenda.next_due() == 4
    assert taken(agenda) == ["urgent", "soon", "new-1", "new-2", "late"]


@pytest.mark.parametrize("is_reordered", [False, True])
def test_agenda_passes_over_the_left(is_reordered: bool) -> None:  # noqa: FBT001
    """Jobs that are watched no more are handed out from no queue, and are not due either."""
    scene, agenda = Scene(), Agenda()
    for add in (agenda.add, agenda.add_new, agenda.add_urgent):
        for number in range(4):
            watch = scene.watch(f"{add.__name__}-{number}", number)
            add(watch)
            if number != 2:
                watch.askers = ()
    if is_reordered:
        agenda.reorder()

    assert agenda.next_due() == 2
    assert taken(agenda) == ["add_urgent-2", "add_new-2", "add-2"]
    assert agenda.next_due() is None


def test_agenda_is_ordered_anew() -> None:
    """Times that were moved while jobs waited count once the agenda is ordered anew."""
    scene, agenda = Scene(), Agenda()
    watches = [scene.watch(f"{number}", 10 + number) for number in range(9)]
    for watch in watches:
        agenda.add(watch)
    for watch in watches:
        watch.due = -watch.due
    agenda.reorder()

    assert taken(agenda) == [watch.job_id for watch in reversed(watches)]


def test_agenda_with_an_only_one() -> None:
    """While one look is the only one, nothing else is handed out until it has come back."""
    scene, agenda = Scene(), Agenda()
    only, other = scene.watch("only", 7), scene.watch("other", 1)
    agenda.add(scene.watch("late", 9))
    agenda.add_urgent(scene.watch("urgent"))

    assert agenda.add_only(only)
    assert not agenda.add_only(other)
    assert agenda.next_due() == 7
    assert agenda.take() is only
    assert agenda.next_due() is None
    agenda.settle(other)
    assert agenda.next_due() is None
    agenda.settle(only)
    assert taken(agenda) == ["urgent", "late"]
    assert agenda.add_only(other)


def test_agenda_when_the_only_one_is_left() -> None:
    """An only look whose job is watched no more holds up nobody, and makes room for another."""
    scene, agenda = Scene(), Agenda()
    only, next_only = scene.watch("only", 7), scene.watch("next", 8)
    agenda.add(scene.watch("other", 1))
    assert agenda.add_only(only)
    agenda.take()
    only.askers = ()

    assert agenda.next_due() == 1
    assert agenda.add_only(next_only)
    assert agenda.next_due() == 8
    assert agenda.take() is next_only


def test_pace_without_a_limit() -> None:
    """Without a limit each turn is now."""
    pace = Pace(None)

    assert [pace.reserve(now) for now in (0.0, 0.0, 5.0)] == [0.0, 0.0, 5.0]
    assert pace.next_at == 0.0


def test_pace_is_even() -> None:
    """Turns that are reserved ahead lie evenly, a little below the rate."""
    pace = Pace(10)

    turns = [pace.reserve(0.0) for _ in range(50)]

    gaps = [later - earlier for earlier, later in itertools.pairwise(turns)]
    assert turns[0] == 0.0
    assert all(0.1 < gap <= 0.103 for gap in gaps)


@pytest.mark.parametrize("per_second", [0.5, 10, 100, 1000])
def test_pace_after_a_lull(per_second: float) -> None:
    """After a lull there is no burst: nobody comes more than a little too early, just once."""
    pace = Pace(per_second)
    pace.reserve(0.0)
    interval = pace.next_at

    turns = [pace.reserve(100.0)]
    turns += [pace.reserve(turns[-1]) for _ in range(5)]

    assert turns[0] == 100.0
    early = interval - (turns[1] - turns[0])
    assert 0 < early <= min(0.015, interval / 2) + 1e-9
    assert turns[5] - turns[0] == pytest.approx(5 * interval - early)


def test_pace_makes_up_for_small_delays() -> None:
    """Turns that are each taken a little late do not slow down the rate."""
    pace = Pace(20)
    now = 0.0
    for _ in range(100):
        now = pace.reserve(now) + 0.01  # the next is asked for once this one has begun, late
        now = max(now, pace.next_at + 0.01)

    assert now <= 100 / 20 * 1.02 + 0.1


def test_round_meets_jobs() -> None:
    """Jobs on a page are met, once each; what has ended there, or is nobody's, is not."""
    scene = Scene()
    watches = {job_id: scene.watch(job_id) for job_id in ("runs", "ended", "missing")}
    sweep = Round(dict(watches), 0.0)

    rows = [("runs", PROCESSING), ("runs", QUEUED), ("ended", JobStatus.FINISHED), ("x", QUEUED)]
    sweep.take(rows, asked_at=1.0, now=2.0)

    assert (sweep.pages, sweep.met) == (1, 1)
    assert [*sweep.unmet] == ["ended", "missing"]
    assert watches["runs"].wait.status is PROCESSING
    assert watches["runs"].wait.changed_at == watches["runs"].due == 2.0
    assert watches["ended"].wait.status is None


def test_round_keeps_the_time_of_the_last_change() -> None:
    """A job that is met again as it was has a valid answer more, and no change."""
    watch = Scene().watch("a")
    for now in (1.0, 50.0):
        Round({"a": watch}, now).take([("a", PROCESSING)], asked_at=now, now=now)

    assert (watch.wait.changed_at, watch.wait.valid_at, watch.wait.polls) == (1.0, 50.0, 2)


def test_round_of_misses() -> None:
    """Complete sweeps that miss a job make it hopeless in the end; one that was met, later."""
    scene = Scene()
    never, met = scene.watch("never"), scene.watch("met")
    Round({"met": met}, 0.0).take([("met", PROCESSING)], asked_at=0.0, now=0.0)

    hopeless: dict[str, int] = {}
    for number in range(1, 10):
        for is_complete in (False, True):
            sweep = Round({"never": never, "met": met}, 0.0, is_complete=is_complete)
            sweep.to_look_at(0.0)
        for watch in (never, met):
            if is_hopeless(watch):
                hopeless.setdefault(watch.job_id, number)

    assert hopeless == {"never": 3, "met": 6}


def test_round_looks_at_those_due() -> None:
    """Of those who were not met, the ones that were looked at just before wait for their time."""
    scene = Scene()
    sweep = Round({"due": scene.watch("due", 5), "later": scene.watch("later", 11)}, 0.0)

    assert [watch.job_id for watch in sweep.to_look_at(5.0)] == ["due"]
    assert sweep.pause(0.5) == 6.0


def test_round_pauses() -> None:
    """The pause is what jobs would pause on average, and never less than the pages are worth."""
    scene = Scene()
    empty, one = Round({}, 0.0), Round({"a": scene.watch("a")}, 0.0)
    one.take([("a", QUEUED)], asked_at=0.0, now=0.0)
    long = Round({}, 0.0, pages=100)

    assert (empty.pause(0.5), one.pause(0.5), one.pause(3.0)) == (0.5, 2.0, 3.0)
    assert long.pause(0.5) == pytest.approx(5.0)


@pytest.mark.parametrize(("pages", "unmet", "is_decided"), [(0, 2, 1), (0, 3, 0), (5, 5, 1)])
def test_round_that_is_decided(pages: int, unmet: int, is_decided: int) -> None:
    """Pages are read on while looking at the rest one by one would cost more."""
    scene = Scene()
    watches = {f"{number}": scene.watch(f"{number}") for number in range(unmet)}

    assert Round(watches, 0.0, pages=pages).is_decided == bool(is_decided)
