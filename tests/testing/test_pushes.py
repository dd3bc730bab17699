"""Jobs that a program pushes to the fake server, and cancels."""

import asyncio
import io
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import aiohttp
import pytest

from helpers.http_helpers import Document, Get, host_and_port, output_data, wait_until_in_flight
from sieve_async.testing import FakeSieve

Send: TypeAlias = Callable[..., Awaitable[Document]]
PUSH_KEYS = {
    *("id", "run_id", "stream_output", "status", "organization_id", "model_id", "workflow_id"),
}


@pytest.fixture
def send(session: aiohttp.ClientSession) -> Send:
    """Send a JSON body, or none, and get the answer's document with its status as ``http``."""

    async def call(method: str, path: str, body: object = None, **headers: str) -> Document:
        async with session.request(method, path, json=body, headers=headers) as response:
            document: Document = await response.json()
            return document | {"http": response.status}

    return call


DEFAULT: Document = {"function": "me/mine"}


def push_of(function: str = "me/mine", inputs: Any = None, **members: object) -> Document:
    """Make the body of a push."""
    return {"function": function, "inputs": inputs or {}, **members}


# Pushing


@pytest.mark.looptime
async def test_pushed_job_goes_on_by_its_script(sieve: FakeSieve, get: Get, send: Send) -> None:
    """A push answers with the documented members; its job continues as its function is scripted."""
    sieve.script_function("me/mine", queued=2, processing=7, outputs=["done"])

    pushed = await send("POST", "/v2/push", push_of(inputs={"text": "hi", "data": {"data": 1}}))
    seen = []
    for pause in (2, 7, 0):
        seen.append(await get(f"/v2/jobs/{pushed['id']}"))
        await asyncio.sleep(pause)

    assert pushed.keys() == PUSH_KEYS | {"http"}
    assert (pushed["http"], pushed["status"], pushed["run_id"]) == (
        200,
        "queued",
        seen[0]["run_id"],
    )
    assert [job["status"] for job in seen] == ["queued", "processing", "finished"]
    assert output_data(seen[2]) == ["done"]
    assert {name: each["data"] for name, each in seen[2]["inputs"].items()} == {
        "text": "hi",
        "data": {"data": 1},
    }
    assert seen[2]["function_id"] == pushed["model_id"][:7]


async def test_outputs_can_be_made_from_the_inputs(sieve: FakeSieve, get: Get, send: Send) -> None:
    """A callable gets what was pushed; when it raises, the job fails with its traceback."""
    sieve.script_function("me/mine", outputs=lambda inputs: [inputs["text"].upper()])

    ids = [
        (await send("POST", "/v2/push", push_of(inputs=inputs)))["id"]
        for inputs in ({"text": "hi"}, {"other": 1})
    ]
    good, bad = [await get(f"/v2/jobs/{job_id}") for job_id in ids]

    assert (good["status"], output_data(good), good["error"]) == ("finished", ["HI"], "")
    assert (bad["status"], bad["outputs"]) == ("error", [])
    assert "KeyError: 'text'" in bad["error"]


async def test_pushes_are_recorded(sieve: FakeSieve, send: Send) -> None:
    """Every accepted push is there with all that was sent; the environment is never printed."""
    sieve.script_function("me/mine")
    body = push_of(
        "me/mine:latest",
        {"a": [1]},
        env={"TOKEN": "canary-env"},
        webhooks=[{"type": "job.start", "url": "https://x.test/hook"}],
    )

    pushed = await send("POST", "/v2/push", body)
    await send("POST", "/v2/push", push_of("me/unknown"))

    [push] = sieve.pushes
    assert (push.job_id, push.function, push.version_id) == (
        pushed["id"],
        "me/mine",
        pushed["model_id"],
    )
    assert (push.inputs, push.env) == ({"a": [1]}, {"TOKEN": "canary-env"})
    assert [(hook.type, hook.url) for hook in push.webhooks] == [
        ("job.start", "https://x.test/hook")
    ]
    assert "canary-env" not in repr(push)


