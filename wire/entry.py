"""What an entry point says when its packages are not there: a sentence instead of a traceback."""

from __future__ import annotations

_OWN = frozenset({"wire", "relay", "farm"})
_PACKAGES = {"google": "protobuf", "nacl": "PyNaCl", "dotenv": "python-dotenv"}
"""Import name → the name it is installed by, where they differ."""


def missing(error: ModuleNotFoundError, module: str) -> str:
    """The sentence for a package that is not installed; a missing part of our own is raised again.

    Args:
        module: what the user wanted to run, "relay" or "farm".
    """
    name = (error.name or "").partition(".")[0]
    if not name or name in _OWN:
        raise error
    package = _PACKAGES.get(name, name)
    return (
        f"The Python package {package} is not installed for this Python. In this folder `make demo` "
        f"installs everything into .venv; then run .venv/bin/python -m {module}"
    )
