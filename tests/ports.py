"""A port for processes that find each other."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def held_port() -> Iterator[str]:
    """A free port of this machine that nobody is given meanwhile: it is bound but not listened to, and may be taken by its number."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("localhost", 0))
        yield str(held.getsockname()[1])
