"""The SQLite file of a durable watch: job ids, outcomes, acknowledgements.

Synchronous, and used in one thread. One process at a time has the file open for writing.
"""

import json
import logging
import os
import shutil
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import urlsplit

import attrs

from sieve_async.display import shorten
from sieve_async.errors import InvalidArgumentError, StateBusyError, StateFileError
from sieve_async.outcomes import JobOutcome

_LOG = logging.getLogger("sieve_async")
_APPLICATION_ID = 0x53495645  # "SIVE", shown by file(1)
_FORMAT = 1
_SCHEMA = """
CREATE TABLE sieve_settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE sieve_jobs (number INTEGER PRIMARY KEY, job_id TEXT NOT NULL UNIQUE);
CREATE TABLE sieve_outcomes (
  number INTEGER PRIMARY KEY, job_id TEXT NOT NULL UNIQUE, ended_at REAL NOT NULL,
  acknowledged_at REAL, document TEXT NOT NULL
);
CREATE INDEX sieve_unacknowledged ON sieve_outcomes (number) WHERE acknowledged_at IS NULL;
"""
_ACKNOWLEDGE = (
    "UPDATE sieve_outcomes SET acknowledged_at = ? WHERE job_id = ? AND acknowledged_at IS NULL"
)
_ENCODE = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
# Errors of the file or the disk; any other error of a caller's statement is the caller's own.
_FILE_ERRORS = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_READONLY,
    }
)
# How long a commit waits for another writer, such as the caller's own connection, in seconds.
_BUSY_TIMEOUT = 30.0
_PORTION = 500
_MARGIN = 20  # levels of nesting that reading may need beyond what writing needs
# What SQLite needs beside the database before it writes anything: two pages and 32 KiB of index.
_MIN_FREE = 64 * 1024


class StateCounts(NamedTuple):
    """How many jobs of a state file are pending, ended but not acknowledged, and acknowledged."""

    pending: int
    ended: int
    acknowledged: int


# A stored outcome, and its number in the order of ending.
StoredOutcome: TypeAlias = tuple[int, JobOutcome]


