"""The decoder once more, as it is where orjson is not installed."""

import importlib.util
import sys
from types import ModuleType

import pytest

from sieve_async.decode import answers, pages, parsing


def _copies() -> dict[str, ModuleType]:
    """Load second copies that know only each other."""
    copies: dict[str, ModuleType] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "orjson", None)
        for original in (parsing, answers, pages):
            name = original.__name__
            spec = importlib.util.spec_from_file_location(f"{name}_plain", original.__file__)
            assert spec is not None
            assert spec.loader is not None
            copy = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(copy)
            patch.setitem(sys.modules, name, copy)
            copies[name.rpartition(".")[2]] = copy
    return copies


_COPIES = _copies()
parse, peek = _COPIES["parsing"].parse, _COPIES["parsing"].peek
repeats_a_key = _COPIES["parsing"].repeats_a_key
parse_model, parse_state = _COPIES["answers"].parse_model, _COPIES["answers"].parse_state
parse_page = _COPIES["pages"].parse_page
