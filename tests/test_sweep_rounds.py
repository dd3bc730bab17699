"""One sweep without a server: who is met by its pages, and who was there at all."""

from scene import Scene
from sieve_async import JobStatus
from sieve_async.watching.rounds import Round

RUNNING = JobStatus.PROCESSING


def test_who_left_is_not_met() -> None:
    """A page says nothing of a job that nobody asks for any more, nor of who came in its place."""
    scene = Scene()
    swept = {job_id: scene.watch(job_id) for job_id in ("stays", "left", "replaced")}
    sweep = Round(swept, 0.0)
    old = swept.pop("left"), swept["replaced"]
    swept["replaced"] = scene.watch("replaced")

    sweep.take([(job_id, RUNNING) for job_id in ("left", "stays", "replaced")], 0.0, 1.0)

    assert sweep.met == 1
    assert swept["stays"].wait.status is RUNNING
    assert [watch.wait.status for watch in old] == [None, None]
    assert swept["replaced"].wait.status is None
    assert sweep.to_look_at(1.0) == []


def test_who_was_not_met_is_looked_at() -> None:
    """Who is on no page is looked at, unless that was done only just before."""
    scene = Scene()
    swept = {job_id: scene.watch(job_id) for job_id in ("on", "off", "just seen")}
    swept["just seen"].due = 5.0
    sweep = Round(swept, 0.0)

    sweep.take([("on", RUNNING), ("off", JobStatus.FINISHED)], 0.0, 1.0)

    assert sweep.to_look_at(1.0) == [swept["off"]]
    assert [watch.misses for watch in swept.values()] == [-3, 0, 0]
    sweep.is_complete = True
    assert sweep.to_look_at(5.0) == [swept["off"], swept["just seen"]]
    assert [watch.misses for watch in swept.values()] == [-3, 1, 1]
