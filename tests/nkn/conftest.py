"""Hypothesis for the pure modules: few examples, no clock, no files, the same ones in CI."""

import os

import hypothesis

hypothesis.settings.register_profile(
    "floors",
    max_examples=50,
    deadline=None,
    database=None,
    derandomize=os.environ.get("CI") == "true",
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("floors")
