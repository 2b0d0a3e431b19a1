"""Workers that die, hang, fail or take too much cost one job each; the rest is done."""

import pytest

from etle.batch.pool import End, Limits, WorkerPool
from etle.errors import EtleError, InputError
from tests.batch import pool_work


def test_every_way_a_job_can_end_badly_costs_that_job_only() -> None:
    seen = []
    pool: WorkerPool = WorkerPool(
        pool_work.make, 2, watch=lambda job, done, total, at: seen.append((job, done, total, at))
    )
    jobs = ["a", "raise", "b", "die", "c", "d"]
    ended = {one.job: one for one in pool.run(jobs)}
    assert sorted(ended) == sorted(jobs)
    assert {job: ended[job].end for job in ("raise", "die")} == {"raise": End.CRASHED, "die": End.CRASHED}
    assert ended["raise"].detail.startswith("ValueError: two lines (pool_work.py:")
    assert "SIGKILL" in ended["die"].detail
    assert {ended[job].result[0] for job in "abcd"} == set("abcd")
    assert all(ended[job].peak_bytes > 1 << 20 for job in "abcd")
    assert pool.replaced == 2
    assert ("a", 1, 2, 0.5) in seen


def test_models_are_loaded_once_a_worker() -> None:
    results = [one.result for one in WorkerPool(pool_work.make, 1).run(range(20))]
    assert [job for job, _ in results] == list(range(20))
    assert len({made for _, made in results}) == 1


def test_stalled_and_endless_work_is_ended() -> None:
    limits = Limits(time_s=6.0, stall_s=3.0)
    ended = {one.job: one.end for one in WorkerPool(pool_work.make, 2, limits=limits).run(["hang", "never ends"])}
    assert ended == {"hang": End.STALLED, "never ends": End.TOO_LONG}


def test_memory_is_bounded() -> None:
    [one, other] = WorkerPool(pool_work.make, 1, limits=Limits(memory_mib=512)).run(["eat", "a"])
    assert one.end is End.TOO_LARGE
    assert other.end is End.DONE


def test_workers_that_cannot_start_end_the_batch_with_their_own_words() -> None:
    with pytest.raises(InputError, match=r"here: no such model\. Give one"):
        list(WorkerPool(pool_work.unusable, 2).run(["a", "b"]))
    with pytest.raises(EtleError, match="die before they are ready"):
        list(WorkerPool(pool_work.dies, 1).run(["a"]))


def test_jobs_are_taken_no_faster_than_they_are_worked_on() -> None:
    taken = []

    def jobs():
        for number in range(50):
            taken.append(number)
            yield number

    for ended, _ in enumerate(WorkerPool(pool_work.make, 2).run(jobs()), 1):
        assert len(taken) <= ended + 5  # in whatever order they end


def test_nothing_to_do() -> None:
    assert list(WorkerPool(pool_work.make, 2).run([])) == []
