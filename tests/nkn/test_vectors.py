"""Vectors made by npm nkn-sdk 1.3.6 with fixed randomness, each value reproduced by our functions.

A check is (name, what we make, what the SDK made); what we make is a function, so that a failure shows as
one failed test.
"""

import hashlib
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import nacl.bindings as sodium
import pytest

from relay.nkn import address, envelope, payload, seal, sigchain
from relay.nkn import messages_pb2 as pb
from relay.nkn.identity import Identity, KeyFault, verify
from relay.nkn.session import NodeSession, Say

V = json.loads((Path(__file__).parent / "nkn-vectors.json").read_text())
STUDY = 163
"""How many checks the study of the protocol derived from the same file."""

PEOPLE = {name: Identity(bytes.fromhex(keys["seed"])) for name, keys in V["identities"].items()}
ALICE, BOB = PEOPLE["alice"], PEOPLE["bob"]


class Check(NamedTuple):
    name: str
    ours: Callable[[], Any]
    sdk: Any


def raw(text: str) -> bytes:
    return bytes.fromhex(text)


def refused(attempt: Callable[[], Any]) -> str:
    """The name of the error, or the result's repr if there was none."""
    try:
        return repr(attempt())
    except ValueError as error:
        return type(error).__name__


def identities() -> Iterator[Check]:
    for name, keys in V["identities"].items():
        me = PEOPLE[name]
        yield Check(f"{name} public", me.public_key.hex, keys["ed25519_public"])
        yield Check(f"{name} secret", lambda me=me: (me.seed + me.public_key).hex(), keys["ed25519_secret64"])
        yield Check(f"{name} signs with", me._secret.hex, keys["ed25519_secret64"])
        yield Check(f"{name} curve secret", me._curve.hex, keys["curve25519_secret"])
        yield Check(
            f"{name} curve public",
            lambda me=me: sodium.crypto_scalarmult_base(me._curve).hex(),
            keys["curve25519_public"],
        )


def addresses() -> Iterator[Check]:
    for name, one in V["addresses"].items():
        text = one["addr_utf8"]
        yield Check(f"{name} id", lambda t=text: address.client_id(t).hex(), one["client_id_sha256"])
        yield Check(f"{name} key", lambda t=text: address.public_key(t).hex(), one["pubkey"])
        yield Check(f"{name} normal", lambda t=text: address.normalise(t), text)
        identifier = text.rpartition(".")[0]
        yield Check(f"{name} joined", lambda i=identifier, k=one["pubkey"]: address.join(i, k), text)


def prefixes() -> Iterator[Check]:
    for number, one in enumerate(V["munging"]):
        index = -1 if one["index"] == "" else one["index"]
        # The SDK's empty address stands for an identifier; ours always ends in a key.
        bare = one["addr_utf8"] == ""
        base = ALICE.public_key.hex() if bare else one["addr_utf8"]
        want = f"{one['result_utf8']}.{base}" if bare else one["result_utf8"]
        yield Check(f"munging {number}", lambda b=base, i=index: address.add_prefix(b, i), want)
    for number, one in enumerate(V["demunging"]):
        split = lambda s=one["src_utf8"]: address.split_prefix(s)  # noqa: E731
        index = one["client_id_utf8"].strip("_")
        yield Check(f"demunging {number} rest", lambda f=split: f()[1], one["addr_utf8"])
        yield Check(f"demunging {number} index", lambda f=split: f()[0], int(index) if index else None)


