"""farm.demand: a request is read as the backend will read it; nothing of it changes but what must."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm import limits
from farm.api import gojson
from farm.api.words import RefusalError
from farm.demand import RELOADING, Demand, House, canonical, read
from farm.routes import ROUTES

HOUSE = House("1h")
NATIVE = [path for path, route in ROUTES.items() if route.native]
JSON = [path for path, route in ROUTES.items() if route.json]


def demand(value: object, path: str = "/api/chat", house: House = HOUSE) -> Demand:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return read(body, path, ROUTES[path], house)


def sent(value: object, path: str = "/api/chat", house: House = HOUSE) -> Any:
    return json.loads(demand(value, path, house).body)


# -- the model -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("tooly", "tooly:latest"),
        ("Tooly:Latest", "tooly:latest"),
        (" gemma3:4b ", "gemma3:4b"),
        ("library/tooly", "tooly:latest"),
        ("registry.ollama.ai/library/tooly:7b", "tooly:7b"),
        ("registry.ollama.ai/me/tooly", "me/tooly:latest"),
        ("me/Tooly:7B", "me/tooly:7b"),
        ("hf.co/Me/Model-GGUF:Q4_K_M", "hf.co/me/model-gguf:q4_k_m"),
        ("localhost:5000/me/m", "localhost:5000/me/m:latest"),
        ("", ""),
        ("  ", ""),
    ],
)
def test_a_model_has_one_name(name, plain):
    assert canonical(name) == plain
    assert canonical(plain) == plain


NAMES = st.from_regex(r"[a-z][a-z0-9._-]{0,9}", fullmatch=True)


@given(NAMES, NAMES, st.data())
def test_spellings_of_a_name_are_the_same(name, tag, data):
    front = data.draw(st.sampled_from(["", "library/", "registry.ollama.ai/library/"]))
    written = data.draw(st.sampled_from([f"{front}{name}:{tag}", f" {front}{name}:{tag}\n"]))
    assert (
        canonical(data.draw(st.sampled_from([written, written.upper(), written.title()]))) == f"{name}:{tag}"
    )
    assert canonical(front + name) == canonical(f"{name}:latest")


@pytest.mark.parametrize(
    ("fields", "model", "asked"),
    [
        ({"model": "Tooly"}, "tooly:latest", "Tooly"),
        ({"MODEL": "tooly"}, "tooly:latest", "tooly"),
        ({"name": "tooly"}, "tooly:latest", "tooly"),
        ({"model": "a", "name": "b"}, "a:latest", "a"),
        ({"model": "", "name": "b"}, "b:latest", "b"),
        ({"model": "gpt-oss:120b-cloud"}, "", "gpt-oss:120b-cloud"),
        ({"model": "kimi:Cloud"}, "", "kimi:Cloud"),
        ({"model": "cloudy"}, "cloudy:latest", "cloudy"),
        ({"model": 7}, "", ""),
        ({"model": None}, "", ""),
        ({"model": ["a"]}, "", ""),
        ({}, "", ""),
    ],
)
@pytest.mark.parametrize("path", JSON)
def test_the_model_that_is_asked_for(fields, model, asked, path):
    found = demand(fields, path)
    assert (found.model, found.asked) == (model, asked)


# -- every spelling of a name -------------------------------------------------------------------

SPELLINGS = ["keep_alive", "KEEP_ALIVE", "Keep_Alive", "\u212aeep_alive", "\u212aEEP_ALIVE"]


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_name_is_found_however_go_would_find_it(name):
    found = demand({"model": "m", name: "5m"})
    assert found.keep_alive == "5m"
    assert json.loads(found.body) == {"model": "m", "keep_alive": "5m"}


@pytest.mark.parametrize("name", ["options", "OPTIONS", "option\u017f", "OPTION\u017f"])
def test_a_long_s_does_not_smuggle_options(name):
    found = demand({"model": "m", name: {"num_ctx": 9, "seed": 1}})
    assert found.dropped == ("num_ctx",)
    assert json.loads(found.body)["options"] == {"seed": 1}


@pytest.mark.parametrize(
    ("body", "model"),
    [
        (b'{"model":"a","model":"b"}', "b"),
        (b'{"model":"a","MODEL":"b"}', "b"),
        (b'{"MODEL":"b","model":"a"}', "a"),
    ],
)
def test_the_last_of_several_counts_and_is_the_only_one_sent(body, model):
    assert sent(body) == {"model": model, "keep_alive": "1h"}


# -- keep_alive and options -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "said"),
    [({}, "1h"), ({"keep_alive": None}, "1h"), ({"keep_alive": 0}, 0), ({"keep_alive": "0s"}, "0s"),
     ({"keep_alive": -1}, -1), ({"keep_alive": "2m"}, "2m"), ({"keep_alive": []}, []),
     ({"keep_alive": ""}, "")],
)  # fmt: skip
@pytest.mark.parametrize("path", NATIVE)
def test_a_native_request_always_says_how_long(given, said, path):
    found = demand({"model": "m", **given}, path)
    assert found.keep_alive == said
    assert json.loads(found.body)["keep_alive"] == said


def test_the_house_s_keep_alive_is_said_as_it_was_given():
    assert sent({"model": "m"}, house=House(-1))["keep_alive"] == -1


@pytest.mark.parametrize(
    ("options", "kept", "dropped"),
    [
        ({}, {}, ()),
        (None, {}, ()),
        ({"num_ctx": 8192}, {}, ("num_ctx",)),
        (
            {"seed": 1, "num_gpu": 0, "top_k": 3, "use_mmap": None},
            {"seed": 1, "top_k": 3},
            ("num_gpu", "use_mmap"),
        ),
        ({"NUM_CTX": 9, "num_keep": 4}, {"NUM_CTX": 9, "num_keep": 4}, ()),
        ([1], [1], ()),
        ("x", "x", ()),
        (7, 7, ()),
    ],
)
@pytest.mark.parametrize("path", NATIVE)
def test_options_that_would_load_the_model_anew_are_taken_out(options, kept, dropped, path):
    found = demand({"model": "m", "options": options}, path)
    assert json.loads(found.body)["options"] == kept
    assert found.dropped == dropped


def test_all_that_loads_anew_is_known():
    assert sorted(RELOADING) == ["main_gpu", "num_batch", "num_ctx", "num_gpu", "num_thread", "use_mmap"]
    assert demand({"model": "m", "options": dict.fromkeys(RELOADING, 1)}).dropped


@pytest.mark.parametrize(
    ("options", "sent_on"),
    [
        (None, {"num_gpu": 20}),
        ({"num_gpu": 3}, {"num_gpu": 20}),
        ({"seed": 1}, {"seed": 1, "num_gpu": 20}),
        ("x", "x"),
    ],
)
def test_the_owner_s_layers_are_said_with_every_request(options, sent_on):
    assert sent({"model": "m", "options": options}, house=House("1h", 20))["options"] == sent_on
    assert sent({"model": "m"}, house=House("1h", 0))["options"] == {"num_gpu": 0}
    assert "options" not in sent({"model": "m"}, house=House("1h", -1))


@pytest.mark.parametrize("path", [path for path in JSON if path not in NATIVE])
def test_other_requests_can_say_neither_and_are_left_alone(path):
    fields = {"model": "m", "keep_alive": 0, "options": {"num_ctx": 9}, "OPTIONS": [1]}
    found = demand({"model": "m", "keep_alive": 0, "options": {"num_ctx": 9}}, path)
    assert json.loads(found.body) == {"model": "m", "keep_alive": 0, "options": {"num_ctx": 9}}
    assert (found.keep_alive, found.dropped, found.idle, found.unloads) == (None, (), False, False)
    assert demand(fields, path).dropped == ()


# -- what kind of request it is ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "stream", "streams"),
    [
        ("/api/chat", None, True), ("/api/generate", None, True), ("/api/chat", True, True),
        ("/api/chat", False, False), ("/api/embed", None, False), ("/v1/chat/completions", None, False),
        ("/v1/chat/completions", True, True), ("/v1/messages", True, True), ("/v1/responses", False, False),
        ("/api/chat", "yes", False), ("/v1/completions", 1, False),
    ],
)  # fmt: skip
def test_whether_the_answer_is_a_stream(path, stream, streams):
    assert demand({"model": "m", "stream": stream}, path).streams is streams
    if stream is None:
        assert demand({"model": "m"}, path).streams is streams


@pytest.mark.parametrize(
    ("path", "fields", "idle"),
    [
        ("/api/generate", {}, True),
        ("/api/generate", {"prompt": ""}, True),
        ("/api/generate", {"prompt": "", "system": "x", "keep_alive": "5m"}, True),
        ("/api/generate", {"prompt": " "}, False),
        ("/api/generate", {"suffix": "x"}, False),
        ("/api/generate", {"images": ["x"]}, False),
        ("/api/generate", {"PROMPT": "x"}, False),
        ("/api/chat", {}, True),
        ("/api/chat", {"messages": []}, True),
        ("/api/chat", {"messages": None}, True),
        ("/api/chat", {"messages": [{"role": "user", "content": ""}]}, False),
        ("/api/embed", {"input": []}, False),
        ("/v1/chat/completions", {"messages": []}, False),
    ],
)
def test_a_request_that_generates_nothing_takes_no_slot(path, fields, idle):
    assert demand({"model": "m", **fields}, path).idle is idle


@pytest.mark.parametrize(
    ("keep_alive", "frees"),
    [(0, True), (0.0, True), ("0", True), ("0s", True), ("0m", True), ("-0s", True), (1, False),
     ("5m", False), (-1, False), ("-1s", False), (None, False), ("", False), ("soon", False), ([], False),
     ({}, False), (False, False), (True, False)],
)  # fmt: skip
def test_a_request_that_asks_for_the_memory_back(keep_alive, frees):
    idle = demand({"model": "m", "keep_alive": keep_alive})
    busy = demand({"model": "m", "messages": [{"role": "user", "content": "x"}], "keep_alive": keep_alive})
    assert (idle.frees, idle.unloads) == (frees, frees)
    assert (busy.frees, busy.unloads) == (frees, False)


# -- bodies that are none, odd or big ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "missing request body"),
        (b" \n", "missing request body"),
        (b"{", "unexpected EOF"),
        (b"model=m", "invalid character 'm' looking for beginning of value"),
        (b'{"model":"m",}', "invalid character '}' looking for beginning of object key string"),
        (b"[" * 20_000, "exceeded max depth"),
    ],
)
def test_what_is_no_json_is_refused_as_the_backend_would(body, words):
    with pytest.raises(RefusalError) as caught:
        demand(body)
    assert (caught.value.status, caught.value.early) == (400, True)
    assert words in caught.value.text


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"7", b"null", b"[{}]"])
def test_what_is_no_object_goes_on_as_it_is(body):
    assert demand(body) == Demand("", "", body, streams=False)


def test_a_form_goes_on_as_it_is():
    form = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n--x--'
    assert demand(form, "/v1/audio/transcriptions") == Demand("", "", form, streams=False)


@pytest.mark.parametrize("depth", [*range(50, 1050, 50), 5000])
def test_a_deep_body_is_sent_on_whole_or_refused(depth):
    body = b'{"model":"m","keep_alive":0,"messages":' + b"[" * depth + b"]" * depth + b"}"
    try:
        found, refused = demand(body), None
    except RefusalError as error:
        found, refused = None, error
    if found is None:
        assert refused is not None
        assert (refused.status, depth > 100) == (400, True)
        assert "exceeded max depth" in refused.text
    else:
        assert found.body == body


@pytest.mark.parametrize(
    ("body", "sent_on"),
    [
        (b'{"keep_alive":1,"x":[1.50,1e400,-0.0,18446744073709551616]}', "same"),
        (b'{"keep_alive":1,"x":"\\ud83d\\ude00"}', '{"keep_alive":1,"x":"😀"}'),
        (b'{"keep_alive":1,"x":"\\ud800"}', '{"keep_alive":1,"x":"\ufffd"}'),
        (b'{"keep_alive":1,"x":"a\xff"}', '{"keep_alive":1,"x":"a\ufffd"}'),
        (b'{"keep_alive":1,"x":"\\u0000\\n"}', '{"keep_alive":1,"x":"\\u0000\\n"}'),
        (b'\t{"keep_alive":1 , "x" : { } }  and what is behind it', '{"keep_alive":1,"x":{}}'),
        (b'{"keep_alive":1,"x":"<b>"}', '{"keep_alive":1,"x":"\\u003cb\\u003e"}'),
    ],
)
def test_an_odd_body_is_sent_on_as_it_was_understood(body, sent_on):
    assert demand(body).body == (body if sent_on == "same" else sent_on.encode())


def test_a_big_body_is_sent_on_whole():
    picture, text = "A" * 3_000_000, "ü😀\n" * 100_000
    fields = {
        "model": "m",
        "messages": [{"role": "user", "content": text, "images": [picture]}] * 2,
        "keep_alive": 1,
    }
    assert sent(fields) == fields


def test_a_schema_that_ends_a_runner_is_refused_on_the_routes_that_make_a_grammar():
    deadly = {"type": "string", "minLength": limits.SCHEMA_REPEAT_MAX + 1}
    for path, fields in {
        "/api/chat": {"FORMAT": deadly},
        "/v1/chat/completions": {"Response_Format": {"json_schema": {"schema": deadly}}},
        "/v1/responses": {"text": {"format": {"schema": deadly}}},
    }.items():
        with pytest.raises(RefusalError):
            demand({"model": "m", **fields}, path)
    assert sent({"model": "m", "format": deadly}, "/v1/completions")["format"] == deadly


# -- all of it against a reader like Go's --------------------------------------------------------------------

FIELDS = [
    "model", "prompt", "messages", "stream", "format", "options", "keep_alive", "think", "system", "template",
    "raw", "suffix", "images", "tools", "context", "truncate", "logprobs", "unknown",
]  # fmt: skip


def folded(name: str) -> str:
    return name.replace("\u212a", "k").replace("\u017f", "s").lower()


def as_go_reads(body: bytes) -> dict[str, Any]:
    """Fields by their plain names: any case is taken, the last one counts."""
    return {folded(name): value for name, value in json.loads(body, object_pairs_hook=lambda pairs: pairs)}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text("abKks\u017f_", max_size=5), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
OPTIONS = st.dictionaries(
    st.sampled_from([*sorted(RELOADING), "seed", "NUM_CTX", "temperature", "stop"]), VALUES, max_size=6
)


@st.composite
def spelled(draw: st.DrawFn, name: str) -> str:
    """A name in some case."""
    odd = {"k": "\u212a", "s": "\u017f"}
    return "".join(
        draw(st.sampled_from([char, char.upper(), odd.get(char, char)])) if char.isalpha() else char
        for char in name
    )


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """A request, its names in any spelling, some of them twice in different ones."""
    pairs = {}
    for name in draw(st.lists(st.sampled_from(FIELDS), max_size=8)):
        value = draw(OPTIONS if name == "options" else st.text(max_size=9) if name == "model" else VALUES)
        key = draw(st.sampled_from([name, draw(spelled(name))]))
        text = json.dumps(value, ensure_ascii=draw(st.booleans()))
        front = json.dumps(key, ensure_ascii=draw(st.booleans())) + draw(st.sampled_from([":", " : "]))
        pairs.setdefault(key, front + text)
    return ("{" + ",".join(pairs.values()) + "}").encode(errors="replace")


@given(bodies(), st.sampled_from(JSON), st.sampled_from([-1, 0, 30]))
def test_what_is_sent_on_is_what_was_read_but_for_what_must_change(body, path, layers):
    try:
        found = demand(body, path, House("2h", layers))
    except RefusalError:  # a schema that ends a runner; the only reason there may be
        assert path in {"/api/chat", "/api/generate"}
        assert isinstance(gojson.decode(body), dict)
        return
    before, after = as_go_reads(body), as_go_reads(found.body)
    if ROUTES[path].native:
        options = dict(before.get("options") or ())
        kept = [(name, value) for name, value in options.items() if name not in RELOADING]
        kept += [("num_gpu", layers)] if layers >= 0 else []
        if kept or "options" in before:
            before["options"] = kept
        if before.get("keep_alive") is None:
            before["keep_alive"] = "2h"
        assert sorted(found.dropped) == sorted(options.keys() & RELOADING)
    if isinstance(after.get("options"), list):
        after["options"] = [tuple(pair) for pair in after["options"]]
        before["options"] = [tuple(pair) for pair in before["options"]]
    assert after == before
    names = [name for name, _ in json.loads(found.body, object_pairs_hook=lambda pairs: pairs)]
    plain = [
        name
        for name in names
        if folded(name) in {"model", "options", "keep_alive", "format", "prompt", "stream"}
    ]
    assert plain == [folded(name) for name in plain]
    assert len(set(plain)) == len(plain)


@given(bodies(), st.sampled_from(NATIVE))
def test_what_was_sent_on_would_be_sent_on_as_it_is(body, path):
    try:
        once = demand(body, path).body
    except RefusalError:
        return
    again = demand(once, path)
    assert (again.body, again.dropped) == (once, ())
