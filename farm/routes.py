"""Which requests make the model work, and in whose form their answers come.

A table. Pure; read by the front.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from farm.api.words import Shape


class Work(enum.Enum):
    """What a request does to a model."""

    TEXT = "generates text, token by token"
    VECTORS = "computes embeddings, all at once"
    MEDIA = "reads sound or makes pictures"


@dataclass(frozen=True, slots=True)
class Route:
    """One route that needs a runner.

    Attributes:
        work: what it does.
        shape: the form of its errors.
        streams: whether the answer is a stream when the request does not say.
        json: whether the request's body is JSON.
    """

    work: Work
    shape: Shape
    streams: bool = False
    json: bool = True

    @property
    def native(self) -> bool:
        """Whether the request may say `keep_alive` and `options`."""
        return self.shape is Shape.NATIVE


ROUTES: Final[Mapping[str, Route]] = {
    "/api/generate": Route(Work.TEXT, Shape.NATIVE, streams=True),
    "/api/chat": Route(Work.TEXT, Shape.NATIVE, streams=True),
    "/api/embed": Route(Work.VECTORS, Shape.NATIVE),
    "/api/embeddings": Route(Work.VECTORS, Shape.NATIVE),
    "/v1/chat/completions": Route(Work.TEXT, Shape.OPENAI),
    "/v1/completions": Route(Work.TEXT, Shape.OPENAI),
    "/v1/responses": Route(Work.TEXT, Shape.OPENAI),
    "/v1/messages": Route(Work.TEXT, Shape.ANTHROPIC),
    "/v1/embeddings": Route(Work.VECTORS, Shape.OPENAI),
    "/v1/images/generations": Route(Work.MEDIA, Shape.OPENAI),
    "/v1/images/edits": Route(Work.MEDIA, Shape.OPENAI),
    "/v1/audio/transcriptions": Route(Work.MEDIA, Shape.OPENAI, json=False),
}
"""Path → route, for POST. Whatever stands here waits for a slot."""

OWN: Final = frozenset({"/_health", "/health", "/metrics", "/_requests"})
"""The farm's own paths; /health is where load testers and orchestrators look."""

CHANGING: Final = (
    "/api/pull", "/api/push", "/api/create", "/api/copy", "/api/delete", "/api/blobs/", "/api/me",
    "/api/signout", "/api/user/", "/api/experimental/",
)  # fmt: skip
"""What changes the owner's machine or spends the owner's account."""

UPLOADS: Final = "/api/blobs/"
"""Model files come here, of any size, and go straight through to the disk."""


def find(method: str, path: str) -> Route | None:
    """The route of a request that needs a runner; None for every other request.

    Args:
        method: of the request.
        path: percent-decoded, as the backend will read it.
    """
    return ROUTES.get(path) if method == "POST" else None


def is_own(path: str) -> bool:
    """Whether the farm itself answers this path."""
    return path in OWN


def is_backend_s(path: str) -> bool:
    """Whether a path belongs to the backend."""
    return path == "/" or path.startswith(("/api/", "/v1/"))


def changes(path: str) -> bool:
    """Whether a request under this path may change the machine or spend the account."""
    return path.startswith(CHANGING)


def shape_of(path: str) -> Shape:
    """The form of errors under a path."""
    route = ROUTES.get(path)
    if route is not None:
        return route.shape
    return Shape.OPENAI if path.startswith("/v1/") else Shape.NATIVE
