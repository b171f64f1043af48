"""The one model of the embedded backend, as Ollama describes models.

Pure; the numbers are those of the GGUF file's header. Called by `app`, `ask` and `runner`.
"""

from __future__ import annotations

import re
from typing import Any

from farm.api import gojson
from farm.api.words import RefusalError, cloud_model, unknown_model
from farm.embedded.gguf import GgufHeader
from farm.model import SMOLLM2

NAME = "smollm2:135m"
"""Its name in lists; `model` fields of answers echo what was asked."""
FULL_NAME = f"registry.ollama.ai/library/{NAME}"
"""As Ollama spells it out where it tells what a model cannot do."""
NAMES = frozenset({"smollm2", "smollm2:latest", NAME})
VERSION = "0.24.0"
"""The Ollama whose answers ours were compared with."""
DIMENSIONS = 576
"""Length of its embeddings."""

TEMPLATE = (
    "{{- if .Messages }}{{ range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}"
    "<|im_start|>assistant\n{{ else }}{{ if .System }}<|im_start|>system\n{{ .System }}<|im_end|>\n{{ end }}"
    "<|im_start|>user\n{{ .Prompt }}<|im_end|>\n<|im_start|>assistant\n{{ end }}{{ .Response }}"
)
"""What `template` does, in the language of Modelfiles."""

_NAME = re.compile(
    r"(?:(?:(?:[^/]*://)?\w[\w.:-]{0,349}/)?\w[\w-]{0,79}/)?\w[\w.-]{0,79}(?::\w[\w.-]{0,79})?", re.ASCII
)
_DEFAULT_PLACE = re.compile(r"\A(?:[^/]*://)?(?:registry\.ollama\.ai/)?library/", re.IGNORECASE)
_SOURCE = re.compile(
    r"(.*)(?::\s*(?P<tag>cloud|local)\s*|(?<=:)(?P<kept>[^:/]*)-cloud)", re.IGNORECASE | re.DOTALL
)
CONTEXT_MAX = 8192
"""Tokens it was trained for."""
_DETAILS: dict[str, Any] = {
    "parent_model": "",
    "format": "gguf",
    "family": "llama",
    "families": ["llama"],
    "parameter_size": "134.52M",
    "quantization_level": "Q4_1",
}
_INFO: dict[str, Any] = {
    "general.architecture": "llama",
    "general.basename": "smollm2",
    "general.file_type": 3,
    "general.finetune": "8k-lc100k-mix1-ep2",
    "general.languages": None,
    "general.license": "apache-2.0",
    "general.organization": "HuggingFaceTB",
    "general.parameter_count": 134515008,
    "general.quantization_version": 2,
    "general.size_label": "135M",
    "general.type": "model",
    "llama.attention.head_count": 9,
    "llama.attention.head_count_kv": 3,
    "llama.attention.layer_norm_rms_epsilon": 0.00001,
    "llama.block_count": 30,
    "llama.context_length": CONTEXT_MAX,
    "llama.embedding_length": DIMENSIONS,
    "llama.feed_forward_length": 1536,
    "llama.rope.dimension_count": 64,
    "llama.rope.freq_base": 100000,
    "llama.vocab_size": 49152,
    "tokenizer.ggml.add_bos_token": False,
    "tokenizer.ggml.add_space_prefix": False,
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.eos_token_id": 2,
    "tokenizer.ggml.merges": None,
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.padding_token_id": 2,
    "tokenizer.ggml.pre": "smollm",
    "tokenizer.ggml.token_type": None,
    "tokenizer.ggml.tokens": None,
    "tokenizer.ggml.unknown_token_id": 0,
}


def is_name(name: str) -> bool:
    """Whether `name` could be a model's: [host/][namespace/]model[:tag]."""
    return _NAME.fullmatch(name) is not None


def check(name: str, *, empty: RefusalError, cloud: str = "remote model is unavailable") -> str:
    """The name without what tells its source (`:local`).

    Args:
        name: as asked.
        empty: what to say to no name at all.
        cloud: what Ollama would have asked its vendor for.

    Raises:
        RefusalError: 400 for what is no name, 403 for one that real Ollama would send to its vendor.
    """
    bare = name.strip()
    if not bare:
        raise empty
    base, source = _parted(bare)
    if source and _parted(base)[1]:
        raise RefusalError(400, f"use either :local or :cloud, not both: {gojson.quoted(bare)}")
    if not is_name(base):
        raise RefusalError(400, "invalid model name")
    if source == "cloud":
        raise cloud_model(cloud)
    return base


def known(base: str) -> bool:
    """Whether `base`, out of `check`, is the model, in any case."""
    return _DEFAULT_PLACE.sub("", base, count=1).lower() in NAMES


def require(name: str, *, empty: RefusalError, cloud: str = "remote model is unavailable") -> None:
    """Refuse every name but the model's.

    Raises:
        RefusalError: as `check`; 404 for a model that is not here.
    """
    if not known(check(name, empty=empty, cloud=cloud)):
        raise unknown_model(name)


def _parted(name: str) -> tuple[str, str]:
    """The name without its source, and that: "cloud", "local" or ""."""
    found = _SOURCE.fullmatch(name)
    if found is None:
        return name, ""
    return found[1] + (found["kept"] or ""), (found["tag"] or "cloud").lower()


def tags(modified_at: str) -> dict[str, Any]:
    """The body of /api/tags."""
    entry = {"name": NAME, "model": NAME, "modified_at": modified_at, "size": SMOLLM2.size_b}
    return {"models": [entry | {"digest": SMOLLM2.sha256, "details": _DETAILS}]}


def loaded(name: str, *, size_b: int, expires_at: str, slot_tokens: int) -> dict[str, Any]:
    """One entry of /api/ps: `size_b` is the engine's memory in bytes, all of it in RAM."""
    entry: dict[str, Any] = {"name": name, "model": name, "size": size_b, "digest": SMOLLM2.sha256}
    entry |= {"details": _DETAILS, "expires_at": expires_at, "size_vram": 0}
    return entry | {"context_length": slot_tokens}


def show(modified_at: str, slot_tokens: int, header: GgufHeader, *, verbose: bool = False) -> dict[str, Any]:
    """The body of /api/show; `verbose` with the lists of words, more than a megabyte of them."""
    digest = f"sha256-{SMOLLM2.sha256}"
    modelfile = (
        '# Modelfile generated by "ollama show"\n'
        "# To build a new Modelfile based on this, replace FROM with:\n"
        f'# FROM {NAME}\n\nFROM {digest}\nTEMPLATE "{TEMPLATE}"\n'
        f"PARAMETER num_ctx {slot_tokens}\nPARAMETER stop <|im_end|>\n"
    )
    lists = {name: header.lists.get(name) for name, value in _INFO.items() if value is None}
    return {
        "modelfile": modelfile,
        "parameters": f'{"num_ctx":<31}{slot_tokens}\n{"stop":<31}"<|im_end|>"',
        "template": TEMPLATE,
        "details": _DETAILS | {"parent_model": digest},
        "model_info": _INFO | (lists if verbose else {}),
        "tensors": list(header.tensors),
        "capabilities": ["completion"],
        "modified_at": modified_at,
    }


def openai_model(created: int) -> dict[str, Any]:
    """One entry of /v1/models; `created` in Unix seconds."""
    return {"id": NAME, "object": "model", "created": created, "owned_by": "library"}