async def test_push_chooses_a_version(sieve: FakeSieve, get: Get, send: Send) -> None:
    """By name and slug, by the id of a version, or by the beginning of one."""
    for version_id in ("aaaa-1", "bbbb-2"):
        sieve.add_version("me", "mine", version_id)

    slugs = ("me/mine", "me/mine:latest", "me/mine:aaaa-1", "me/mine:aaa")
    by_name = [(await send("POST", "/v2/push", push_of(slug)))["model_id"] for slug in slugs]
    by_id = [
        (await send("POST", "/v2/push", {"id": version_id, "inputs": {}}))["model_id"]
        for version_id in ("aaaa-1", "bbb")
    ]
    lists = [
        len((await get(f"/v2/functions/me/mine/versions/{slug}/jobs"))["data"])
        for slug in ("aaaa-1", "latest", "b")
    ]

    assert by_name == ["bbbb-2", "bbbb-2", "aaaa-1", "aaaa-1"]
    assert by_id == ["aaaa-1", "bbbb-2"]
    assert lists == [3, 3, 3]


async def test_any_function_can_be_scripted(sieve: FakeSieve, get: Get, send: Send) -> None:
    """``"*"`` stands for all functions without a script of their own."""
    sieve.script_function("*", outputs=["any"])
    sieve.script_function("me/mine", outputs=["mine"])
    sieve.add_job(function="me/known")

    seen = []
    for function in ("me/mine", "me/known", "you/new"):
        pushed = await send("POST", "/v2/push", push_of(function))
        seen += output_data(await get(f"/v2/jobs/{pushed['id']}"))

    assert seen == ["mine", "any", "any"]
    assert (await get("/v2/functions/you/new"))["owner_name"] == "you"


async def test_known_function_is_pushed_to_without_a_script(
    sieve: FakeSieve, get: Get, send: Send
) -> None:
    """A function of a job or a version accepts pushes; another one is not found."""
    sieve.add_job(function="me/mine")

    pushed = await send("POST", "/v2/push", push_of())
    unknown = [
        await send("POST", "/v2/push", body)
        for body in (push_of("me/other"), push_of("me/mine:zzz"), {"id": "zzz", "inputs": {}})
    ]

    assert (await get(f"/v2/jobs/{pushed['id']}"))["status"] == "finished"
    assert unknown == [{"detail": "Function not found.", "http": 404}] * 3
    assert len(sieve.pushes) == 1


async def test_inputs_may_be_an_array(sieve: FakeSieve, get: Get, send: Send) -> None:
    """Inputs by position are named by their numbers."""
    sieve.script_function("me/mine")

    pushed = await send("POST", "/v2/push", push_of(inputs=["a", "b"]))
    job = await get(f"/v2/jobs/{pushed['id']}")

    assert {name: each["data"] for name, each in job["inputs"].items()} == {"0": "a", "1": "b"}


@pytest.mark.parametrize(
    "function", ["mine", "me/", "/mine", "me/mine:", "a/b/c", "me/mine:a:b", "me/m ine", ""]
)
async def test_malformed_function_is_refused(sieve: FakeSieve, send: Send, function: str) -> None:
    """What is not OWNER/NAME[:VERSION] is an invalid function, for any script."""
    sieve.script_function("*")

    refused = await send("POST", "/v2/push", push_of(function))

    assert refused == {"detail": "Invalid function specified.", "http": 400}


@pytest.mark.parametrize("body", [{"inputs": {}}, push_of(id="aaaa")])
async def test_function_or_id_but_not_both(sieve: FakeSieve, send: Send, body: Document) -> None:
    """Exactly one of them says what to run."""
    sieve.add_version("me", "mine", "aaaa")

    refused = await send("POST", "/v2/push", body)

    assert refused == {"detail": "Invalid function specified.", "http": 400}
    assert sieve.pushes == []


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ([], []),
        ({"function": "me/mine"}, ["inputs"]),
        (push_of() | {"inputs": None}, ["inputs"]),
        (push_of() | {"inputs": "text"}, ["inputs"]),
        (push_of() | {"function": 7}, ["function"]),
        (push_of(id=7), ["id"]),
        (push_of(env=[]), ["env"]),
        (push_of(webhooks={}), ["webhooks"]),
        (push_of(webhooks=[7]), ["webhooks", 0, "type"]),
        (push_of(webhooks=[{"type": "job.end", "url": "u"}]), ["webhooks", 0, "type"]),
        (push_of(webhooks=[{"type": "job.start"}]), ["webhooks", 0, "url"]),
    ],
)
async def test_invalid_body_is_refused(
    sieve: FakeSieve, send: Send, body: object, place: list[str | int]
) -> None:
    """The error names the place, and nothing is started."""
    sieve.script_function("me/mine")

    refused = await send("POST", "/v2/push", body)

    [problem] = refused["detail"]
    assert (refused["http"], problem["loc"]) == (422, ["body", *place])
    assert problem.keys() == {"type", "loc", "msg"}
    assert sieve.pushes == []