def keys_and_signatures() -> Iterator[Check]:
    for pair, key in V["shared_keys"].items():
        mine, other = (PEOPLE[name] for name in pair.split("_"))
        yield Check(f"{pair} shared", lambda m=mine, o=other: m.shared_key(o.public_key).hex(), key)
        yield Check(
            f"{pair} shared, other end", lambda m=mine, o=other: o.shared_key(m.public_key).hex(), key
        )
    for one in V["varuint"]:
        yield Check(f"varuint {one['value']}", lambda v=one["value"]: sigchain.varuint(v).hex(), one["hex"])
    sig = V["signature"]
    message = hashlib.sha256(b"nkn signature test").digest()
    yield Check("message of the signature", message.hex, sig["message"])
    yield Check("signature", lambda: ALICE.sign(message).hex(), sig["signature"])
    yield Check("signature verifies", lambda: verify(ALICE.public_key, message, raw(sig["signature"])), True)
    yield Check("not with bob's key", lambda: verify(BOB.public_key, message, raw(sig["signature"])), False)


def auth_challenge() -> Iterator[Check]:
    auth = V["auth_challenge"]
    challenge, salt = raw(auth["challenge"]), raw(auth["client_salt"])
    digest = sigchain.challenge_digest(challenge, salt)
    yield Check("challenge digest", digest.hex, auth["hash"])
    yield Check("challenge signature", lambda: ALICE.sign(digest).hex(), auth["signature"])
    yield Check("challenge verifies", lambda: verify(ALICE.public_key, digest, raw(auth["signature"])), True)

    def answer() -> dict[str, Any]:
        session = NodeSession(ALICE, V["addresses"]["alice_id"]["addr_utf8"], b"", lambda _: salt, 0.0)
        (step,) = session.feed(auth["authChallenge_frame_json"], 0.0)
        assert isinstance(step, Say)
        return json.loads(step.text)

    for key, value in json.loads(auth["setClient_frame_json"]).items():
        yield Check(f"setClient {key}", lambda k=key: answer()[k], value)
    yield Check(
        "setClient has nothing else",
        lambda: sorted(answer()),
        sorted(json.loads(auth["setClient_frame_json"])),
    )


def ours_of(vector: dict[str, Any]) -> payload.Payload:
    """A vector's payload through our constructors."""
    data = raw(vector["data"])
    text = vector["type"] == payload.TEXT
    content = pb.TextData.FromString(data).text if text else data
    if vector["type"] in {payload.ACK, payload.SESSION}:
        plain = payload.Payload(payload.SESSION, data, raw(vector["message_id"]))
        return payload.ack(raw(vector["reply_to_id"])) if vector["type"] == payload.ACK else plain
    if vector["reply_to_id"]:
        return payload.reply(content, raw(vector["reply_to_id"]))
    return payload.message(content, raw(vector["message_id"]), no_reply=vector["no_reply"])


def payloads() -> Iterator[Check]:
    for name, one in V["payloads"].items():
        read = lambda s=one["serialized"]: payload.decode(raw(s))  # noqa: E731
        yield Check(f"{name} encoded", lambda o=one: ours_of(o).encode().hex(), one["serialized"])
        yield Check(f"{name} decoded", read, ours_of(one))
        yield Check(f"{name} type", lambda r=read: r().type, one["type"])
        yield Check(f"{name} id", lambda r=read: r().message_id.hex(), one["message_id"])
        yield Check(f"{name} reply to", lambda r=read: r().reply_to_id.hex(), one["reply_to_id"])
        yield Check(f"{name} no reply", lambda r=read: r().no_reply, one["no_reply"])


