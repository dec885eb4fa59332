"""Turns: a runner that others keep overtaking goes first once.

While somebody holds the turn, no other commit of the same runner's workers is accepted. Nothing else rests on it: it
ends by itself after some seconds, and what its holder commits is compared as always.
"""

from __future__ import annotations

import contextlib
import time

from headwater.errors import Unavailable
from headwater.stores.redis_connections import Server
from headwater.stores.redis_scripts import END_TURN

LASTS_S = 10
PAUSE_S = 0.002


class Turn:
    """The turn of one commit. Arguments: key: where its holder is named; commit: the name of the commit."""

    def __init__(self, server: Server, key: str, commit: str) -> None:
        self._server, self._key, self._commit = server, key, commit
        self._taken = False

    def take(self) -> None:
        """Waits until nobody else has it, and takes it. Raises: Unavailable."""
        self._taken = True
        while not self._server.call("SET", self._key, self._commit, "NX", "PX", LASTS_S * 1000):
            if self._server.call("GET", self._key) == self._commit.encode():
                return
            time.sleep(PAUSE_S)

    def wait(self) -> None:
        """Waits until nobody has it; not for long, since it ends by itself. Raises: Unavailable."""
        while self._server.call("EXISTS", self._key):
            time.sleep(PAUSE_S)

    def give_back(self) -> None:
        """Ends it, if it was taken and has not ended with the commit; without a server it ends by itself."""
        if self._taken:
            with contextlib.suppress(Unavailable):
                self._server.run(END_TURN, self._key, self._commit)
