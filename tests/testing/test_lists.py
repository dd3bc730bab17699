"""Lists of jobs on the fake server, a page at a time."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from helpers.http_helpers import Document, Get, output_data
from sieve_async.testing import FakeSieve


def ids_of(page: Document) -> list[str]:
    """The ids of the jobs of a page."""
    return [job["id"] for job in page["data"]]


async def rows(get: Get, path: str) -> AsyncIterator[Document]:
    """All rows of a list, page by page."""
    offset = 0
    while offset >= 0:
        page = await get(f"{path}&offset={offset}")
        offset = page["next_offset"]
        for job in page["data"]:
            yield job


async def test_rows_are_whole_jobs(sieve: FakeSieve, get: Get) -> None:
    """The newest job comes first, and each is what a lookup shows, outputs included."""
    sieve.add_job("old", outputs=["a"], fields={"new_key": 1})
    sieve.add_job("new", status="error")
    page = await get("/v2/jobs")
    jobs = [await get("/v2/jobs/new"), await get("/v2/jobs/old")]
    assert [job | {"http": 200} for job in page["data"]] == jobs
    assert page.keys() == {"data", "next_offset", "http"}


async def test_pages(sieve: FakeSieve, get: Get) -> None:
    """Each page says where the next one begins, and the last one that there is none."""
    for number in range(5):
        sieve.add_job(str(number))
    pages = [await get(f"/v2/jobs?limit=2&offset={offset}") for offset in (0, 2, 4, 5, 10**30)]
    pages.append(await get("/v2/jobs?limit=5"))
    assert [ids_of(page) for page in pages[:-1]] == [["4", "3"], ["2", "1"], ["0"], [], []]
    assert [page["next_offset"] for page in pages] == [2, 4, -1, -1, -1, -1]


async def test_page_has_500_jobs_at_most(sieve: FakeSieve, get: Get) -> None:
    """500 are the default, and the most that a request can get."""
    for number in range(502):
        sieve.add_job(str(number))
    for query in ("", "?limit=501&status="):
        page = await get(f"/v2/jobs{query}")
        assert ids_of(page) == [str(number) for number in range(501, 1, -1)]
        assert page["next_offset"] == 500


@pytest.mark.parametrize("path", ["/v2/jobs", "/v2/functions/sieve/demo/jobs", "/v2/functions"])
async def test_invalid_numbers(sieve: FakeSieve, get: Get, path: str) -> None:
    """The error names each place and shows the values."""
    sieve.add_job()
    refused = await get(f"{path}?limit=0&offset=x")
    small, word = refused["detail"]
    assert refused["http"] == 422
    assert (small["type"], small["loc"]) == ("greater_than_equal", ["query", "limit"])
    assert (word["type"], word["loc"]) == ("int_parsing", ["query", "offset"])
    assert (small["input"], word["input"]) == ("0", "x")


@pytest.mark.looptime
async def test_unlisted_job_is_found_by_its_id_only(sieve: FakeSieve, get: Get) -> None:
    """A job of another organization can be looked up, and shows in no list."""
    for by in ("time", "polls"):
        sieve.add_job(by, listed=False, queued=1, by=by, function="me/mine")
    looked_up = [await get(f"/v2/jobs/{by}") for by in ("time", "polls")]
    await asyncio.sleep(2)
    looked_up += [await get(f"/v2/jobs/{by}") for by in ("time", "polls")]
    lists = [await get(f"/v2/jobs?status={word}") for word in ("", "queued", "finished")]
    assert [job["status"] for job in looked_up] == ["queued"] * 2 + ["finished"] * 2
    assert [page["data"] for page in lists] == [[], [], []]
    assert (await get("/v2/functions/me/mine/jobs"))["data"] == []
    sieve.remove_job("time")


@pytest.mark.looptime
async def test_list_is_no_poll(sieve: FakeSieve, get: Get) -> None:
    """A job that goes by polls is moved by lookups alone, and lists show where it is."""
    sieve.add_job("j", queued=1, processing=1, by="polls")
    created = (await get("/v2/jobs"))["data"][0]["created_at"]
    await asyncio.sleep(1)
    seen = []
    for _ in range(3):
        for word in ("queued", "processing", "finished"):
            page = await get(f"/v2/jobs?status={word}")
            seen += [job["status"] for job in page["data"]]
        seen.append("poll")
        assert (await get("/v2/jobs/j"))["created_at"] == created
    assert seen == ["queued", "poll", "queued", "poll", "processing", "poll"]
    assert ids_of(await get("/v2/jobs?status=finished")) == ["j"]


@pytest.mark.looptime
async def test_rows_keep_up_with_outputs(sieve: FakeSieve, get: Get) -> None:
    """A row shows all outputs so far, whatever part of them a lookup asked for meanwhile."""
    sieve.add_job("j", processing=0.9, outputs=[1, 2, 3], streams=True, fields={"status": "odd"})
    seen = []
    for _ in range(4):
        [row] = (await get("/v2/jobs?status=odd"))["data"]
        seen.append((output_data(row), output_data(await get("/v2/jobs/j?offset=1"))))
        await asyncio.sleep(0.3)
    assert seen == [([], []), ([1], []), ([1, 2], [2]), ([1, 2, 3], [2, 3])]


@pytest.mark.looptime
async def test_long_lists_are_right(sieve: FakeSieve, get: Get) -> None:
    """Paged through at any time, lists hold just the jobs that lookups show, newest first."""
    dice = random.Random(7)
    alive = [f"j{number}" for number in range(350)]
    for job_id in alive:
        sieve.add_job(
            job_id,
            queued=dice.choice([0, 1, 5]),
            processing=dice.uniform(0, 20),
            status=dice.choice(["finished", "error", "cancelled", None]),
            function=dice.choice(["me/mine", "me/other"]),
        )
    for _ in range(2):
        for job_id in dice.sample(alive, 100):
            sieve.remove_job(job_id)
            alive.remove(job_id)
        found = [await get(f"/v2/jobs/{job_id}") for job_id in reversed(alive)]
        for word in ("queued", "processing", "finished"):
            right = [job for job in found if job["status"] == word]
            query = f"limit=70&status={word}"
            listed = [job async for job in rows(get, f"/v2/jobs?{query}")]
            mine = [job["id"] async for job in rows(get, f"/v2/functions/me/mine/jobs?{query}")]
            assert [job["id"] for job in listed] == [job["id"] for job in right]
            assert {job["status"] for job in listed} <= {word}
            assert mine == [job["id"] for job in right if job["function"]["name"] == "mine"]
        await asyncio.sleep(dice.uniform(1, 8))
