"""Safe local names for files whose names come from outside."""

import sys
import unicodedata
from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

# Most file systems allow 255 bytes; a number and the ending of a part file must fit too.
MAX_NAME_BYTES = 180
_MAX_SUFFIX_BYTES = 20
_FALLBACK = "file"
_FORBIDDEN = frozenset('<>:"|?*')
_DEVICES = frozenset(
    ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"]
    + [f"{port}{number}" for port in ("COM", "LPT") for number in "0123456789¹²³"]
)


def safe_name(raw: str) -> str:
    """One plain file name: no directories, nothing hidden, no control characters, no devices.

    The result is never empty and at most ``MAX_NAME_BYTES`` long in UTF-8, its suffix kept.
    """
    last = raw.replace("\\", "/").rstrip("/").rpartition("/")[2]
    # Category C: controls, marks that reverse the direction of text, surrogates, unassigned.
    kept = "".join(
        character
        for character in unicodedata.normalize("NFC", last)
        if not unicodedata.category(character).startswith("C")
    )
    encoding = sys.getfilesystemencoding()  # ASCII, say; what it has not becomes a question mark
    known = kept.encode(encoding, "replace").decode(encoding)
    name = "".join("_" if character in _FORBIDDEN else character for character in known)
    name = _shorten(" ".join(name.split()).lstrip(".- ").rstrip(". "))
    if name.partition(".")[0].rstrip().upper() in _DEVICES:
        name = f"_{name}"
    return name or _FALLBACK


def name_of_url(url: str) -> str:
    """The file name that a URL's path ends with, made safe."""
    try:
        path = urlsplit(url).path
    except ValueError:
        path = ""
    return safe_name(unquote(path, errors="replace"))


def distinct_names(names: Iterable[str]) -> list[str]:
    """Number the names that some file system takes for the same: ``a.mp4``, ``A-2.mp4``."""
    numbers: dict[str, int] = {}  # of each name that is taken, the last that was tried
    distinct: list[str] = []
    for name in names:
        stem, suffix = _split(name)
        candidate, first = name, _folded(name)
        number = numbers.get(first, 1)
        while (key := _folded(candidate)) in numbers:
            number += 1
            candidate = f"{stem}-{number}{suffix}"
        numbers[first], numbers[key] = number, numbers.get(key, 1)
        distinct.append(candidate)
    return distinct


def _folded(name: str) -> str:
    """What is the same for names that some file system takes for the same."""
    return unicodedata.normalize("NFKC", name).casefold()


def cut_bytes(text: str, limit: int) -> str:
    """The beginning of a text that is at most so many bytes long in UTF-8."""
    return text.encode("utf-8", "surrogateescape")[:limit].decode("utf-8", "ignore")


def _shorten(name: str) -> str:
    if len(name.encode()) <= MAX_NAME_BYTES:
        return name
    stem, suffix = _split(name)
    return cut_bytes(stem, MAX_NAME_BYTES - len(suffix.encode())).rstrip(". ") + suffix


def _split(name: str) -> tuple[str, str]:
    stem, dot, suffix = name.rpartition(".")
    if not stem or len(suffix.encode()) > _MAX_SUFFIX_BYTES:
        return name, ""
    return stem, dot + suffix
