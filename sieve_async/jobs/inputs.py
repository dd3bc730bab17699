"""What a push sends: checked arguments, and the JSON body made from them."""

import json
import math
import os
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from sieve_async.config import parse_function_name
from sieve_async.converter import unstructure
from sieve_async.errors import InvalidArgumentError
from sieve_async.models import File, Webhook

_MAX_BODY_BYTES = 16 * 1024 * 1024
_MAX_DEPTH = 100
_MAX_VALUES = 1_000_000  # copying more would block the loop for seconds


@attrs.frozen
class PushArguments:
    """The checked arguments of a push.

    Attributes:
        function: ``owner/name``, or ``owner/name:version``.
        inputs: Plain JSON values, shared with no caller.
        env: The values of environment variables, which nothing may show.
        body: The JSON to send.
    """

    function: str
    inputs: dict[str, Any] = attrs.field(repr=False)
    env: tuple[str, ...] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)


def check_push(function: object, inputs: object, webhooks: object, env: object) -> PushArguments:
    """Check the arguments of a push and make its body.

    Raises:
        InvalidArgumentError: One of them cannot be sent; the message says what can be.
    """
    name = str(parse_function_name(function))
    plain = check_inputs(inputs)
    document: dict[str, Any] = {"function": name, "inputs": plain}
    if hooks := _check_webhooks(webhooks):
        document["webhooks"] = hooks
    variables = _check_env(env)
    if variables:
        document["env"] = variables
    return PushArguments(name, plain, tuple(variables.values()), _encode(document))


def check_inputs(inputs: object) -> dict[str, Any]:
    """A copy of the inputs as plain JSON values.

    Raises:
        InvalidArgumentError: They are no mapping of names to JSON values.
    """
    if inputs is None:
        return {}
    if not isinstance(inputs, Mapping):
        raise InvalidArgumentError(
            f"inputs must be a mapping of names to JSON values, got {_kind(inputs)}"
        )
    plain: dict[str, Any] = _Copier().copy(inputs, "inputs")
    return plain


class _Copier:
    """Copies JSON values, and refuses what JSON cannot say."""

    def __init__(self) -> None:
        self._parents: set[int] = set()
        self._count = 0

    def copy(self, value: object, place: str) -> Any:
        """A plain copy of a value.

        Raises:
            InvalidArgumentError: It is no JSON value, contains itself, or is too deep or too large.
        """
        self._count += 1
        if self._count > _MAX_VALUES:
            raise InvalidArgumentError(f"inputs must hold at most {_MAX_VALUES} values")
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return _plain_text(str.__str__(value), place)
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float):
            if not math.isfinite(value):
                raise InvalidArgumentError(f"{place} must be a finite number, got {value}")
            return float(value)
        return self._copy_container(value, place)

    def _copy_container(self, value: object, place: str) -> Any:
        if not isinstance(value, (Mapping, list, tuple)):
            raise InvalidArgumentError(f"{place} {_no_json(value)}")
        if id(value) in self._parents:
            raise InvalidArgumentError(f"{place} must not contain itself")
        if len(self._parents) >= _MAX_DEPTH:
            raise InvalidArgumentError(f"inputs must be at most {_MAX_DEPTH} levels deep")
        self._parents.add(id(value))
        try:
            if isinstance(value, Mapping):
                return {
                    self._key(key, place): self.copy(each, f"{place}[{_shown(key)}]")
                    for key, each in value.items()
                }
            return [self.copy(each, f"{place}[{number}]") for number, each in enumerate(value)]
        finally:
            self._parents.discard(id(value))

    @staticmethod
    def _key(key: object, place: str) -> str:
        if not isinstance(key, str):
            raise InvalidArgumentError(f"{place} must have strings as keys, got {_kind(key)}")
        return _plain_text(str.__str__(key), f"a key of {place}")


def _plain_text(text: str, place: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        pass
    else:
        return text
    raise InvalidArgumentError(f"{place} must be text that UTF-8 can encode")


def _no_json(value: object) -> str:
    """Why a value cannot be an input, and what can."""
    if isinstance(value, os.PathLike) or hasattr(value, "read"):
        return (
            "must be a JSON value, got a local file: Sieve takes URLs; upload the file and "
            'give {"url": "https://..."}'
        )
    if isinstance(value, File):
        return 'must be a JSON value, got a File: give {"url": file.url}'
    if isinstance(value, (bytes, bytearray, memoryview)):
        return 'must be a JSON value, got bytes: give text, or the URL of a file as {"url": "https://..."}'
    return (
        f"must be a JSON value (null, boolean, number, string, array, object), got {_kind(value)}"
    )


def _check_webhooks(webhooks: object) -> list[dict[str, Any]]:
    accepted = 'webhooks must be a list of {"type": "job.complete", "url": "https://..."}'
    if isinstance(webhooks, (str, bytes, Mapping)) or not isinstance(webhooks, Iterable):
        raise InvalidArgumentError(f"{accepted}, got {_kind(webhooks)}")
    hooks = []
    for number, webhook in enumerate(webhooks):
        if isinstance(webhook, Webhook):
            webhook = unstructure(webhook)  # noqa: PLW2901
        if not isinstance(webhook, Mapping):
            raise InvalidArgumentError(f"{accepted}, got {_kind(webhook)}")
        hook: dict[str, Any] = _Copier().copy(webhook, f"webhooks[{number}]")
        kind, url = hook.get("type"), hook.get("url")
        if not isinstance(kind, str) or not kind:
            raise InvalidArgumentError(f"webhooks[{number}] must have a type such as job.complete")
        if not isinstance(url, str) or not url.lower().startswith(("https://", "http://")):
            raise InvalidArgumentError(f"webhooks[{number}] must have an http or https URL")
        hooks.append(hook)
    return hooks


def _check_env(env: object) -> dict[str, str]:
    """The environment variables; no message shows a value."""
    if env is None:
        return {}
    if not isinstance(env, Mapping):
        raise InvalidArgumentError(f"env must be a mapping of names to strings, got {_kind(env)}")
    variables = {}
    for name, value in env.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise InvalidArgumentError(
                f"env must be a mapping of names to strings, got {_kind(name)}: {_kind(value)}"
            )
        variables[_plain_text(name, "a name in env")] = _plain_text(value, f"env[{name!a}]")
    return variables


def _encode(document: dict[str, Any]) -> bytes:
    try:
        body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    except ValueError:  # an integer of more digits than Python prints
        body = None
    if body is None:
        raise InvalidArgumentError("inputs must not hold integers of thousands of digits")
    if len(body) > _MAX_BODY_BYTES:
        raise InvalidArgumentError(f"inputs must be at most {_MAX_BODY_BYTES} bytes of JSON")
    return body


def _kind(value: object) -> str:
    return "None" if value is None else f"an object of class {type(value).__name__}"


def _shown(key: object) -> str:
    return f"{key!a:.60}" if isinstance(key, str) else "..."
