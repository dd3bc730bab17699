"""Small documents that contain every model."""

from typing import Any, TypeAlias

Document: TypeAlias = dict[str, Any]

VERSION: Document = {
    "id": "v",
    "build_status": "ready",
    "queued_at": "2024-03-05T01:41:59.195000",
    "current_workers": {"idle": 1},
    "environment_variables": [{"name": "A"}],
}
DOCUMENT: Document = {
    "id": "j",
    "status": "queued",
    "created_at": "2024-03-05T01:41:59Z",
    "function": {"latest_version": VERSION, "webhooks": [{"type": "job.start"}]},
    "inputs": {"the file": {"data": 1}},
    "outputs": [{"type": "a"}, [{"type": "b"}, {"type": "c"}]],
    "restarts": [{"reason": "gone"}],
}
