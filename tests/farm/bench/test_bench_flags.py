"""What the command line refuses, in one sentence, before anything is asked; and what it makes of the rest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from farm.bench import cli, limits, settings
from farm.bench.plan import Api, Bounds, Endpoint, Kind, Plan, Step, Target


def plan(*words: str) -> Plan:
    return settings.check(cli.parser().parse_args(words))


def test_defaults() -> None:
    assert plan() == Plan(
        target=Target("http://127.0.0.1:8080", None, None, None),
        steps=tuple(Step(Kind.CLOSED, count) for count in (1, 2, 4, 8)),
        bounds=Bounds(16, None),
        prompts=("Why is the sky blue?",),
        max_tokens=128,
        seed=1,
        warmup=1,
        timeout_s=600.0,
        json_out=None,
        plot_out=None,
    )
    assert all(limits.REQUESTS % step.level == 0 for step in plan().steps)


def test_everything_said(tmp_path: Path) -> None:
    prompts, out, drawn = (str(tmp_path / name) for name in ("p.jsonl", "o.json", "o.SVG"))
    Path(prompts).write_text('\ufeff{"prompt": "a"}\n{"prompt": "b"}\n', encoding="utf-8")
    words = (
        *("https://Host:1/base/v1/", "--api", "openai", "--model", "m", "--endpoint", "generate"),
        *("--rate", "0.5,2", "--duration", "3", "--prompts", prompts, "--max-tokens", "0", "--seed", "9"),
        *("--warmup", "0", "--timeout", "1.5", "--json", out, "--plot", drawn),
    )
    assert plan(*words) == Plan(
        target=Target("https://host:1/base", Api.OPENAI, Endpoint.GENERATE, "m"),
        steps=(Step(Kind.OPEN, 0.5), Step(Kind.OPEN, 2.0)),
        bounds=Bounds(None, 3.0),
        prompts=("a", "b"),
        max_tokens=0,
        seed=9,
        warmup=0,
        timeout_s=1.5,
        json_out=out,
        plot_out=drawn,
    )
    assert list(tmp_path.iterdir()) == [Path(prompts)], "nothing is written before the load"


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        (("ftp://a",), "URL: 'ftp://a' must begin with http:// or https://"),
        (("http://u:p@a",), "URL: must not hold a user name or password"),
        (("http://a:99999",), "URL: 'http://a:99999' has a port that is not between 0 and 65535"),
        (("--model", " "), "--model: must be a model's name"),
        (("--concurrency", "1,x"), "--concurrency: '1,x' is no list of numbers such as 1,2,4"),
        (("--concurrency", "1.5"), "--concurrency: '1.5' is no list of numbers such as 1,2,4"),
        (("--concurrency", "0"), "--concurrency: must be 1 to 512"),
        (("--concurrency", "513", "--requests", "600"), "--concurrency: must be 1 to 512"),
        (("--concurrency", "2,2"), "--concurrency: names a number twice"),
        (("--concurrency", ",".join(map(str, range(1, 34)))), "--concurrency: takes at most 32 numbers"),
        (("--concurrency", "8", "--requests", "7"), "--requests: 7 are too few for 8 clients"),
        (("--rate", "0"), "--rate: must be more than 0 and at most 1000"),
        (("--rate", "nan"), "--rate: must be more than 0 and at most 1000"),
        (("--rate", "inf"), "--rate: must be more than 0 and at most 1000"),
        (("--rate", ""), "--rate: '' is no list of numbers such as 1,2,4"),
        (("--requests", "0"), "--requests: must be 1 to 100000"),
        (("--duration", "-1"), "--duration: must be more than 0 and at most 86400"),
        (("--max-tokens", "-1"), "--max-tokens: must be 0 to 1000000"),
        (("--seed", "-1"), "--seed: must be 0 to 2147483647"),
        (("--warmup", "1001"), "--warmup: must be 0 to 1000"),
        (("--timeout", "0"), "--timeout: must be more than 0 and at most 86400"),
        (("--prompt", " "), "--prompt: is empty"),
        (("--prompts", "{dir}/none"), "--prompts: {dir}/none cannot be read: No such file or directory"),
        (("--prompts", "{dir}"), "--prompts: {dir} cannot be read: Is a directory"),
        (("--prompts", "{dir}/empty"), "--prompts: {dir}/empty holds no prompt"),
        (("--prompts", "{dir}/latin"), "--prompts: {dir}/latin is not UTF-8"),
        (("--json", "{dir}"), "--json: {dir} is a folder"),
        (
            ("--json", "{dir}/no/o.json"),
            "--json: {dir}/no/o.json cannot be written: No such file or directory",
        ),
        (("--json", "{dir}/empty/o"), "--json: {dir}/empty/o cannot be written: Not a directory"),
        (("--plot", "{dir}/no/o.png"), "--plot: {dir}/no/o.png cannot be written: No such file or directory"),
        (("--plot", "o.pdf"), "--plot: o.pdf must end in .png or .svg"),
        (("--compare", "{dir}/a", "{dir}/a"), "--compare: {dir}/a cannot be read: No such file or directory"),
        (
            ("--compare", "{dir}/empty", "b"),
            "--compare: {dir}/empty: Expecting value: line 1 column 1 (char 0)",
        ),
        (("--compare", "{dir}/object", "b"), "--compare: {dir}/object: is no result of `farm bench --json`"),
        (("--compare", "{dir}/latin", "b"), "--compare: {dir}/latin: 'utf-8' codec can't decode byte 0xe4"),
        (("--compare", "a", "b", "--json", "c"), "--json: --compare measures nothing that could be written"),
        (("--compare", "a", "b", "--plot", "c"), "--plot: c must end in .png or .svg"),
    ],
)
def test_what_cannot_be_used_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], refusal: str
) -> None:
    for name, data in (("empty", b""), ("latin", b"\xe4"), ("object", b"{}")):
        (tmp_path / name).write_bytes(data)
    assert cli.main([word.replace("{dir}", str(tmp_path)) for word in words]) == 2
    told = capsys.readouterr()
    assert told.err.startswith(f"farm bench: {refusal.replace('{dir}', str(tmp_path))}")
    assert told.err.count("\n") == 1
    assert told.out == ""


@pytest.mark.parametrize(
    "words",
    [
        ("--rate", "1", "--concurrency", "1"),
        ("--requests", "1", "--duration", "1"),
        ("--prompt", "a", "--prompts", "b"),
        ("--api", "grpc"),
        ("--endpoint", "embed"),
        ("--requests", "many"),
        ("--compare", "a"),
        ("--what",),
    ],
)
def test_what_the_parser_refuses(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(list(words))
    assert left.value.code == 2
    assert "python -m farm bench: error: " in capsys.readouterr().err


def test_a_larger_prompt_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PROMPTS_MAX_B", 1 << 20)
    large = tmp_path / "large"
    large.write_bytes(b"x" * ((1 << 20) + 1))
    with pytest.raises(settings.SettingsFault, match="is larger than 1 MiB"):
        plan("--prompts", str(large))


@pytest.mark.parametrize(("value", "found"), [("", None), (" ", None), ("abc", "abc"), (" abc\n", "abc")])
def test_the_key(value: str, found: str | None) -> None:
    assert settings.key({settings.KEY_VARIABLE: value}) == found
    assert settings.key({}) is None


@pytest.mark.parametrize("value", ["a\nb", "schlüssel", "a\x00b"])
def test_a_key_that_no_header_holds_is_refused_and_not_shown(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        settings.SettingsFault, match="holds a character that no HTTP header may hold"
    ) as refused:
        settings.key({settings.KEY_VARIABLE: value})
    assert value not in str(refused.value)


def test_compare_names_the_file_that_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"schema": "farm-bench/1", "steps": 5}))
    assert cli.main(["--compare", str(path), str(path)]) == 2
    assert capsys.readouterr().err == f"farm bench: --compare: {path}: the file lacks 'started_at'\n"
