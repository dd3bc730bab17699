"""Takes API keys and other secrets out of texts."""

import re
from collections.abc import Callable

_NAMES_IN_HTML = {'"': "&quot;", "&": "&amp;", "'": "&apos;", "<": "&lt;", ">": "&gt;"}


def redactor(secret: str, replacement: str = "[API key]") -> Callable[[str], str]:
    """A function that replaces a secret in a text; a closure, so that no repr shows it.

    It also finds it as JSON, a URL or HTML may spell it, each character in its own way.
    """
    spelling = re.compile("".join(map(_spellings, secret)))
    return lambda text: spelling.sub(replacement, text)


def _spellings(character: str) -> str:
    code = f"{ord(character):02x}"
    plain = re.escape(character)
    name = _NAMES_IN_HTML.get(character, plain)
    return rf"(?:\\?{plain}|(?i:\\u00{code}|%{code}|&#0*{ord(character)};|&#x0*{code};)|{name})"
