"""Who runs where: slots of all backends, one queue in the order of arrival, and the choice of a backend.

A model that is loaded somewhere is used there; one that must be loaded goes where nothing else is being
loaded, since a backend loads one model at a time; among equals the least busy is taken. Nobody waits while
a backend has a free slot. Pure: the caller says what happened and is told who may start. Owned by the
front's `desk`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Place:
    """One backend, as the pool sees it.

    Attributes:
        slots: requests that may run there at once.
        up: whether it can be asked now.
        coming: whether it is down for a moment only, because the farm starts it again.
        loaded: canonical names of the models in its memory.
        loading: the model that is being loaded, or None.
        used: slots taken, also by requests whose client left while the runner still works on them.
    """

    slots: int
    up: bool = False
    coming: bool = True
    loaded: frozenset[str] = frozenset()
    loading: str | None = None
    used: int = 0

    @property
    def free(self) -> bool:
        """Whether a request can be put there now."""
        return self.up and self.used < self.slots

    def cost(self, model: str) -> tuple[int, int, int]:
        """How bad it is to put a request for `model` here; the smallest is chosen."""
        if not model or model in self.loaded:
            load = 0
        elif self.loading == model:
            load = 1
        else:
            load = 2 if self.loading is None else 3
        return (load, self.used, len(self.loaded))


@dataclass(frozen=True, slots=True)
class Grant:
    """A request that may start: its number and the index of its backend."""

    number: int
    place: int


class Full(Exception):
    """Too many wait already.

    Attributes:
        waiting: how many.
    """

    def __init__(self, waiting: int) -> None:
        super().__init__(waiting)
        self.waiting = waiting


class NobodyThereError(Exception):
    """Every backend is down, and none of them is being started."""


@dataclass(slots=True)
class _Wish:
    model: str
    avoid: frozenset[int] = field(default_factory=frozenset)


class Pool:
    """Slots and queue.

    Args:
        places: the backends.
        waiting_max: requests that may wait.
    """

    def __init__(self, places: Iterable[Place], waiting_max: int) -> None:
        self.places = list(places)
        self._waiting_max = waiting_max
        self._queue: OrderedDict[int, _Wish] = OrderedDict()

    @property
    def slots(self) -> int:
        """Slots of all backends."""
        return sum(place.slots for place in self.places)

    @property
    def used(self) -> int:
        """Slots taken."""
        return sum(place.used for place in self.places)

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._queue)

    @property
    def reachable(self) -> bool:
        """Whether waiting makes sense: a backend is there or on its way."""
        return any(place.up or place.coming for place in self.places)

    def position(self, number: int) -> int:
        """1 for the next in line; 0 for one that does not wait."""
        return next((at for at, waiting in enumerate(self._queue, 1) if waiting == number), 0)

    def positions(self) -> dict[int, int]:
        """`position` of all that wait."""
        return {number: at for at, number in enumerate(self._queue, 1)}

    def join(
        self, number: int, model: str, avoid: frozenset[int] = frozenset(), *, again: bool = False
    ) -> list[Grant]:
        """A request arrives.

        Args:
            number: names it from now on.
            model: canonical name; empty: any backend will do.
            avoid: backends that failed it before; taken only when there is no other.
            again: it had its turn and lost it by no fault of its own: first in line, however many wait.

        Returns:
            Who may start; empty when it has to wait.

        Raises:
            Full: the queue has no room.
            NobodyThereError: there is no backend to wait for.
        """
        if not self.reachable:
            raise NobodyThereError
        self._queue[number] = _Wish(model, avoid)
        self._queue.move_to_end(number, last=not again)
        granted = self.advance()
        if len(self._queue) > self._waiting_max and not (again or granted):
            del self._queue[number]
            raise Full(len(self._queue))
        return granted

    def leave(self, number: int) -> None:
        """A waiting request is given up."""
        self._queue.pop(number, None)

    def release(self, place: int) -> list[Grant]:
        """A slot of that backend is free again."""
        self.places[place].used -= 1
        return self.advance()

    def advance(self) -> list[Grant]:
        """Who may start now; called when anything about a place has changed."""
        granted = []
        while self._queue:
            number, wish = next(iter(self._queue.items()))
            place = self._choose(wish)
            if place is None:
                break
            del self._queue[number]
            self.places[place].used += 1
            granted.append(Grant(number, place))
        return granted

    def abandon(self) -> list[int]:
        """The numbers of all that wait for nobody, when no backend is there or on its way."""
        if self.reachable:
            return []
        numbers = list(self._queue)
        self._queue.clear()
        return numbers

    def _choose(self, wish: _Wish) -> int | None:
        free = [index for index, place in enumerate(self.places) if place.free]
        if not free:
            return None
        liked = [index for index in free if index not in wish.avoid]
        return min(liked or free, key=lambda index: (*self.places[index].cost(wish.model), index))
