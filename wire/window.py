"""What is remembered of (owner, item) for a while, in bounded memory that no owner can take from the others.

    too old   │ forgotten
    too many  │ those who hold most lose their oldest, some at a time, since looking for them takes time

Pure.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

_Owner = TypeVar("_Owner", bound=Hashable)
_Item = TypeVar("_Item", bound=Hashable)
_Value = TypeVar("_Value")


class Window(Generic[_Owner, _Item, _Value]):
    """A table with two keys, a bound and a time to live.

    Args:
        most: entries of all owners.
        ttl_s: how long an entry is remembered.
        forgotten: told each value that is not remembered any more.
    """

    def __init__(
        self, most: int, ttl_s: float, forgotten: Callable[[_Value], None] = lambda _value: None
    ) -> None:
        self._most = most
        self._ttl_s = ttl_s
        self._forgotten = forgotten
        self._values: OrderedDict[tuple[_Owner, _Item], tuple[float, _Value]] = OrderedDict()
        self._items: dict[_Owner, OrderedDict[_Item, None]] = {}

    def __len__(self) -> int:
        return len(self._values)

    def get(self, owner: _Owner, item: _Item, now: float) -> _Value | None:
        """What is remembered."""
        self.forget(now)
        found = self._values.get((owner, item))
        return None if found is None else found[1]

    def put(self, owner: _Owner, item: _Item, value: _Value, now: float) -> None:
        """Remember it from now on, in place of what was remembered before."""
        self.forget(now)
        self._drop(owner, item)
        self._values[owner, item] = now, value
        self._items.setdefault(owner, OrderedDict())[item] = None
        if len(self._values) > self._most:
            self._make_room()

    def forget(self, now: float) -> None:
        """Forget what is too old, as is done whenever something is asked or put."""
        while self._values:
            (owner, item), (at, _) = next(iter(self._values.items()))
            if now < at + self._ttl_s:
                return
            self._drop(owner, item)

    def _make_room(self) -> None:
        target = self._most - self._most // 16
        share = max(1, self._most * 3 // 4 // len(self._items))
        heaviest = sorted(self._items, key=lambda owner: len(self._items[owner]), reverse=True)
        for owner in heaviest:
            while len(self._values) > target and len(self._items[owner]) > share:
                self._drop(owner, next(iter(self._items[owner])))
        while len(self._values) > self._most:  # as many owners as entries: the oldest of all
            self._drop(*next(iter(self._values)))

    def _drop(self, owner: _Owner, item: _Item) -> None:
        found = self._values.pop((owner, item), None)
        if found is None:
            return
        items = self._items[owner]
        del items[item]
        if not items:
            del self._items[owner]
        self._forgotten(found[1])
