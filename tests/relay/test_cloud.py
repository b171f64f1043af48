"""Models that spend the owner's account, in every spelling that Ollama would understand."""

from __future__ import annotations

import pytest

from relay import cloud
from wire.errors import PeerFault

CLOUD_NAMES = [
    "gpt-oss:cloud",
    "gpt-oss:120b-cloud",
    "gpt-oss:120B-Cloud",
    "gpt-oss:CLOUD",
    " gpt-oss:cloud ",
    "gpt-oss:120b-cloud\n",
    "gpt-oss:120b:cloud",
    "gpt-oss:120b: cloud",
    "gpt-oss:120b:\tCLOUD ",
    "gpt-oss: 120b-cloud",
    "registry.ollama.ai/library/gpt-oss:120b-cloud",
]
LOCAL_NAMES = [
    "smollm2:135m",
    "cloudy:7b",
    "gpt-oss:cloud-7b",
    "my-cloud:latest",
    "a:cloud:local",
    "",
    "\u00fc",
]


def body(name: str, key: str = "model") -> bytes:
    escaped = name.replace("\n", "\\n").replace("\t", "\\t")
    return f'{{"{key}":"{escaped}","stream":true}}'.encode()


@pytest.mark.parametrize("name", CLOUD_NAMES)
def test_a_cloud_model_is_denied_under_any_spelling_of_name_and_key(name):
    for key in ("model", "name", "Model", "MODEL", "mOdEl", "NAME", "\\u006dodel"):
        with pytest.raises(PeerFault, match="cloud") as caught:
            cloud.refuse_body(body(name, key))
        assert (caught.value.code, caught.value.status) == ("denied", 403)
    with pytest.raises(PeerFault):
        cloud.refuse_name(name)


@pytest.mark.parametrize("name", LOCAL_NAMES)
def test_a_local_model_is_not(name):
    cloud.refuse_name(name)
    cloud.refuse_body(body(name))


@pytest.mark.parametrize(
    "raw",
    [
        b'{"model":"a:cloud","model":"a"}',
        b'{"model":"a","model":"a:cloud"}',
        b'{"model":"a:cloud","model":null}',
        b'{"model":"a:cloud","Model":null}',
        b'{"model":"a","MODEL":"a:cloud"}',
        b'{"model":"a","name":"a:cloud"}',
        b' \n{"model":"a:cloud"}\n ',
        b'{"model":"a\\u003acloud"}',
    ],
)
def test_every_member_counts(raw):
    with pytest.raises(PeerFault) as caught:
        cloud.refuse_body(raw)
    assert caught.value.code == "denied"


@pytest.mark.parametrize(
    "raw",
    [
        b"{}",
        b'{"model":5}',
        b'{"model":null}',
        b'{"model":["a:cloud"]}',
        b'{"prompt":"use :cloud"}',
        b'{"prompt":"a:cloud"}',
        b'{"options":{"model":"a:cloud"}}',
    ],
)
def test_only_the_models_own_member_counts(raw):
    cloud.refuse_body(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"[]",
        b"null",
        b'"model"',
        b'{"model":"a"} {"model":"a:cloud"}',
        b'{"model":"a"}x',
        b'{"model":"a"',
        b'{"model":NaN}',
        b"\xff{}",
        b'{"model":"\xff"}',
        b'\xef\xbb\xbf{"model":"a"}',
        '{"model":"a:cloud"}'.encode("utf-16"),
        '{"model":"a"}'.encode("utf-16-le"),
        b"\x28\xb5\x2f\xfd{}",
        b'{"model":' + b"[" * 100_000,
    ],
)
def test_a_body_that_cannot_be_judged_is_refused(raw):
    with pytest.raises(PeerFault, match="one JSON object") as caught:
        cloud.refuse_body(raw)
    assert caught.value.code == "bad_request"
