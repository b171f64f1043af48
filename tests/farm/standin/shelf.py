"""The models of a store, shared by all that serve it: what one of them pulled, the others have too."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, MutableMapping
from pathlib import Path

from standin.models import Model


class Shelf(MutableMapping[str, Model]):
    """The given models, and those that were put to or taken from the store since, by whichever process."""

    def __init__(self, given: dict[str, Model], file: Path) -> None:
        self._given, self._file = given, file

    def _told(self) -> dict[str, dict[str, object] | None]:
        try:
            return dict(json.loads(self._file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return {}

    def _all(self) -> dict[str, Model]:
        there = dict(self._given)
        for name, told in self._told().items():
            if told is None:
                there.pop(name, None)
            else:
                there[name] = Model(**told)  # type: ignore[arg-type]
        return there

    def _write(self, name: str, model: Model | None) -> None:
        told = self._told() | {name: None if model is None else dataclasses.asdict(model)}
        self._file.parent.mkdir(parents=True, exist_ok=True)
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps(told), encoding="utf-8")
        new.replace(self._file)

    def __getitem__(self, name: str) -> Model:
        return self._all()[name]

    def __setitem__(self, name: str, model: Model) -> None:
        self._write(name, model)

    def __delitem__(self, name: str) -> None:
        if name not in self._all():
            raise KeyError(name)
        self._write(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())