async def test_body_must_be_json(sieve: FakeSieve, session: aiohttp.ClientSession) -> None:
    """So is a body that is no JSON."""
    async with session.post("/v2/push", data=b"{") as response:
        [problem] = (await response.json())["detail"]

    assert (response.status, problem["type"]) == (422, "json_invalid")
    assert sieve.pushes == []


async def test_push_needs_the_key(sieve: FakeSieve, send: Send) -> None:
    """A push without the key starts nothing."""
    sieve.script_function("me/mine")

    refused = await send("POST", "/v2/push", push_of(), **{"X-API-Key": "wrong"})

    assert refused == {"detail": "Unauthorized - valid API Key required.", "http": 401}
    assert sieve.pushes == []


async def test_large_push(sieve: FakeSieve, session: aiohttp.ClientSession) -> None:
    """A body of some megabytes is read as a whole."""
    sieve.script_function("me/mine")
    body = io.BytesIO(json.dumps(push_of(inputs={"text": "x" * 5_000_000})).encode())

    async with session.post("/v2/push", data=body) as response:
        assert response.status == 200

    assert len(sieve.pushes[0].inputs["text"]) == 5_000_000


async def test_push_that_is_cut(sieve: FakeSieve, caplog: pytest.LogCaptureFixture) -> None:
    """A push whose body does not arrive as a whole starts nothing, and is no request yet."""
    sieve.script_function("me/mine")
    head = f"POST /v2/push HTTP/1.1\r\nHost: x\r\nX-API-Key: {sieve.api_key}\r\n"
    body = json.dumps(push_of()).encode()
    _, writer = await asyncio.open_connection(*host_and_port(sieve))

    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:-1])
    await wait_until_in_flight(sieve)
    writer.close()
    await writer.wait_closed()
    while sieve.in_flight:  # noqa: ASYNC110 - the server has no event for this
        await asyncio.sleep(0)

    assert (sieve.pushes, len(sieve.requests)) == ([], 0)
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ({"function": "mine"}, "function must be 'owner/name'"),
        ({"status": "done"}, "status must be one of"),
        ({"queued": -1}, "queued must be zero or more"),
        ({"outputs": [object()]}, "an output cannot be written as JSON"),
        ({"by": "manual", "outputs": [1]}, "outputs is not for by="),
    ],
)
def test_unplayable_script_is_refused(script: Document, complaint: str) -> None:
    """A mistake in a script is reported when it is set, and not by the first push."""
    with pytest.raises(ValueError, match=complaint):
        FakeSieve().script_function(**(DEFAULT | script))


# Faults that are special to requests with an effect


@pytest.mark.parametrize(
    ("fault", "is_accepted"),
    [
        ({"drop": "before"}, False),
        ({"drop": "after"}, True),
        ({"drop": "headers"}, True),
        ({"drop": "body"}, True),
    ],
)
async def test_dropped_push(
    sieve: FakeSieve, send: Send, fault: Document, *, is_accepted: bool
) -> None:
    """The client never knows, and the server may have started a job or not."""
    sieve.script_function("me/mine")
    sieve.fault(path="/v2/push", **fault)

    with pytest.raises(aiohttp.ClientError):
        await send("POST", "/v2/push", push_of())

    assert len(sieve.pushes) == is_accepted


@pytest.mark.parametrize("takes_effect", [False, True])
async def test_failed_push_may_take_effect(
    sieve: FakeSieve, send: Send, *, takes_effect: bool
) -> None:
    """A gateway's error may hide an accepted push."""
    sieve.script_function("me/mine")
    sieve.fault(path="/v2/push", status=504, takes_effect=takes_effect)

    refused = await send("POST", "/v2/push", push_of())

    assert refused["http"] == 504
    assert len(sieve.pushes) == takes_effect


