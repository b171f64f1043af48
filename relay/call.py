"""One HTTP request as seen from outside the thread that blocks in it: how it is stopped and slowed.

A thread blocked in a read is freed by shutting its TCP connection down; a thread that reads faster than its
peer takes is held before its next read. Knows neither queue nor engine; used by `asker` and `upstream`.
"""

from __future__ import annotations

import os
import socket
import threading
from typing import Any

from relay.policy import UpstreamRequest

_POSTS_AHEAD = 8
"""Reads whose bytes the loop has not taken yet."""


class Call:
    """One running request: how its thread is stopped and slowed from outside.

    Attributes:
        opened: the connection stands, TLS included; what fails from now on is a broken answer.
        head: the HTTP answer, once its connection waits for it.
    """

    def __init__(self, request: UpstreamRequest) -> None:
        self.request = request
        self.opened = False
        self.head: Any = None
        self._socket: socket.socket | None = None
        self._aborted = False
        self._paused = self._held = False
        self._ahead = 0
        self._changed = threading.Condition()

    def attach(self, connected: socket.socket) -> socket.socket:
        """TCP is connected; a duplicate is kept, so that TLS state is never touched from outside."""
        with self._changed:
            self._socket = socket.socket(fileno=os.dup(connected.fileno()))
            if self._aborted:
                self._shut()
        return connected

    def detach(self) -> None:
        """The request is over."""
        with self._changed:
            if self._socket is not None:
                self._socket.close()
                self._socket = None

    def abort(self) -> None:
        """Close the connection now; a blocked read returns."""
        with self._changed:
            self._aborted = True
            self._shut()
            self._changed.notify_all()

    def pause(self, *, paused: bool) -> None:
        """Hold the thread before its next read, or let it go on."""
        with self._changed:
            self._paused = paused
            self._changed.notify_all()

    def hold(self, *, held: bool) -> None:
        """The same for this request alone."""
        with self._changed:
            self._held = held
            self._changed.notify_all()

    def taken(self) -> None:
        """The loop took one read's bytes."""
        with self._changed:
            self._ahead -= 1
            self._changed.notify_all()

    def may_read(self) -> bool:
        """Wait until there is room for another read; False if the request was aborted."""
        with self._changed:
            self._changed.wait_for(lambda: self._aborted or self._has_room())
            self._ahead += 1
            return not self._aborted

    @property
    def aborted(self) -> bool:
        """Whether `abort` was called."""
        return self._aborted

    def _has_room(self) -> bool:
        return not (self._paused or self._held) and self._ahead < _POSTS_AHEAD

    def _shut(self) -> None:
        if self._socket is not None:
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # gone already
