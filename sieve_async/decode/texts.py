"""Documents to the letter."""

from typing import Any

from sieve_async.decode.answers import read_document
from sieve_async.messages import Request, Response


def parse_text(request: Request[Any], response: Response) -> str:
    """The document of a good answer as it came, but for the key, should it hold it.

    Raises:
        SieveError: The answer is an error, or is no object.
    """
    read_document(request, response)
    return response.text()