@pytest.mark.looptime
@pytest.mark.parametrize("fault", [{"takes_effect": True}, {"drop": "after"}])
async def test_effect_comes_before_the_delay(sieve: FakeSieve, send: Send, fault: Document) -> None:
    """A client that gives up waiting does not take an effect back."""
    sieve.script_function("me/mine")
    sieve.fault(path="/v2/push", delay=60, **fault)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(30):
            await send("POST", "/v2/push", push_of())

    assert len(sieve.pushes) == 1
    assert sieve.pushes[0].at == 0


async def test_faults_by_method(sieve: FakeSieve, send: Send) -> None:
    """A fault may spare the lookups of the job whose cancel it hits."""
    sieve.add_job("j", processing=60)
    sieve.fault(method="DELETE", job="j", status=500)

    seen = [(await send(method, "/v2/jobs/j"))["http"] for method in ("GET", "DELETE")]

    assert seen == [200, 500]


async def test_no_credits(sieve: FakeSieve, send: Send) -> None:
    """A push that cannot be paid has the documented text."""
    sieve.script_function("me/mine")
    sieve.fault(path="/v2/push", status=402)

    refused = await send("POST", "/v2/push", push_of())

    assert refused["detail"].startswith("No remaining credits and no payment method entered.")


# Canceling


@pytest.mark.looptime
@pytest.mark.parametrize(("at", "started"), [(1, False), (5, True)])
async def test_cancel(sieve: FakeSieve, get: Get, send: Send, at: float, *, started: bool) -> None:
    """A job that is queued or processing is cancelled now, and stays so."""
    sieve.add_job("j", queued=2, processing=8, outputs=[1, 2, 3, 4], streams=True, restarts=1)
    await asyncio.sleep(at)

    answer = await send("DELETE", "/v2/jobs/j")
    seen = [await get("/v2/jobs/j")]
    await asyncio.sleep(100)
    seen.append(await get("/v2/jobs/j"))
    lists = [await get(f"/v2/jobs?status={word}") for word in ("cancelled", "finished")]

    assert answer == {"message": "Job cancelled.", "http": 200}
    assert seen[0] == seen[1]
    assert (seen[0]["status"], seen[0]["error"], output_data(seen[0])) == (
        "cancelled",
        "",
        [1] if started else [],
    )
    assert (seen[0]["started_at"] is not None) is started
    assert seen[0]["restarts"] is None
    assert [len(page["data"]) for page in lists] == [1, 0]


async def test_cancel_by_polls(sieve: FakeSieve, get: Get, send: Send) -> None:
    """A job that goes by polls is cancelled where it is; a cancel is no poll."""
    sieve.add_job("j", queued=1, processing=5, by="polls")
    seen = [await get("/v2/jobs/j")]

    await send("DELETE", "/v2/jobs/j")
    seen += [await get("/v2/jobs/j") for _ in range(8)]

    assert [job["status"] for job in seen] == ["queued"] + ["cancelled"] * 8
    assert seen[-1]["started_at"] is None


async def test_cancel_ends_awaits(sieve: FakeSieve, get: Get, send: Send) -> None:
    """A held request is answered when the job is cancelled."""
    sieve.add_job("j", processing=600)
    waiting = asyncio.ensure_future(get("/v2/jobs/j/await"))
    while not sieve.in_flight:  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0)

    await send("DELETE", "/v2/jobs/j")

    assert (await waiting)["status"] == "cancelled"


@pytest.mark.parametrize("status", ["finished", "error", "cancelled"])
async def test_terminal_job_cannot_be_cancelled(
    sieve: FakeSieve, get: Get, send: Send, status: Any
) -> None:
    """The error is the documented one, and the job stays as it was."""
    sieve.add_job("j", status=status)
    before = await get("/v2/jobs/j")

    refused = [await send("DELETE", "/v2/jobs/j"), await send("DELETE", "/v2/jobs/none")]

    assert refused == [
        {"detail": "Job is not processing.", "http": 400},
        {"detail": "Job not found.", "http": 404},
    ]
    assert await get("/v2/jobs/j") == before
    assert sieve.requests_after_terminal("j") == 1  # the lookup, not the cancel


async def test_lost_cancel_takes_effect(sieve: FakeSieve, get: Get, send: Send) -> None:
    """After a cancel whose answer was lost, the job is cancelled."""
    sieve.add_job("j", processing=600)

    with sieve.fault(method="DELETE", drop="after"), pytest.raises(aiohttp.ClientError):
        await send("DELETE", "/v2/jobs/j")

    assert (await get("/v2/jobs/j"))["status"] == "cancelled"
