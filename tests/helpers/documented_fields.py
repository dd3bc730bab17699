"""Kinds of the fields of each model, as documented by the API.

Written from the API documents, not from the models, so that tests notice a missing or wrong field.
"""

from sieve_async import (
    EnvironmentVariable,
    Function,
    FunctionVersion,
    InputOutput,
    Job,
    Restart,
    Webhook,
    WorkerCounts,
)

ID, WORD, TEXT, TIME = "a string", "a word", "a string or null", "a time"
INTEGER, COUNT, BOOLEAN, ANYTHING = "an integer", "an integer (0)", "a boolean", "anything"
FALSE, TEXTS, OBJECTS = "a boolean (false)", "an array of strings", "an array of objects"
MAPPING, MODEL, LOOSE = "an object of objects", "an object or null", "left as it came"
OBJECT, ZERO = "an object of anything", "an integer or null (0)"


def _fields(names: dict[str, str]) -> dict[str, str]:
    """The kind of each field, given the names of each kind."""
    return {name: kind for kind, joined in names.items() for name in joined.split()}


DOCUMENTED: dict[type, dict[str, str]] = {
    Job: _fields(
        {
            ID: "id",
            TEXT: "function_id organization_id error visibility run_id",
            MODEL: "function",
            WORD: "status",
            TIME: "created_at started_at completed_at",
            MAPPING: "inputs",
            OBJECTS: "outputs restarts",
            LOOSE: "children",
        }
    ),
    FunctionVersion: _fields(
        {
            ID: "id",
            WORD: "build_status",
            TIME: "queued_at built_at ready_at",
            TEXT: "compute_type cuda_version",
            TEXTS: "python_packages system_packages function_dependencies",
            BOOLEAN: "gpu",
            INTEGER: "split",
            OBJECTS: "inputs outputs",
            LOOSE: "environment_variables",
            COUNT: "minimum_replicas",
            ZERO: "maximum_replicas",
            MODEL: "current_workers",
            FALSE: "stream_output",
        }
    ),
    Function: _fields(
        {
            TEXT: "name owner_name visibility title code_url description cover_image_url readme "
            "function_type",
            TEXTS: "tags examples",
            MODEL: "latest_version",
            INTEGER: "featured_key",
            OBJECTS: "webhooks",
            BOOLEAN: "restart_on_error",
        }
    ),
    InputOutput: _fields(
        {
            TEXT: "type name description run_id",
            ANYTHING: "data",
            OBJECT: "schema",
            BOOLEAN: "is_optional",
        }
    ),
    Restart: _fields({TIME: "timestamp", TEXT: "reason type run_id"}),
    Webhook: _fields({TEXT: "type url"}),
    WorkerCounts: _fields({INTEGER: "starting setup active idle awaiting_resources"}),
    EnvironmentVariable: _fields({TEXT: "name description default"}),
}
