"""Downloads: the files of a job, resumed where that is safe, complete or an error that says why."""

from sieve_async.files.download import Renewal, download, download_all, download_each
from sieve_async.files.hosts import without_query
from sieve_async.files.names import distinct_names, name_of_url, safe_name
from sieve_async.files.transfer import DownloadSettings

__all__ = [
    "DownloadSettings",
    "Renewal",
    "distinct_names",
    "download",
    "download_all",
    "download_each",
    "name_of_url",
    "safe_name",
    "without_query",
]
