"""The one room with sockets: sends a request once and brings the answer, or says why there is none.

What aiohttp does by itself is turned off: it resends a GET on a broken connection, follows
redirects with the key, keeps cookies, and its ``total`` timeout loses cancellations. Its errors
hold the request headers, and so the key: none of them leaves this room, not even as a context.
"""

from sieve_async.transport.sender import Transport

__all__ = ["Transport"]
