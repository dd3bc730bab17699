"""The answers that are looked up: every documented field, with values as they are in real life."""

import json
from typing import Any

Document = dict[str, Any]

# Stands for the id in a body that is prepared; the server puts there what it was asked for.
ID = "{id}"

_FUNCTION_ID = "9c1d2f0a-6b57-4a34-8b1f-2f6f0f5f9d11"
_RUN_ID = "a7b0c1de-52f4-4a0c-9c6e-1d7c7e1b6f03"
_TIMES = (
    "2024-12-15T01:41:59.195000",
    "2024-12-15T01:42:07.402310",
    "2024-12-15T01:48:31.000417",
)


def queued_job() -> Document:
    """A job that has not begun: much of it is null, and its function only has a name."""
    return {
        "id": ID,
        "function_id": _FUNCTION_ID[:7],
        "organization_id": _RUN_ID,
        "function": {"name": "dubbing", "owner_name": "sieve"},
        "status": "queued",
        "created_at": _TIMES[0],
        "started_at": None,
        "completed_at": None,
        "inputs": {
            "source_file": _value("sieve.File", "source_file", _file("talk.mp4"), "What to dub."),
        },
        "outputs": None,
        "error": None,
        "visibility": "private",
        "run_id": None,
        "children": None,
        "restarts": None,
    }


def compact_job() -> Document:
    """A finished job as the API sends it: of its function only the name and the owner."""
    return {**job("finished"), "function": {"name": "dubbing", "owner_name": "sieve"}}


def job_of_its_own_function() -> Document:
    """A job that has finished, of a function that no other job has: its id stands there, too."""
    return {**job("finished"), "function": _function() | {"latest_version": version()}}


def job_with(outputs: int) -> Document:
    """A job that has finished, with so many outputs."""
    return {
        **job("finished"),
        "outputs": [
            _value(
                "sieve.File",
                None,
                _file(f"part-{number:04}.mp4"),
                "One scene, in its new language, lips and all.",
            )
            | {"run_id": _RUN_ID, "is_optional": False}
            for number in range(outputs)
        ],
    }


def job(status: str) -> Document:
    """A job of the dubbing function, with the outputs that it has so far."""
    has_ended = status == "finished"
    return {
        "id": ID,
        "function_id": _FUNCTION_ID,
        "function": _function(),
        "status": status,
        "created_at": _TIMES[0],
        "started_at": _TIMES[1],
        "completed_at": _TIMES[2] if has_ended else None,
        "inputs": {
            "source_file": _value("sieve.File", "source_file", _file("talk.mp4"), "What to dub."),
            "target_language": _value("str", "target_language", "spanish", "The language to use."),
        },
        "outputs": [
            _value("sieve.File", None, _file("dubbed.mp4"), "The file in its new language."),
            _value("str", None, "Buenos días y bienvenidos a todos.", "What is said in it."),
        ],
        "error": "",
        "visibility": "private",
        "run_id": _RUN_ID,
        "children": {},
    }


def version(version_id: str = ID) -> Document:
    """A version that is ready."""
    return {
        "id": version_id,
        "build_status": "ready",
        "queued_at": _TIMES[0],
        "built_at": _TIMES[1],
        "ready_at": _TIMES[2],
        "compute_type": "split",
        "python_packages": ["torch==2.1.0", "transformers==4.36.2"],
        "system_packages": ["ffmpeg", "libsndfile1"],
        "cuda_version": "11.8",
        "gpu": True,
        "split": 2,
        "minimum_replicas": 0,
        "maximum_replicas": 16,
        "inputs": [
            _value("sieve.File", "source_file", "", "An audio or video file to dub."),
            _value("str", "target_language", "spanish", "The language to translate into."),
        ],
        "outputs": [_value("sieve.File", "output", "", "The file in the language asked for.")],
        "current_workers": {
            "starting": 1,
            "setup": 0,
            "active": 7,
            "idle": 2,
            "awaiting_resources": 0,
        },
        "environment_variables": [
            {"name": "VOICE_API_KEY", "description": "For a cloned voice.", "default": ""}
        ],
        "stream_output": True,
        "function_dependencies": ["sieve/transcribe", "sieve/translate"],
    }


def encode(document: Document) -> bytes:
    """The body as a server writes it."""
    return json.dumps(document, separators=(",", ":")).encode()


def _function() -> Document:
    return {
        "name": "dubbing",
        "owner_name": "sieve",
        "visibility": "public",
        "title": "Dubbing",
        "code_url": "https://github.com/example/examples/tree/main/dubbing",
        "description": "Translate and dub the speech of a file into another language.",
        "tags": ["Audio", "Video", "Featured"],
        "cover_image_url": "https://storage.example.com/covers/dubbing.png",
        "examples": ["https://storage.example.com/examples/dubbing/1.json"],
        "readme": "# Dubbing\n\nTranslates the speech of a file, keeps the voices of those who "
        "speak, and moves the lips with the words.\n\n## Prices\n\nBy the minute of the input.\n",
        "latest_version": version("0b6a3f52-9a8e-4f0e-8f5b-6f2d8c1a7e44"),
        "featured_key": 3,
        "function_type": "function",
        "webhooks": [{"type": "job.complete", "url": "https://example.com/hooks/sieve"}],
    }


def _value(kind: str, name: str | None, data: object, description: str) -> Document:
    return {
        "type": kind,
        "name": name,
        "data": data,
        "description": description,
        "schema": {"type": "string"},
    }


def _file(name: str) -> Document:
    return {"url": f"https://storage.example.com/jobs/5f0c93a1/{name}?expires=1734230519"}
