"""What users import: all of it from ``sieve_async``, and nothing more than is documented."""

import ast
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest

import sieve_async
from sieve_async import config, errors, models

ROOT = Path(__file__).parents[2]
VALUES = {
    "BuildStatus",
    "EnvironmentVariable",
    "File",
    "Function",
    "FunctionVersion",
    "InputOutput",
    "Job",
    "JobOutcome",
    "JobWatch",
    "OutcomeList",
    "JobStatus",
    "Output",
    "OutputStream",
    "Restart",
    "Webhook",
    "WorkerCounts",
}
SETTINGS = {"Limits", "PollPolicy", "RetryPolicy", "Stats", "Timeout"}


def test_list_of_names() -> None:
    """The list of public names is sorted and names nothing twice."""
    assert sieve_async.__all__ == sorted(set(sieve_async.__all__))


def test_names_are_importable() -> None:
    """Every public name can be imported, and whatever can be imported is public."""
    members = {
        name
        for name in dir(sieve_async)
        if not isinstance(getattr(sieve_async, name), ModuleType) and not name.startswith("_")
    } - {"TYPE_CHECKING"}

    assert members | {"__version__"} == set(sieve_async.__all__)
    assert not hasattr(sieve_async, "SieveClients")


def test_star_import() -> None:
    """A star import gives just the public names."""
    names: dict[str, object] = {}

    exec("from sieve_async import *", names)  # noqa: S102 - the way to do it in a function

    assert names.keys() - {"__builtins__"} == set(sieve_async.__all__)


def test_what_is_public() -> None:
    """The values, the settings and every error are public."""
    kinds = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.SieveError)
    }

    assert {"SieveClient"} | VALUES | SETTINGS | kinds <= set(sieve_async.__all__)


@pytest.mark.parametrize("module", [errors, models], ids=["errors", "models"])
def test_public_classes(module: ModuleType) -> None:
    """Every class that these modules define is importable from the package."""
    for name, value in vars(module).items():
        if isinstance(value, type) and value.__module__ == module.__name__ and name[0] != "_":
            assert getattr(sieve_async, name) is value


def test_docstrings() -> None:
    """Everything public says what it is for."""
    for name in sieve_async.__all__:
        value = getattr(sieve_async, name)
        assert not isinstance(value, type) or value.__doc__, name


def test_version() -> None:
    """The version is that of the distribution."""
    assert sieve_async.__version__ == config.__version__ == version("sieve-async")


def test_typed() -> None:
    """The package tells type checkers that it has types."""
    assert Path(sieve_async.__file__).with_name("py.typed").is_file()


def loaded_by(statement: str) -> set[str]:
    """The modules that a new interpreter has loaded after a statement."""
    program = f"""if True:
        import sys
        sys.path[:] = eval(sys.argv[1])
        {statement}
        print(sorted(sys.modules))
    """

    run = subprocess.run(  # noqa: S603 - this very interpreter
        [sys.executable, "-c", program, repr(sys.path)], capture_output=True, text=True, check=True
    )
    return set(ast.literal_eval(run.stdout))


def test_import_is_cheap() -> None:
    """Importing the package loads nothing that takes time: that comes when it is first used."""
    loaded = loaded_by("import sieve_async")

    assert "sieve_async" in loaded
    assert loaded.isdisjoint({"aiohttp", "asyncio", "attrs", "sieve_async.client"})


def test_import_of_client_is_cheap() -> None:
    """Importing the client loads no optional extra, no test server and no CLI."""
    loaded = loaded_by("from sieve_async import SieveClient")

    assert "sieve_async.client" in loaded
    assert loaded.isdisjoint(
        {
            "pytest",
            "rich",
            "sieve_async.cli",
            "sieve_async.testing",
        }
    )
