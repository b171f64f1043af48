"""farm.routes: which requests need a runner, and in whose form their errors are."""

from __future__ import annotations

import pytest

from farm import routes
from farm.api.words import Shape
from farm.routes import ROUTES, Work
from wire.endmark import NEEDS_MARK


@pytest.mark.parametrize(
    ("path", "work", "shape", "streams", "json"),
    [
        ("/api/generate", Work.TEXT, Shape.NATIVE, True, True),
        ("/api/chat", Work.TEXT, Shape.NATIVE, True, True),
        ("/api/embed", Work.VECTORS, Shape.NATIVE, False, True),
        ("/api/embeddings", Work.VECTORS, Shape.NATIVE, False, True),
        ("/v1/chat/completions", Work.TEXT, Shape.OPENAI, False, True),
        ("/v1/completions", Work.TEXT, Shape.OPENAI, False, True),
        ("/v1/responses", Work.TEXT, Shape.OPENAI, False, True),
        ("/v1/messages", Work.TEXT, Shape.ANTHROPIC, False, True),
        ("/v1/embeddings", Work.VECTORS, Shape.OPENAI, False, True),
        ("/v1/images/generations", Work.MEDIA, Shape.OPENAI, False, True),
        ("/v1/images/edits", Work.MEDIA, Shape.OPENAI, False, True),
        ("/v1/audio/transcriptions", Work.MEDIA, Shape.OPENAI, False, False),
    ],
)
def test_a_request_that_makes_a_model_work(path, work, shape, streams, json):
    route = routes.find("POST", path)
    assert route is not None
    assert (route.work, route.shape, route.streams, route.json) == (work, shape, streams, json)
    assert route.native is path.startswith("/api/")
    assert routes.shape_of(path) is shape
    assert routes.is_backend_s(path)
    assert not routes.is_own(path)


def test_the_table_above_is_the_whole_one():
    assert len(ROUTES) == 12


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/generate"),
        ("HEAD", "/api/chat"),
        ("post", "/api/chat"),
        ("OPTIONS", "/v1/responses"),
        ("POST", "/api/chat/"),
        ("POST", "/API/chat"),
        ("POST", "//api/chat"),
        ("POST", "/api/show"),
        ("POST", "/api/pull"),
        ("POST", "/api/blobs/sha256-0"),
        ("POST", "/v1/models"),
        ("POST", "/"),
    ],
)
def test_what_needs_no_slot(method, path):
    assert routes.find(method, path) is None


@pytest.mark.parametrize("path", ["/_health", "/health", "/metrics", "/_requests"])
def test_the_farm_s_own_paths_are_nobody_else_s(path):
    assert routes.is_own(path)
    assert not routes.is_backend_s(path)
    assert routes.find("POST", path) is None


@pytest.mark.parametrize(
    ("path", "theirs"),
    [("/", True), ("/api/tags", True), ("/v1/models", True), ("/api/blobs/sha256-0", True), ("/api", False),
     ("/v1", False), ("/apis/x", False), ("/_engine", False), ("/docs", False), ("", False)],
)  # fmt: skip
def test_the_backend_s_paths(path, theirs):
    assert routes.is_backend_s(path) is theirs


@pytest.mark.parametrize(
    ("path", "changes"),
    [("/api/pull", True), ("/api/pull/", True), ("/api/push", True), ("/api/create", True),
     ("/api/copy", True),
     ("/api/delete", True), ("/api/blobs/sha256-0", True), ("/api/me", True), ("/api/signout", True),
     ("/api/user/keys/x", True), ("/api/experimental/web_search", True), ("/api/chat", False),
     ("/api/generate", False), ("/api/show", False), ("/api/tags", False), ("/api/ps", False),
     ("/api/version", False), ("/v1/models", False), ("/", False), ("/_health", False)],
)  # fmt: skip
def test_what_changes_the_machine_or_spends_the_account(path, changes):
    assert routes.changes(path) is changes
    assert routes.find("POST", path) is None or not changes


@pytest.mark.parametrize(
    ("path", "shape"),
    [("/v1/models", Shape.OPENAI), ("/v1/messages/count", Shape.OPENAI), ("/v1/messages", Shape.ANTHROPIC),
     ("/api/tags", Shape.NATIVE), ("/", Shape.NATIVE), ("/v1", Shape.NATIVE), ("/nothing", Shape.NATIVE)],
)  # fmt: skip
def test_errors_under_a_path_have_its_form(path, shape):
    assert routes.shape_of(path) is shape


def test_streams_that_say_when_they_are_complete_are_streams_of_text():
    assert {path for path, route in ROUTES.items() if route.work is Work.TEXT} == NEEDS_MARK


def test_model_files_go_to_the_backend():
    assert routes.is_backend_s(routes.UPLOADS + "sha256-0")
