"""What other services answer about a job of theirs, with values as they are in real life.

About as large as our own job, but for the batch of messages: that one is never larger.
"""

from benchmarks.bodies import ID, Document

_TEXT = "The quick brown fox jumps over the lazy dog, and the dog does not mind it at all."


def batch() -> Document:
    """A batch of OpenAI's."""
    return {
        "id": ID,
        "object": "batch",
        "endpoint": "/v1/chat/completions",
        "model": "gpt-5-2025-08-07",
        "errors": {"object": "list", "data": [_batch_error(line) for line in range(8)]},
        "input_file_id": "file-AbCdEf0123456789",
        "completion_window": "24h",
        "status": "completed",
        "output_file_id": "file-GhIjKl0123456789",
        "error_file_id": "file-MnOpQr0123456789",
        "created_at": 1734226919,
        "in_progress_at": 1734226927,
        "expires_at": 1734313319,
        "finalizing_at": 1734227301,
        "completed_at": 1734227311,
        "failed_at": None,
        "expired_at": None,
        "cancelling_at": None,
        "cancelled_at": None,
        "request_counts": {"total": 100, "completed": 92, "failed": 8},
        "usage": {
            "input_tokens": 20133,
            "input_tokens_details": {"cached_tokens": 1024},
            "output_tokens": 9120,
            "output_tokens_details": {"reasoning_tokens": 2048},
            "total_tokens": 29253,
        },
        "metadata": {f"key-{number:02}": _TEXT for number in range(8)},
    }


def _batch_error(line: int) -> Document:
    return {
        "code": "invalid_request",
        "line": line,
        "message": "The model does not support images of this size in one request.",
        "param": f"body.messages.{line}.content",
    }


def message_batch() -> Document:
    """A batch of messages of Anthropic's."""
    return {
        "id": ID,
        "type": "message_batch",
        "processing_status": "ended",
        "request_counts": {
            "processing": 0,
            "succeeded": 92,
            "errored": 5,
            "canceled": 2,
            "expired": 1,
        },
        "ended_at": "2024-12-15T01:48:31.000417+00:00",
        "created_at": "2024-12-15T01:41:59.195000+00:00",
        "expires_at": "2024-12-16T01:41:59.195000+00:00",
        "archived_at": None,
        "cancel_initiated_at": None,
        "results_url": f"https://api.example.com/v1/messages/batches/{ID}/results",
    }


def prediction() -> Document:
    """A prediction of Replicate's."""
    steps = "\n".join(f"{step:>3}%|{'#' * (step // 5)}| {step}/100" for step in range(0, 101, 4))
    return {
        "id": ID,
        "model": "example/dubbing",
        "version": "5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15ccaa",
        "status": "succeeded",
        "input": {"video": _file(0), "prompt": _TEXT, "seed": 1729, "guidance": 7.5},
        "output": [_file(number) for number in range(12)],
        "logs": f"Using seed: 1729\n{steps}\nDone.",
        "error": None,
        "metrics": {"predict_time": 384.211, "total_time": 391.804},
        "created_at": "2024-12-15T01:41:59.195Z",
        "started_at": "2024-12-15T01:42:07.402Z",
        "completed_at": "2024-12-15T01:48:31.000Z",
        "urls": {
            "get": f"https://api.example.com/v1/predictions/{ID}",
            "cancel": f"https://api.example.com/v1/predictions/{ID}/cancel",
            "stream": f"https://stream.example.com/v1/files/{ID}",
        },
    }


def request_status() -> Document:
    """The status of a request of fal's, with its logs."""
    return {
        "status": "COMPLETED",
        "request_id": ID,
        "response_url": f"https://queue.example.com/example/dubbing/requests/{ID}",
        "status_url": f"https://queue.example.com/example/dubbing/requests/{ID}/status",
        "cancel_url": f"https://queue.example.com/example/dubbing/requests/{ID}/cancel",
        "logs": [
            {
                "message": f"{_TEXT} Step {step} of 14.",
                "level": "INFO",
                "source": "USER",
                "timestamp": f"2024-12-15T01:42:{step:02}.402310",
            }
            for step in range(14)
        ],
        "metrics": {"inference_time": 384.211},
    }


def media_job() -> Document:
    """A job of AWS Elemental MediaConvert."""
    role = "arn:aws:iam::123456789012:role/media"
    queue = "arn:aws:mediaconvert:eu-west-1:123456789012:queues/Default"
    return {
        "job": {
            "arn": f"arn:aws:mediaconvert:eu-west-1:123456789012:jobs/{ID}",
            "id": ID,
            "createdAt": 1734226919,
            "queue": queue,
            "role": role,
            "status": "COMPLETE",
            "currentPhase": "UPLOADING",
            "jobPercentComplete": 100,
            "priority": 0,
            "retryCount": 0,
            "billingTagsSource": "JOB",
            "statusUpdateInterval": "SECONDS_60",
            "accelerationStatus": "NOT_APPLICABLE",
            "userMetadata": {"customer": "example", "text": _TEXT},
            "timing": {
                "submitTime": 1734226919,
                "startTime": 1734226927,
                "finishTime": 1734227311,
            },
            "settings": {
                "timecodeConfig": {"source": "ZEROBASED"},
                "inputs": [_media_input()],
                "outputGroups": [_media_group(name) for name in ("high", "low")],
            },
            "outputGroupDetails": [
                {
                    "outputDetails": [
                        {
                            "durationInMs": 384211,
                            "videoDetails": {"widthInPx": 1920, "heightInPx": 1080},
                        }
                    ]
                }
                for _ in range(2)
            ],
            "messages": {"info": [_TEXT], "warning": []},
        }
    }


def _media_input() -> Document:
    return {
        "fileInput": "s3://example-bucket/talk.mp4",
        "timecodeSource": "ZEROBASED",
        "videoSelector": {"colorSpace": "FOLLOW", "rotate": "DEGREE_0"},
        "audioSelectors": {
            "Audio Selector 1": {"defaultSelection": "DEFAULT", "offset": 0, "programSelection": 1}
        },
        "filterEnable": "AUTO",
        "filterStrength": 0,
        "psiControl": "USE_PSI",
    }


def _media_group(name: str) -> Document:
    return {
        "name": name,
        "outputGroupSettings": {
            "type": "FILE_GROUP_SETTINGS",
            "fileGroupSettings": {"destination": f"s3://example-bucket/{name}/"},
        },
        "outputs": [
            {
                "nameModifier": f"-{name}",
                "containerSettings": {
                    "container": "MP4",
                    "mp4Settings": {"moovPlacement": "NORMAL"},
                },
                "videoDescription": {
                    "width": 1920,
                    "height": 1080,
                    "sharpness": 50,
                    "codecSettings": {
                        "codec": "H_264",
                        "h264Settings": {
                            "rateControlMode": "QVBR",
                            "maxBitrate": 5000000,
                            "gopSize": 2.0,
                            "numberBFramesBetweenReferenceFrames": 2,
                        },
                    },
                },
                "audioDescriptions": [
                    {
                        "audioSourceName": "Audio Selector 1",
                        "codecSettings": {
                            "codec": "AAC",
                            "aacSettings": {"bitrate": 96000, "sampleRate": 48000},
                        },
                    }
                ],
            }
        ],
    }


def _file(number: int) -> str:
    return f"https://delivery.example.com/pbxt/8f2d7b6a5c4d3e2f/output-{number:02}.mp4"
