"""What a model keeps of an answer beyond its fields."""

from collections.abc import Set as AbstractSet
from typing import Any, NoReturn


class _Nothing(dict[str, Any]):
    """An empty dict that stays empty; a copy of it, pickled or not, is a plain one."""

    __slots__ = ()

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("the values of the API are immutable")

    __setitem__ = __ior__ = setdefault = update = _refuse

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[()]]:
        return dict, ()


# The ``extra`` of nearly every model. One for each would take 64 bytes and, of a job with thousands
# of outputs, a third of the time: the garbage collector looks at all of them while they are made.
NOTHING = _Nothing()


def extras(document: dict[str, Any], known: AbstractSet[str]) -> dict[str, Any]:
    """What stands in a document under keys that we do not know."""
    return {key: value for key, value in document.items() if key not in known}
