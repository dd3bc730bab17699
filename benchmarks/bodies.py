"""The answers to lookups: every documented field, with values as in real life.

`bodies.json` holds a job and a version of Sieve, and what other services answer about a job of
theirs. These have some 3 KB, as a full job of Sieve has; only the batch of messages is never that
large.
"""

import json
from pathlib import Path
from typing import Any

Document = dict[str, Any]

# Stands for the id in a prepared body.
ID = "{id}"

_SAMPLES: dict[str, Document] = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))
_FULL, _FILE = _SAMPLES["job"], _SAMPLES["job"]["outputs"][0]
# What the API sends of the function since 2024.
_COMPACT: Document = {"function": {"name": "dubbing", "owner_name": "sieve"}}
_PROCESSING = _FULL | _COMPACT | {"status": "processing", "completed_at": None, "outputs": []}


def job_with(outputs: int) -> Document:
    """A finished job with so many outputs."""
    url = "https://storage.example.com/jobs/5f0c93a1/part-{:04}.mp4?expires=1734230519"
    many = [
        _FILE | {"data": {"url": url.format(number)}, "run_id": _FULL["run_id"]}
        for number in range(outputs)
    ]
    return _FULL | {"outputs": many}


def encode(document: Document) -> bytes:
    """The body as a server writes it."""
    return json.dumps(document, separators=(",", ":")).encode()


BODIES = {
    "queued": _SAMPLES["queued"],
    "processing": _PROCESSING,
    "full": _FULL,
    "compact": _FULL | _COMPACT,
    # The id stands in the function, too: no two functions are the same.
    "differs": _FULL | {"function": _FULL["function"] | {"latest_version": _SAMPLES["version"]}},
    "outputs200": job_with(200),
    "outputs5000": job_with(5000),
    "page": {"data": [_PROCESSING] * 500, "next_offset": 500},
    "ready": _SAMPLES["version"],
    "batch": _SAMPLES["batch"],
    "messages": _SAMPLES["messages"],
    "prediction": _SAMPLES["prediction"],
    "request": _SAMPLES["request"],
    "media": {"job": _SAMPLES["media"]},
}
"""By kind: the first word of the ids."""
