"""What the fake server answers and refuses, seen through a plain HTTP client."""

import asyncio
from datetime import timedelta

import aiohttp
import pytest

from helpers.http_helpers import VERSION_KEYS, Document, Get, duration_between
from sieve_async.testing import FakeSieve


@pytest.mark.looptime
async def test_build_goes_through_all_states(sieve: FakeSieve, get: Get) -> None:
    """Each state lasts as long as scripted; built comes before pushed, and ready last."""
    spans: Document = {"queued": 1, "building": 1, "pushing": 1, "deploying": 1}
    sieve.add_version("me", "mine", "v", **spans, gpu=True, new_key=None)
    seen = []
    for _ in range(5):
        seen.append(await get("/v2/functions/me/mine/versions/latest"))
        await asyncio.sleep(1)
    states = ["queued", "building", "pushing", "deploying", "ready"]
    assert [version["build_status"] for version in seen] == states
    assert [version["built_at"] is None for version in seen] == [True, True, False, False, False]
    assert [version["ready_at"] is None for version in seen] == [True] * 4 + [False]
    assert duration_between(seen[4], "queued_at", "built_at") == timedelta(seconds=2)
    assert duration_between(seen[4], "queued_at", "ready_at") == timedelta(seconds=4)
    assert " ".join(seen[4]) == f"{VERSION_KEYS} new_key http"
    assert seen[4]["gpu"] is True


async def test_failed_build_was_not_built(sieve: FakeSieve, get: Get) -> None:
    """A build that failed while building has no later times; one failed in deploying has."""
    sieve.add_version("me", "mine", "early", building=1, status="error", by="polls")
    sieve.add_version("me", "mine", "late", deploying=1, status="error", by="polls")
    path = "/v2/functions/me/mine/versions"
    seen = [await get(f"{path}/{name}") for name in ("early", "early", "late", "late")]
    states = ["building", "error", "deploying", "error"]
    assert [version["build_status"] for version in seen] == states
    assert [version["built_at"] is None for version in seen] == [True, True, False, False]
    assert [version["ready_at"] for version in seen] == [None] * 4


async def test_version_is_found_by_id_prefix_or_latest(sieve: FakeSieve, get: Get) -> None:
    """A prefix must be of one version only; a full id wins over being a prefix; latest moves."""
    path = "/v2/functions/me/mine/versions"
    for version_id in ("abc1", "abc2", "abc"):
        sieve.add_version("me", "mine", version_id)
    sieve.add_version("me", "other", "abd")
    found = [await get(f"{path}/{slug}") for slug in ("latest", "abc", "abc1", "ab", "abd", "x")]
    unknown = await get("/v2/functions/me/none/versions/latest")
    newer = sieve.add_version("me", "mine")
    moved = await get(f"{path}/latest")
    assert [version.get("id") for version in found] == ["abc", "abc", "abc1", None, None, None]
    assert [version["http"] for version in found] == [200, 200, 200, 404, 404, 404]
    assert unknown == {"detail": "Function version not found.", "http": 404}
    assert moved["id"] == newer
    assert (await get(f"{path}/{newer[:8]}"))["id"] == newer


async def test_key_is_checked(sieve: FakeSieve) -> None:
    """Everything that is there needs the right key, and a revoked key is refused."""
    job_id = sieve.add_job()
    right = {"X-API-Key": sieve.api_key}

    async def status(path: str, headers: dict[str, str]) -> int:
        async with aiohttp.request("GET", sieve.url + path, headers=headers) as response:
            return response.status

    refused = [await status(f"/v2/jobs/{job_id}", key) for key in ({}, {"X-API-Key": "wrong"})]
    outside = [await status(path, {}) for path in ("/", "/v2/nowhere", "/v2/jobs")]
    accepted = await status(f"/v2/jobs/{job_id}", right)
    sieve.revoke_key()
    revoked = await status(f"/v2/jobs/{job_id}", right)
    assert (refused, outside) == ([401, 401], [404, 404, 401])
    assert (accepted, revoked) == (200, 401)
    assert [entry.key_accepted for entry in sieve.requests] == [False] * 5 + [True, False]


async def test_unknown_things_are_not_found(sieve: FakeSieve, get: Get) -> None:
    """A removed job is not found, an unknown path has another text."""
    sieve.add_job("j")
    sieve.remove_job("j")
    assert await get("/v2/jobs/j") == {"detail": "Job not found.", "http": 404}
    assert await get("/v2/jobs/a/b") == {"detail": "Not Found", "http": 404}
    assert await get("/v2/jobs/") == {"detail": "Not Found", "http": 404}
    sieve.add_job("j")
    assert (await get("/v2/jobs/j"))["http"] == 200


async def test_wrong_method_is_refused(sieve: FakeSieve, session: aiohttp.ClientSession) -> None:
    """The answer to a wrong method names the allowed ones, and the log counts its bytes."""
    job_id = sieve.add_job()
    async with session.post(f"/v2/jobs/{job_id}", json={}) as posted:
        refused = await posted.json()
    async with session.head(f"/v2/jobs/{job_id}") as headed:
        nothing = await headed.read()
    assert (posted.status, headed.status, nothing) == (405, 405, b"")
    assert refused == {"detail": "Method Not Allowed"}
    assert posted.headers["Allow"] == "GET, DELETE"
    assert [entry.body_bytes for entry in sieve.requests] == [31, 0]
