"""A file of prompts, read: JSON lines with `prompt`, or a prompt a line.

Pure; called by `settings`.
"""

from __future__ import annotations

from typing import Any

from wire import jsontext


def parse(text: str) -> tuple[str, ...]:
    """The prompts in order; blank lines are passed over.

    The file is JSONL if its first line that is not blank begins with a brace.

    Raises:
        ValueError: a sentence with the number of the line, or that there is none.
    """
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise ValueError("holds no prompt")
    if not lines[0][1].lstrip().startswith("{"):
        return tuple(line.strip() for _, line in lines)
    return tuple(_prompt(number, line) for number, line in lines)


def _prompt(number: int, line: str) -> str:
    try:
        value: Any = jsontext.loads(line)
    except jsontext.JsonError as error:
        raise ValueError(f"line {number} is not JSON: {error}") from error
    prompt = value.get("prompt") if isinstance(value, dict) else None
    if not isinstance(prompt, str) or not prompt.strip():
        raise ValueError(f'line {number} has no text in "prompt"')
    return prompt