class StateFile:
    """The file itself; used in one thread only."""

    def __init__(self, path: Path, *, read_only: bool) -> None:
        self.path = path
        self._is_read_only = read_only
        self._lock: sqlite3.Connection | None = None
        self._db: sqlite3.Connection | None = None

    def open(self) -> None:
        """Open or create the file, and check that it is whole and ours.

        Raises:
            StateBusyError: Another process has it open.
            StateFileError: It cannot be used.
        """
        with _typed_errors(self.path):
            if self._is_read_only or self.path.exists():
                _check_regular(self.path)  # first, or a lock would be left beside a directory
            if not self._is_read_only:
                self._acquire_lock()
                _create_private(self.path)
            uri = f"{self.path.as_uri()}?mode={'ro' if self._is_read_only else 'rw'}"
            self._db = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=_BUSY_TIMEOUT)
            self._check_format(self._db)

    def close(self) -> None:
        """Close the file, then release its lock."""
        for connection in (self._db, self._lock):  # the lock last
            if connection is not None:
                connection.close()
        self._db = self._lock = None

    def _acquire_lock(self) -> None:
        """Lock a file beside it: SQLite's locks work on all systems, and end with the process."""
        path = self.path.with_name(f"{self.path.name}.lock")
        _create_private(path)
        _check_regular(path)
        self._lock = sqlite3.connect(path, isolation_level=None, timeout=0)
        try:
            self._lock.execute("PRAGMA journal_mode = OFF")  # nothing is written to it
            self._lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if _code(error) != sqlite3.SQLITE_BUSY:
                raise
        else:
            return
        raise StateBusyError(str(self.path), "another process has it open")

    def _check_format(self, db: sqlite3.Connection) -> None:
        application_id, version, tables = (
            db.execute(question).fetchone()[0]
            for question in (
                "PRAGMA application_id",
                "PRAGMA user_version",
                "SELECT count(*) FROM sqlite_master",
            )
        )
        _check_size(db, self.path)
        if (application_id, version, tables) == (0, 0, 0) and not self._is_read_only:
            self._create(db)
            return
        if application_id != _APPLICATION_ID:
            raise StateFileError(str(self.path), "it is not a state file")
        if version > _FORMAT:
            reason = f"a later version of this package wrote it (format {version}, not {_FORMAT})"
            raise StateFileError(str(self.path), reason)
        (problem,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if problem != "ok":
            raise StateFileError(str(self.path), f"it is damaged: {' '.join(problem.split())}")
        db.execute("PRAGMA synchronous = FULL")

    def _create(self, db: sqlite3.Connection) -> None:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        with self._transaction():
            for statement in _SCHEMA.split(";"):
                db.execute(statement)
            db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {_FORMAT}")

    def add(self, job_ids: list[str]) -> int:
        """Add ids, and return how many were new."""
        with self._transaction() as db:
            before = db.total_changes
            db.executemany(
                "INSERT OR IGNORE INTO sieve_jobs (job_id) VALUES (?)",
                ((job_id,) for job_id in job_ids),
            )
            return db.total_changes - before

    def begin(self, base_url: str) -> tuple[list[str], int]:
        """The pending ids, and the number of the last stored outcome.

        Records the server of the jobs, or checks that it is the same one as before.
        """
        base_url = _normalize_url(base_url)
        with self._transaction() as db:
            db.execute("INSERT OR IGNORE INTO sieve_settings VALUES ('base_url', ?)", (base_url,))
            question = "SELECT value FROM sieve_settings WHERE name = 'base_url'"
            (known,) = db.execute(question).fetchone()
            if known != base_url:
                reason = f"its jobs belong to another server: {known}, not {base_url}"
                raise StateFileError(str(self.path), reason)
            (last,) = db.execute("SELECT coalesce(max(number), 0) FROM sieve_outcomes").fetchone()
        return self.pending(), last

    def pending(self) -> list[str]:
        """The ids without an outcome, in the order of adding."""
        with self._reading() as db:
            rows = db.execute(
                "SELECT job_id FROM sieve_jobs"
                " WHERE job_id NOT IN (SELECT job_id FROM sieve_outcomes) ORDER BY number"
            )
            return [job_id for (job_id,) in rows]

    def counts(self) -> StateCounts:
        """Count the jobs."""
        with self._reading() as db:
            row = db.execute(
                "SELECT (SELECT count(*) FROM sieve_jobs), (SELECT count(*) FROM sieve_outcomes),"
                " (SELECT count(*) FROM sieve_outcomes WHERE acknowledged_at IS NULL)"
            )
            jobs, outcomes, unacknowledged = row.fetchone()
        return StateCounts(jobs - outcomes, unacknowledged, outcomes - unacknowledged)

    def outcomes(self, after: int) -> list[StoredOutcome]:
        """The next outcomes after that number, acknowledged or not."""
        return self._select_outcomes("number > ?", (after,))

    def unacknowledged(self, after: int, last: int) -> list[StoredOutcome]:
        """The next outcomes with ``after < number <= last`` that were not acknowledged."""
        where = "number > ? AND number <= ? AND acknowledged_at IS NULL"
        return self._select_outcomes(where, (after, last))

    def commit(self, outcomes: list[JobOutcome], acknowledged: list[str]) -> None:
        """Store outcomes and acknowledgements in one transaction; repeating it is harmless.

        An outcome that cannot be written as JSON is not stored, so its job stays pending.
        """
        now = time.time()
        rows = [
            (item.job_id, now, document)
            for item in outcomes
            if (document := _encode(item)) is not None
        ]
        with self._transaction() as db:
            db.executemany(
                "INSERT OR IGNORE INTO sieve_outcomes (job_id, ended_at, document)"
                " VALUES (?, ?, ?)",
                rows,
            )
            db.executemany(_ACKNOWLEDGE, [(now, job_id) for job_id in acknowledged])

    def acknowledge(self, job_id: str, statements: list[tuple[str, Any]]) -> None:
        """Run a caller's statements and acknowledge one outcome, in one transaction.

        Raises:
            InvalidArgumentError: It was acknowledged before, or a statement ends the transaction.
            sqlite3.Error: A statement is wrong.
        """
        try:
            with self._transaction() as db:
                db.set_authorizer(_deny_transactions)
                try:
                    for sql, parameters in statements:
                        _execute(db, sql, parameters)
                finally:
                    db.set_authorizer(None)
                if not db.execute(_ACKNOWLEDGE, (time.time(), job_id)).rowcount:
                    reason = f"the outcome of job {job_id} was acknowledged before"
                    raise InvalidArgumentError(reason)
        except _StatementError as wrapper:
            raise wrapper.error from None

    def _select_outcomes(self, where: str, values: tuple[int, ...]) -> list[StoredOutcome]:
        with self._reading() as db:
            rows = db.execute(
                "SELECT number, ended_at, document FROM sieve_outcomes"  # noqa: S608 - no input
                f" WHERE {where} ORDER BY number LIMIT {_PORTION}",
                values,
            ).fetchall()
        now = time.time()
        return [
            (number, self._read_outcome(document, age=max(0.0, now - ended_at)))
            for number, ended_at, document in rows
        ]

    def _read_outcome(self, document: str, *, age: float) -> JobOutcome:
        try:
            return attrs.evolve(JobOutcome.from_dict(json.loads(document)), age=age)
        except (ValueError, RecursionError) as error:
            reason = f"it is damaged: an outcome cannot be read: {error}"
            raise StateFileError(str(self.path), reason) from error

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        if self._db is None:
            raise StateFileError(str(self.path), "it is closed")
        with _typed_errors(self.path):
            yield self._db

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._reading() as db:
            if self._is_read_only:
                raise StateFileError(str(self.path), "it is open for reading only")
            try:
                db.execute("BEGIN IMMEDIATE")
                yield db
                db.execute("COMMIT")
            finally:
                # On a full disk SQLite has rolled back by itself, and an error of a second
                # rollback would hide the cause.
                if db.in_transaction:
                    with suppress(sqlite3.Error):
                        db.execute("ROLLBACK")


def _deny_transactions(action: int, *_: object) -> int:
    """Keep statements from ending the transaction: a part of them would be written then."""
    return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_TRANSACTION else sqlite3.SQLITE_OK


class _StatementError(Exception):
    """Brings the error of a caller's statement out of the transaction as it is."""

    def __init__(self, error: sqlite3.Error) -> None:
        super().__init__(error)
        self.error = error


def _execute(db: sqlite3.Connection, sql: str, parameters: Any) -> None:
    try:
        db.execute(sql, parameters)
    except sqlite3.Error as error:
        if _code(error) in _FILE_ERRORS:
            raise
        if _code(error) != sqlite3.SQLITE_AUTH:
            raise _StatementError(error) from None
        reason = f"sql must not begin or end a transaction, got {sql!r}"
    else:
        return
    raise InvalidArgumentError(reason)


def _encode(outcome: JobOutcome) -> str | None:
    """The JSON of an outcome; None for one that is nested deeper than the standard library goes."""
    document: Any = outcome.to_dict()
    for _ in range(_MARGIN):
        document = [document]
    try:
        return _ENCODE(document)[_MARGIN:-_MARGIN]
    except RecursionError:
        _LOG.warning("job %s: outcome not stored: nested too deeply", outcome.job_id)
        return None


@contextmanager
def _typed_errors(path: Path) -> Iterator[None]:
    """Raise errors of SQLite and of the system as ours."""
    try:
        yield
    except sqlite3.Error as error:
        raise StateFileError(str(path), shorten(_reason_of(error, path))) from error
    except UnicodeDecodeError as error:  # even a message of SQLite may be cut within a character
        raise StateFileError(str(path), f"it is damaged: {error.reason}") from error
    except OSError as error:
        raise StateFileError(str(path), error.strerror or str(error)) from error


def _reason_of(error: sqlite3.Error, path: Path) -> str:
    """What SQLite says; where it cannot make a file beside the database, it does not say why."""
    if _code(error) == sqlite3.SQLITE_IOERR and shutil.disk_usage(path.parent).free < _MIN_FREE:
        return f"the disk is full: {error}"
    return str(error)


def _code(error: sqlite3.Error) -> int:
    """The primary result code; 0 for an error that SQLite did not report."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _create_private(path: Path) -> None:
    """Create a file for its owner only. SQLite gives its own files beside it the same mode.

    A file that exists is not opened: closing it would end the locks that this process has on it.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _normalize_url(base_url: str) -> str:
    """The base URL with its host in lower case and without a default port."""
    parts = urlsplit(base_url)
    default = {"http": 80, "https": 443}[parts.scheme]
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    port = "" if parts.port in {None, default} else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}{parts.path}"


def _check_regular(path: Path) -> None:
    """Refuse a pipe, whose opening would block, a device or a directory."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise StateFileError(str(path), "it is not a regular file")


def _check_size(db: sqlite3.Connection, path: Path) -> None:
    """Refuse a file that was cut within its first or last page: SQLite reads zeros there."""
    size = path.stat().st_size
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:  # it has the pages that a killed process left cut
        return
    (page_size,) = db.execute("PRAGMA page_size").fetchone()
    if size % page_size:
        raise StateFileError(str(path), f"it is damaged: {size} bytes are not whole pages")
