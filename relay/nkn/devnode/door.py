"""The websocket port of a node: from the first byte of a connection to the end of its websocket.

Refuses what asks for no websocket and who asks too often, lets the others in when the node is awake.
Shell; used by `life`, hands the sockets to `switchboard`.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial

import h11

from relay.nkn.devnode import upgrade
from relay.nkn.devnode.answer import TOO_MANY
from relay.nkn.devnode.httpserver import Conversation
from relay.nkn.devnode.limiter import Limiter
from relay.nkn.devnode.switchboard import Switchboard

log = logging.getLogger("relay.nkn.devnode")


class Door:
    """What one node does with connections to its websocket ports."""

    def __init__(self, board: Switchboard) -> None:
        self._board = board
        self._limiter = Limiter()

    async def serve(self, talk: Conversation, *, tls: bool) -> None:
        """Serve a connection until it is gone."""
        try:
            if await self._upgraded(talk):
                await self._websocket(talk, tls=tls)
        except h11.RemoteProtocolError as error:
            await talk.refuse(error)

    async def _upgraded(self, talk: Conversation) -> bool:
        """Whether the connection is a websocket now; a refused one may ask again."""
        now = asyncio.get_running_loop().time
        while (asked := await talk.head()) is not None:
            await self._board.awake()
            if not self._limiter.admits(asked.peer, self._board.faults.rate_burst, now()):
                self._board.counts["ws_limited"] += 1
                refusal = TOO_MANY
            elif (switching := upgrade.accepted(asked)) is not None:
                talk.writer.write(switching)
                return True
            else:
                refusal = upgrade.REFUSED
            await talk.body()
            await talk.say(asked, refusal, close=False)
        return False

    async def _websocket(self, talk: Conversation, *, tls: bool) -> None:
        link = self._board.open(talk, tls=tls)
        try:
            await link.serve(partial(self._board.take, link))
        except OSError:
            pass
        except Exception:
            log.exception("dev node: a fault of the node itself")
            raise
        finally:
            self._board.close(link)
