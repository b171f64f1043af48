"""Frames in few words, for sentences about differences: those of the recording, and those that came."""

import contextlib
import json

from nkn.recorded import recording

_ENDS = {"tcp_fin": "FIN", "tcp_rst": "RST"}


def of_event(event):
    """A recorded frame."""
    if event.op == "close":
        return f"close {closing(event.rest)}"
    if event.op == "text":
        return _text(event.rest.get("json", {}))
    if event.op == "binary" and event.said is not None:
        return content(event.said.contents[0]) if event.said.contents else "receipt"
    return _ENDS.get(event.op, event.op)


def of_got(got):
    """A frame that came."""
    if got.op == "close":
        return f"close {closing_of(got.data)}"
    if got.op == "text":
        with contextlib.suppress(ValueError):
            return _text(json.loads(got.data))
    if got.op == "binary":
        return f"message of {len(got.data)} bytes"
    return _ENDS.get(got.op, got.op)


def content(one):
    """What one message says."""
    if one.kind == "ACK":
        return "ACK"
    data = one.data if isinstance(one.data, str) else one.data.hex()
    return f'message "{data}"'


def closing(rest):
    """A close frame's code and reason."""
    return f"{rest['code']} {rest.get('reason', '')}".strip() if "code" in rest else "without code"


def closing_of(data):
    """The same from its bytes."""
    return closing({"code": int.from_bytes(data[:2], "big"), "reason": data[2:].decode()} if data else {})


def close_payload(rest):
    """The bytes of a close frame."""
    code = rest.get("code")
    return code.to_bytes(2, "big") + rest.get("reason", "").encode() if code else b""


def greeting(challenge):
    """An authChallenge, which the file often shortens."""
    return {
        "Action": "authChallenge",
        "Challenge": challenge,
        "Desc": "SUCCESS",
        "Error": 0,
        "Result": "",
        "Version": 1,
    }


def accepted(rest):
    """The answer to setClient that `registered` stands for."""
    node = recording.NODES[rest["node"]]
    told = {name: node[name] for name in ("addr", "id", "pubkey", "rpcAddr", "sdp")}
    block_hash = rest.get("block_hash", node["first_block_hash"])
    result = {"node": told, "sigChainBlockHash": block_hash}
    return {"Action": "setClient", "Desc": "SUCCESS", "Error": 0, "Result": result, "Version": 1}


def _text(body):
    said = body.get("Action") or body.get("Desc", "") if isinstance(body, dict) else ""
    return f"text {said}".strip()
