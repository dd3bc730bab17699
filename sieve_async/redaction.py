"""Takes API keys and other secrets out of texts."""

import re
from collections.abc import Callable

_MAX_SPELLED = 1000  # characters
# Names in HTML, and escapes of JSON and Python.
_NAMES = {
    '"': "&quot;",
    "&": "&amp;",
    "'": "&apos;",
    "<": "&lt;",
    ">": "&gt;",
    "\n": r"\\n",
    "\r": r"\\r",
    "\t": r"\\t",
}


def redactor(secret: str, replacement: str = "[API key]") -> Callable[[str], str]:
    """A function that replaces a secret in a text; a closure, so that no repr shows it.

    It also finds it as JSON, a URL or HTML may spell it, each character in its own way. Of a very
    long secret it finds the beginning, and replaces all that follows.
    """
    spelling: re.Pattern[str] | None = None

    def redact(text: str) -> str:
        nonlocal spelling
        if spelling is None:  # compiled when it is needed first, which takes 0.1 ms a character
            rest = r"[\s\S]*" if len(secret) > _MAX_SPELLED else ""
            spelling = re.compile(_pattern(secret[:_MAX_SPELLED]) + rest)
        return spelling.sub(replacement, text)

    return redact


def _pattern(secret: str) -> str:
    """What a secret may stand as.

    Each backslash may stand twice, and one more before what follows. They are counted together: a
    text that begins as the secret does would be tried in all combinations otherwise.
    """
    pattern = ""
    for backslashes, character in re.findall(r"(\\*)([^\\]?)", secret):
        count = len(backslashes)
        times = f"{{{count},{2 * count + bool(character)}}}"
        pattern += f"{_spellings(backslashes[0])}{times}" if count else r"\\?"
        pattern += _spellings(character) if character else ""
    return pattern.removesuffix(r"\\?")


def _spellings(character: str) -> str:
    """What one character may stand as; no two of these match the same text."""
    units = character.encode("utf-16-be").hex()
    escapes = "".join(rf"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))
    percent = "".join(f"%{byte:02x}" for byte in character.encode())
    code = ord(character)
    if 0x7F < code < 0x100:
        percent += f"|%{code:02x}"  # as Latin-1
    spellings = [re.escape(character), *filter(None, [_NAMES.get(character)])]
    return rf"(?:{'|'.join(spellings)}|(?i:{escapes}|{percent}|&#0*{code};|&#x0*{code:x};))"
