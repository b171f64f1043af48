"""A request as path and body, in the endpoint's language.

Pure. Called by `exchange`; the other half, what comes back, is in `said`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from farm.bench import limits
from farm.bench.plan import Api, Endpoint

_PATHS = {
    (Api.NATIVE, Endpoint.GENERATE): "/api/generate",
    (Api.NATIVE, Endpoint.CHAT): "/api/chat",
    (Api.OPENAI, Endpoint.GENERATE): "/v1/completions",
    (Api.OPENAI, Endpoint.CHAT): "/v1/chat/completions",
}


@dataclass(frozen=True, slots=True)
class Asking:
    """How every request of a run asks.

    Attributes:
        api: the endpoint's language.
        endpoint: one text or a conversation.
        model: as the endpoint names it.
        max_tokens: per answer; 0 leaves it to the server.
    """

    api: Api
    endpoint: Endpoint
    model: str
    max_tokens: int

    @property
    def path(self) -> str:
        """Where the request goes, below the URL."""
        return _PATHS[self.api, self.endpoint]

    def body(self, prompt: str, seed: int) -> bytes:
        """The JSON of one request; its answer is a stream."""
        body: dict[str, Any] = {"model": self.model, "stream": True}
        if self.endpoint is Endpoint.CHAT:
            body["messages"] = [{"role": "user", "content": prompt}]
        else:
            body["prompt"] = prompt
        seed %= limits.SEED_MAX + 1
        if self.api is Api.NATIVE:
            limit = {"num_predict": self.max_tokens} if self.max_tokens else {}
            body["options"] = {"seed": seed, **limit}
        else:
            limit = {"max_tokens": self.max_tokens} if self.max_tokens else {}
            body |= {"seed": seed, "stream_options": {"include_usage": True}, **limit}
        return json.dumps(body).encode()
