"""Pushes: what a body of POST /v2/push must be, and the record of one that was accepted."""

import json
import re
from collections.abc import Mapping
from typing import Any

import attrs

from sieve_async.testing.documents import Answer, encode, refusal

WEBHOOK_TYPES = (
    "job.start",
    "job.complete",
    "job.complete.no_output",
    "job.new_output",
    "job_start",
    "job_complete",
)
INVALID_FUNCTION = "Invalid function specified."
_FUNCTION = re.compile(r"([^/:\s]+/[^/:\s]+)(?::([^/:\s]+))?")


@attrs.frozen(kw_only=True)
class Webhook:
    """An event that a push asks for, and where it is to be sent."""

    type: str
    url: str


@attrs.frozen(kw_only=True)
class Push:
    """A push that was accepted."""

    job_id: str
    function: str  # "owner/name"
    version_id: str
    inputs: Any
    webhooks: tuple[Webhook, ...] = ()
    env: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    at: float  # on the server's clock


@attrs.frozen(kw_only=True)
class PushBody:
    """A valid body: a function and the slug of a version, or the id of a version."""

    function: str | None
    slug: str
    inputs: Any
    webhooks: tuple[Webhook, ...]
    env: Mapping[str, Any]


def parse_push(body: bytes) -> PushBody | Answer:
    """Read a body, or refuse it: with 422 for its form, with 400 for what names the function."""
    try:
        push = json.loads(body)
    except ValueError:
        return _refused([_problem("json_invalid", [0], "JSON decode error")])
    if not isinstance(push, dict):
        return _refused([_problem("model_attributes_type", [], "Input should be an object")])
    if problems := [*_problems(push)]:
        return _refused(problems)
    function, version_id = push.get("function"), push.get("id")
    if (function is None) == (version_id is None):
        return refusal(400, INVALID_FUNCTION)
    slug = version_id or ""
    if function is not None:
        matches = _FUNCTION.fullmatch(function)
        if not matches:
            return refusal(400, INVALID_FUNCTION)
        function, slug = matches[1], matches[2] or "latest"
    webhooks = tuple(Webhook(type=w["type"], url=w["url"]) for w in push.get("webhooks") or ())
    return PushBody(
        function=function,
        slug=slug,
        inputs=push["inputs"],
        webhooks=webhooks,
        env=push.get("env") or {},
    )


def _problems(push: dict[str, Any]) -> list[dict[str, object]]:
    """Find the members that are missing or of a wrong type."""
    kinds: dict[str, tuple[tuple[type, ...], str]] = {
        "function": ((str,), "string"),
        "id": ((str,), "string"),
        "inputs": ((dict, list), "dictionary"),
        "webhooks": ((list,), "list"),
        "env": ((dict,), "dictionary"),
    }
    found = []
    for name, (types, kind) in kinds.items():
        value = push.get(name)
        if value is None and name != "inputs":
            continue
        if name not in push:
            found.append(_problem("missing", [name], "Field required"))
        elif not isinstance(value, types):
            found.append(_problem(f"{kind}_type", [name], f"Input should be a valid {kind}"))
    for number, webhook in enumerate(push.get("webhooks") or () if not found else ()):
        of_type = webhook.get("type") if isinstance(webhook, dict) else None
        if of_type not in WEBHOOK_TYPES:
            message = f"Input should be one of {', '.join(WEBHOOK_TYPES)}"
            found.append(_problem("enum", ["webhooks", number, "type"], message))
        elif not isinstance(webhook.get("url"), str):
            message = "Input should be a valid string"
            found.append(_problem("string_type", ["webhooks", number, "url"], message))
    return found


def _problem(kind: str, place: list[str | int], message: str) -> dict[str, object]:
    return {"type": kind, "loc": ["body", *place], "msg": message}


def _refused(problems: list[dict[str, object]]) -> Answer:
    return Answer(422, encode({"detail": problems}))
