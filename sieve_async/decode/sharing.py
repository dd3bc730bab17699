"""One object for what is said again and again: most jobs are jobs of few functions.

The function is the larger part of a job. When an answer says of it just what an earlier one said,
the models are not built once more; that saves half of the time, and much memory to those who keep
many jobs. What is compared is the JSON itself, since for Python ``1``, ``1.0`` and ``True`` are
equal.
"""

from typing import Any

from sieve_async.decode.hooks import Hook
from sieve_async.decode.parsing import spell

_MOST = 64
_LARGEST = 32 * 1024  # above that, building takes no longer than spelling


def shared(hook: Hook) -> Hook:
    """The same hook, for models that are immutable and are often the same."""
    known: dict[bytes, Any] = {}

    def check(value: Any, declared: Any) -> Any:
        spelling = spell(value)
        made = known.get(spelling)
        if made is None:
            made = hook(value, declared)
            if len(spelling) <= _LARGEST:
                if len(known) >= _MOST:
                    known.clear()
                known[spelling] = made
        return made

    return check
