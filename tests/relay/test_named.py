"""What a body names."""

from __future__ import annotations

import pytest

from relay import named
from wire.errors import PeerFault


@pytest.mark.parametrize(
    ("body", "models", "options"),
    [
        (b"{}", (), ()),
        (b'{"model":"a"}', ("a",), ()),
        (b'{"model":"a","MODEL":"b","name":"c","Model":null,"model":5}', ("a", "b", "c"), ()),
        (b'{"keep_alive":-1}', (), ("keep_alive",)),
        (b'{"Keep_Alive":"1h","keep_alive":null}', (), ("keep_alive",)),
        (b'{"options":{"num_ctx":8,"temperature":1,"NUM_GPU":2}}', (), ("num_ctx", "num_gpu")),
        (b'{"options":{},"OPTIONS":{"use_mmap":true}}', (), ("use_mmap",)),
        (b'{"keep_alive":1,"options":{"num_ctx":8}}', (), ("keep_alive", "num_ctx")),
        (b'{"options":[["num_ctx",1]]}', (), ()),
        (b'{"options":[{"num_ctx":1}]}', (), ()),
        (b'{"options":["num_ctx",["num_ctx",1]]}', (), ()),
        (b'{"options":null,"messages":[{"model":"x"}]}', (), ()),
    ],
)
def test_names_are_found_wherever_ollama_would_see_them(body: bytes, models: tuple, options: tuple) -> None:
    assert named.read(body) == named.Named(models, options)


@pytest.mark.parametrize("body", [b"", b"[]", b'"x"', b"{", b'{"a":NaN}', b"[" * 100_000])
def test_what_is_no_object_is_a_bad_request(body: bytes) -> None:
    with pytest.raises(PeerFault) as caught:
        named.read(body)
    assert caught.value.code == "bad_request"