def messages() -> Iterator[Check]:
    texts = {name: raw(one["serialized"]) for name, one in V["payloads"].items()}
    plain = V["messages"]["unencrypted_text"]
    yield Check("plain", lambda: seal.plain(texts[plain["payload"]]).hex(), plain["serialized"])
    yield Check("plain read", lambda: seal.parse(raw(plain["serialized"])).payload, texts[plain["payload"]])

    one = V["messages"]["encrypted_single"]
    shared = ALICE.shared_key(BOB.public_key)
    sealed = lambda: seal.seal(texts[one["payload"]], shared, raw(one["nonce"]))  # noqa: E731
    yield Check("single ciphertext", lambda: seal.parse(sealed()).payload, raw(one["ciphertext"]))
    yield Check("single sealed", sealed, raw(one["serialized"]))
    for who, peer in ((BOB, ALICE), (ALICE, BOB)):
        yield Check(
            f"single opened by {who.public_key.hex()[:4]}",
            lambda w=who, p=peer: seal.unseal(
                seal.parse(raw(one["serialized"])), w.shared_key(p.public_key)
            ).hex(),
            one["sdk_decrypts_to"],
        )

    many = V["messages"]["encrypted_multi"]
    sealed_many = lambda: seal.seal_many(  # noqa: E731
        texts[many["payload"]],
        [ALICE.shared_key(PEOPLE[name].public_key) for name in many["to"]],
        payload_nonce=raw(many["payload_nonce"]),
        key=raw(many["symmetric_key"]),
        key_nonces=[raw(nonce) for nonce in many["key_nonces"]],
    )
    for at, name in enumerate(many["to"]):
        outer = lambda a=at: seal.parse(sealed_many()[a])  # noqa: E731
        yield Check(f"many for {name} sealed", lambda a=at: sealed_many()[a].hex(), many["serialized"][at])
        yield Check(f"many for {name} nonce", lambda o=outer: o().nonce.hex(), many["nonce_fields"][at])
        yield Check(
            f"many for {name} key", lambda o=outer: o().encrypted_key.hex(), many["encrypted_keys"][at]
        )
        yield Check(f"many for {name} ciphertext", lambda o=outer: o().payload.hex(), many["ciphertext"])
        yield Check(
            f"many opened by {name}",
            lambda a=at, n=name: seal.unseal(
                seal.parse(raw(many["serialized"][a])), PEOPLE[n].shared_key(ALICE.public_key)
            ).hex(),
            many["sdk_decrypts_to"][at],
        )


def outbound() -> Iterator[Check]:
    for name, one in V["outbound"].items():
        if "steps" not in one:
            unsigned = lambda o=one: envelope.read(raw(o["client_message"]))  # noqa: E731
            yield Check(f"{name} has none", lambda r=unsigned: r().block_hash, b"")
            continue
        me = PEOPLE[one["src_seed"]]
        head = sigchain.Head(one["nonce"], raw(one["block_hash"]), one["src_utf8"], raw(one["node_pubkey"]))
        bodies = [raw(body) for body in one["payloads"]]
        frame = lambda m=me, h=head, o=one, b=bodies: envelope.outbound(  # noqa: E731
            m, h, o["dests_utf8"], b, o["max_holding_seconds"]
        )
        for at, step in enumerate(one["steps"]):
            dest, size, tag = step["dest_utf8"], step["data_size"], f"{name} {at}"
            yield Check(f"{tag} size", lambda b=bodies, a=at: len(b[a if len(b) > 1 else 0]), size)
            yield Check(
                f"{tag} metadata", lambda h=head, d=dest, s=size: h.metadata(d, s).hex(), step["metadata"]
            )
            yield Check(
                f"{tag} element", lambda h=head: f"00{sigchain.varbytes(h.node_key).hex()}00", step["elem"]
            )
            yield Check(
                f"{tag} inner digest",
                lambda h=head, d=dest, s=size: hashlib.sha256(h.metadata(d, s)).hexdigest(),
                step["digest1"],
            )
            yield Check(f"{tag} digest", lambda h=head, d=dest, s=size: h.digest(d, s).hex(), step["digest2"])
            yield Check(
                f"{tag} signature",
                lambda f=frame, a=at: envelope.read(f()).signatures[a].hex(),
                step["signature"],
            )
        zipped = one["compression_type"] == pb.COMPRESSION_ZLIB
        outer = lambda f=frame: pb.ClientMessage.FromString(f())  # noqa: E731
        inner = lambda o=outer, z=zipped: zlib.decompress(o().message) if z else o().message  # noqa: E731
        yield Check(f"{name} inner", lambda i=inner: i().hex(), one["outbound_message"])
        yield Check(f"{name} compression", lambda o=outer: o().compression_type, one["compression_type"])
        if not zipped or zlib.compress(raw(one["outbound_message"])) in raw(one["client_message"]):
            # Other builds of zlib may write other bytes; the inflated ones above are what counts.
            yield Check(f"{name} frame", lambda f=frame: f().hex(), one["client_message"])
        read = lambda o=one: envelope.read(raw(o["client_message"]))  # noqa: E731
        yield Check(f"{name} dests read", lambda r=read: list(r().dests), one["dests_utf8"])
        yield Check(f"{name} payloads read", lambda r=read: list(r().payloads), bodies)
        yield Check(
            f"{name} holding read", lambda r=read: r().max_holding_seconds, one["max_holding_seconds"]
        )
        yield Check(f"{name} read back", lambda r=read, f=frame: r() == envelope.read(f()), True)


