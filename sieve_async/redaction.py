"""Takes an API key out of texts."""

import re
from collections.abc import Callable

_NAMES_IN_HTML = {'"': "&quot;", "&": "&amp;", "'": "&apos;", "<": "&lt;", ">": "&gt;"}


def redactor(api_key: str) -> Callable[[str], str]:
    """A function that replaces the key in a text; a closure, so that no repr shows the key.

    It also finds the key as JSON, a URL or HTML may spell it, each character in its own way.
    """
    spelling = re.compile("".join(map(_spellings, api_key)))
    return lambda text: spelling.sub("[API key]", text)


def _spellings(character: str) -> str:
    code = f"{ord(character):02x}"
    plain = re.escape(character)
    name = _NAMES_IN_HTML.get(character, plain)
    return rf"(?:\\?{plain}|(?i:\\u00{code}|%{code}|&#0*{ord(character)};|&#x0*{code};)|{name})"
