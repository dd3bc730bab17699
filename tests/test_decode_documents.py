"""The documents of the API: both seeds and both newer shapes, field by field.

The whole table runs a second time without orjson, from ``test_decode_parsing.py``.
"""

import json
from datetime import UTC, datetime
from pathlib import Path

import attrs
import pytest

from sieve_async import (
    BuildStatus,
    EnvironmentVariable,
    Function,
    FunctionVersion,
    InputOutput,
    Job,
    JobStatus,
    Restart,
    Webhook,
    WorkerCounts,
)
from sieve_async.decode import parse_model
from sieve_async.messages import Answer, Request, Response

DOCUMENTS = Path(__file__).parent / "documents"
SEED_TIME = datetime(2023, 11, 7, 5, 31, 56, tzinfo=UTC)
TIME = datetime(2024, 12, 15, 1, 41, 59, 195000, tzinfo=UTC)
TEXT = "<string>"
SEED_PUT = InputOutput(TEXT, TEXT, TEXT, TEXT, {})
JOB_ID = "0b8f6f1e-5b8c-4f55-9d0e-2f6a3f9f7a11"


def decode(name: str, model: type[Answer]) -> Answer:
    """Decode a document of the API."""
    body = (DOCUMENTS / f"{name}.json").read_bytes()
    asked = Request("GET", "/v2", model, expected_id=json.loads(body)["id"])
    return parse_model(asked, Response(200, (), body, str))


SEED_VERSION = FunctionVersion(
    TEXT,
    BuildStatus(TEXT),
    SEED_TIME,
    SEED_TIME,
    SEED_TIME,
    TEXT,
    (TEXT,),
    (TEXT,),
    TEXT,
    gpu=True,
    split=123,
    minimum_replicas=123,
    maximum_replicas=123,
    inputs=(SEED_PUT,),
    outputs=(SEED_PUT,),
    current_workers=WorkerCounts(123, 123, 123, 123, 123),
    environment_variables=(EnvironmentVariable(TEXT, TEXT, TEXT),),
    stream_output=True,
    function_dependencies=(TEXT,),
)
SEED_JOB = Job(
    TEXT,
    JobStatus(TEXT),
    TEXT,
    function=Function(
        TEXT,
        TEXT,
        TEXT,
        TEXT,
        TEXT,
        TEXT,
        (TEXT,),
        TEXT,
        (TEXT,),
        TEXT,
        SEED_VERSION,
        123,
        "function",
        (Webhook("job.start", TEXT),),
    ),
    created_at=SEED_TIME,
    started_at=SEED_TIME,
    completed_at=SEED_TIME,
    outputs=(SEED_PUT,),
    error=TEXT,
    visibility=TEXT,
    run_id=TEXT,
)
SEPARATE_VERSION = attrs.evolve(
    SEED_VERSION,
    queued_at=TIME,
    built_at=TIME,
    ready_at=TIME,
    minimum_replicas=0,
    inputs=(attrs.evolve(SEED_PUT, run_id=TEXT),),
    outputs=(attrs.evolve(SEED_PUT, run_id=TEXT),),
)
NEWER_JOB = Job(
    JOB_ID,
    JobStatus.FINISHED,
    "3ad9c1e",
    "6f0c2a52-8e0b-4d8e-9a8e-0c5d1e6f7a22",
    Function("dubbing", "sieve"),
    TIME,
    datetime(2024, 12, 15, 1, 42, 4, tzinfo=UTC),
    datetime(2024, 12, 15, 1, 44, 4, 500000, tzinfo=UTC),
    inputs={
        "source_file": InputOutput(
            "sieve.File",
            data={
                "url": "https://storage.example.com/in.mp4?X-Goog-Signature=abc",
                "_path": None,
            },
        ),
        "target_languages": InputOutput("list", data=["spanish", "german"]),
        "speed": InputOutput("float", data=1.5),
        "nothing": InputOutput("None", is_optional=True),
    },
    outputs=(
        InputOutput(
            "sieve.File",
            "spanish",
            {"url": "https://storage.example.com/1.mp4", "_path": None},
            None,
            {"type": "object"},
            f"{JOB_ID}-9d2c",
            is_optional=False,
            extra={"length": 12},
        ),
        (
            InputOutput(
                "dict",
                data={
                    "parts": [
                        {
                            "url": "https://storage.example.com/2.mp4",
                            "thumbnail": {"url": "https://storage.example.com/3.png"},
                        },
                        "text",
                    ]
                },
            ),
            InputOutput("str", data="done"),
        ),
        InputOutput(),
    ),
    error=None,
    visibility="private",
    run_id=f"{JOB_ID}-9d2c",
    children={"sieve/transcribe": [{"id": "c1", "status": "finished"}]},
    restarts=(
        Restart(
            datetime(2024, 12, 15, 1, 43, 0, 1, tzinfo=UTC),
            "Worker was preempted",
            "preemption",
            f"{JOB_ID}-1a2b",
        ),
    ),
    extra={"cost": {"dollars": 0.25}},
)
NEWER_VERSION = FunctionVersion(
    "3ad9c1e0-1111-4222-8333-444455556666",
    BuildStatus.DEPLOYING,
    TIME,
    datetime(2024, 12, 15, 1, 50, tzinfo=UTC),
    None,
    "A100-20GB",
    ("torch==2.3.0",),
    gpu=True,
    split=2,
    minimum_replicas=0,
    maximum_replicas=None,
    inputs=(
        InputOutput(
            "str",
            "language",
            "gASVCwAAAAAAAACMB3NwYW5pc2iULg==",
            "Where to",
            is_optional=True,
        ),
    ),
    current_workers=WorkerCounts(1, None, 0, 0, 3, extra={"draining": 4}),
    environment_variables=(EnvironmentVariable("HF_TOKEN", extra={"secret": True}),),
    stream_output=None,
    function_dependencies=("sieve/transcribe",),
    extra={"region": "us-central1"},
)


@pytest.mark.parametrize(("name", "expected"), [("job", SEED_JOB), ("newer_job", NEWER_JOB)])
def test_jobs(name: str, expected: Job) -> None:
    """Every field of the documented and of the newer shape of a job comes out as it is."""
    job = decode(name, Job)

    assert job == expected
    assert type(job.outputs[0]) is InputOutput


@pytest.mark.parametrize(
    ("name", "expected"), [("version", SEPARATE_VERSION), ("newer_version", NEWER_VERSION)]
)
def test_versions(name: str, expected: FunctionVersion) -> None:
    """Every field of the documented and of a real version comes out as it is."""
    assert decode(name, FunctionVersion) == expected


def test_files_of_the_newer_job() -> None:
    """The files of a decoded job are the objects with a URL, in the order of its outputs."""
    files = decode("newer_job", Job).files()

    assert [file["url"][-5:] for file in files] == ["1.mp4", "2.mp4", "3.png"]
