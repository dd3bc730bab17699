"""What the API documents of each field of each model.

Written from the documents and not from the models, so that a field that the models forget or bend
is missed by the tests.
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
FALSE, TEXTS, OBJECTS, MAPPING, MODEL, LOOSE, OBJECT, ZERO = (
    "a boolean (false)",
    "an array of strings",
    "an array of objects",
    "an object of objects",
    "an object or null",
    "left as it came",
    "an object of anything",
    "an integer or null (0)",
)

DOCUMENTED: dict[type, dict[str, str]] = {
    Job: {
        "id": ID,
        "function_id": TEXT,
        "organization_id": TEXT,
        "function": MODEL,
        "status": WORD,
        "created_at": TIME,
        "started_at": TIME,
        "completed_at": TIME,
        "inputs": MAPPING,
        "outputs": OBJECTS,
        "error": TEXT,
        "visibility": TEXT,
        "run_id": TEXT,
        "children": LOOSE,
        "restarts": OBJECTS,
    },
    FunctionVersion: {
        "id": ID,
        "build_status": WORD,
        "queued_at": TIME,
        "built_at": TIME,
        "ready_at": TIME,
        "compute_type": TEXT,
        "python_packages": TEXTS,
        "system_packages": TEXTS,
        "gpu": BOOLEAN,
        "split": INTEGER,
        "inputs": OBJECTS,
        "outputs": OBJECTS,
        "environment_variables": LOOSE,
        "function_dependencies": TEXTS,
        "cuda_version": TEXT,
        "minimum_replicas": COUNT,
        "maximum_replicas": ZERO,
        "current_workers": MODEL,
        "stream_output": FALSE,
    },
    Function: {
        "name": TEXT,
        "owner_name": TEXT,
        "visibility": TEXT,
        "title": TEXT,
        "code_url": TEXT,
        "description": TEXT,
        "tags": TEXTS,
        "cover_image_url": TEXT,
        "examples": TEXTS,
        "readme": TEXT,
        "latest_version": MODEL,
        "featured_key": INTEGER,
        "function_type": TEXT,
        "webhooks": OBJECTS,
        "restart_on_error": BOOLEAN,
    },
    InputOutput: {
        "type": TEXT,
        "name": TEXT,
        "data": ANYTHING,
        "description": TEXT,
        "schema": OBJECT,
        "run_id": TEXT,
        "is_optional": BOOLEAN,
    },
    Restart: {"timestamp": TIME, "reason": TEXT, "type": TEXT, "run_id": TEXT},
    Webhook: {"type": TEXT, "url": TEXT},
    WorkerCounts: {
        "starting": INTEGER,
        "setup": INTEGER,
        "active": INTEGER,
        "idle": INTEGER,
        "awaiting_resources": INTEGER,
    },
    EnvironmentVariable: {"name": TEXT, "description": TEXT, "default": TEXT},
}
