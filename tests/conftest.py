"""Shared by all tests."""

from __future__ import annotations

import os

import hypothesis

hypothesis.settings.register_profile(
    "fast", max_examples=50, deadline=None, derandomize=os.environ.get("CI") == "true"
)
hypothesis.settings.load_profile("fast")
