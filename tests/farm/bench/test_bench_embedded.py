"""The bench on a real model behind the farm: what the server tells of itself fits what was measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from farm.bench import cli

pytestmark = pytest.mark.engine


@pytest.mark.parametrize("api", ["native", "openai"])
def test_one_two_and_four_clients(farm: Any, tmp_path: Path, api: str) -> None:
    out = tmp_path / "out.json"
    words = [farm.url, "--api", api, "--concurrency", "1,2,4", "--requests", "4", "--max-tokens", "8"]
    assert cli.main([*words, "--prompt", "vi or emacs?", "--json", str(out)]) == 0
    found = json.loads(out.read_text(encoding="utf-8"))
    assert (found["target"]["api"], found["target"]["model"]) == (api, "smollm2:135m")
    assert [step["level"] for step in found["steps"]] == [1, 2, 4]
    for step in found["steps"]:
        assert (step["requests"], step["ok"], step["errors"]) == (4, 4, {})
        assert (step["tokens_from"], 4 <= step["tokens"] <= 32) == ("server", True)
        assert 0 < step["ttft_s"]["min"] <= step["latency_s"]["max"] <= step["wall_s"]
        assert step["requests_per_s"] == pytest.approx(4 / step["wall_s"])
        if api == "native":
            assert 0 <= step["queue_s"]["min"] <= step["queue_s"]["max"] <= step["latency_s"]["max"]
            assert 0 < step["outside_s"]["max"] < step["latency_s"]["max"]


def test_a_model_it_has_not(farm: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([farm.url, "--model", "no-such"]) == 1
    expected = f"farm bench: {farm.url} has no model 'no-such'; it has smollm2:135m\n"
    assert capsys.readouterr().err == expected