def receipts_and_inbound() -> Iterator[Check]:
    one = V["receipt"]
    prev = raw(one["prev_hash"])
    yield Check("receipt inner digest", lambda: hashlib.sha256(prev).hexdigest(), one["digest1"])
    yield Check("receipt digest", lambda: sigchain.receipt_digest(prev).hex(), one["digest2"])
    yield Check("receipt frame", lambda: envelope.receipt(BOB, prev).hex(), one["client_message"])
    read = lambda: envelope.read(raw(one["client_message"]))  # noqa: E731
    yield Check("receipt signature", lambda: read().signature, raw(one["signature"]))
    yield Check("receipt hash", lambda: read().prev_hash, prev)
    yield Check(
        "receipt body",
        lambda: pb.ClientMessage.FromString(envelope.receipt(BOB, prev)).message,
        raw(one["receipt"]),
    )
    for name, wanted in V["inbound"].items():
        got = lambda w=wanted: envelope.read(raw(w["client_message"]))  # noqa: E731
        yield Check(f"inbound {name} src", lambda g=got: g().src, wanted["src_utf8"])
        yield Check(f"inbound {name} prev hash", lambda g=got: g().prev_hash.hex(), wanted["prev_hash"])
        yield Check(
            f"inbound {name} made", lambda g=got: envelope.inbound(g()).hex(), wanted["client_message"]
        )
        yield Check(
            f"inbound {name} opened",
            lambda g=got: seal.unseal(seal.parse(g().payload), BOB.shared_key(ALICE.public_key)).hex(),
            V["payloads"]["text"]["serialized"],
        )


def negatives() -> Iterator[Check]:
    bad = V["negative"]
    for name in ("tampered_ciphertext", "short_nonce", "wrong_recipient"):
        reader = PEOPLE[bad[name].get("opened_by", "bob")]
        yield Check(
            f"{name} refused",
            lambda n=name, r=reader: refused(
                lambda: seal.unseal(seal.parse(raw(bad[n]["serialized"])), r.shared_key(ALICE.public_key))
            ),
            seal.SealError.__name__,
        )
    off_curve = raw(bad["pubkey_not_on_curve"]["pubkey"])
    yield Check(
        "key off the curve refused", lambda: refused(lambda: ALICE.shared_key(off_curve)), KeyFault.__name__
    )


GROUPS = (
    identities, addresses, prefixes, keys_and_signatures, auth_challenge, payloads, messages, outbound,
    receipts_and_inbound, negatives,
)  # fmt: skip
CHECKS = [check for group in GROUPS for check in group()]


@pytest.mark.parametrize("check", CHECKS, ids=[check.name for check in CHECKS])
def test_ours_is_what_the_sdk_made(check):
    assert check.ours() == check.sdk


def test_there_are_at_least_as_many_checks_as_the_study_made_and_none_twice():
    assert len(CHECKS) >= STUDY
    assert len({check.name for check in CHECKS}) == len(CHECKS)


def test_no_part_of_the_file_is_left_out():
    used = {
        "identities", "addresses", "munging", "demunging", "shared_keys", "varuint", "signature",
        "auth_challenge", "payloads", "messages", "outbound", "receipt", "inbound", "negative",
    }  # fmt: skip
    assert set(V) - {"meta"} == used
