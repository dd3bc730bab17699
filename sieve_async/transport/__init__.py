"""All network I/O: sends one request and returns its answer, or raises why there is none.

aiohttp's own habits are off: it resends a GET on a broken connection, follows redirects with the
key, keeps cookies, and its ``total`` timeout loses cancellations. Its errors hold the request
headers, and so the key: none of them leaves this package, not even as a context.
"""

from sieve_async.transport.http import Transport

__all__ = ["Transport"]
