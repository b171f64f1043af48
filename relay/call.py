"""One HTTP request while a thread asks: how it is stopped from outside.

A thread that connects, shakes hands or sends is freed by shutting its TCP connection down. Used by `asker`,
on a worker's thread, and by `upstream`, on the loop.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading

from relay.policy import UpstreamRequest


class Call:
    """One request that is being asked.

    Attributes:
        opened: the connection stands, TLS included; what fails from now on is a broken answer.
    """

    def __init__(self, request: UpstreamRequest) -> None:
        self.request = request
        self.opened = False
        self._socket: socket.socket | None = None
        self._aborted = False
        self._lock = threading.Lock()

    def attach(self, connected: socket.socket) -> None:
        """TCP is connected; a duplicate is kept, so that TLS state is never touched from outside."""
        with self._lock:
            self._socket = socket.socket(fileno=os.dup(connected.fileno()))
            if self._aborted:
                self._shut()

    def detach(self) -> None:
        """It is asked, or never will be."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None

    def abort(self) -> None:
        """Close the connection now; a thread blocked in it goes on."""
        with self._lock:
            self._aborted = True
            self._shut()

    @property
    def aborted(self) -> bool:
        """Whether `abort` was called."""
        return self._aborted

    def _shut(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):  # gone already
                self._socket.shutdown(socket.SHUT_RDWR)
