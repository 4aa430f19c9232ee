"""The CRL of a root that is trusted and does not sign yet: every proxy has it before the first chain that needs it."""

from collections.abc import Mapping
from datetime import datetime

from cryptography.hazmat.primitives import serialization

from kubectl_mesh.pki.crl import NAME, Listed, Signer, load, sign
from kubectl_mesh.pki.names import NEXT_KEY, ROOT_CERT
from kubectl_mesh.pki.read import load_certificates, load_key, same_key


def ahead(pem: bytes, kept: Mapping[str, bytes], now: datetime) -> bytes:
    """The bundle `pem` with a CRL of the root whose key waits in `kept`; as it is where none waits."""
    if NEXT_KEY not in kept:
        return pem
    key = load_key(f"certs/{NEXT_KEY}", kept[NEXT_KEY], for_istio=False)
    root = next((c for c in load_certificates(f"certs/{ROOT_CERT}", kept[ROOT_CERT]) if same_key(c, key)), None)
    there = Listed(load(NAME, pem))
    before = there.of(root) if root is not None else None
    others = [c for c in there.crls if c != before]
    lives = [c.next_update_utc for c in others if c.next_update_utc is not None and c.next_update_utc > now]
    if root is None or not lives:
        return pem
    # As long as those of today's CAs; those of yesterday's end before.
    made = sign(Signer(root, key, f"certs/{NEXT_KEY}"), list(before or ()), there.number(), now.replace(microsecond=0), max(lives))
    return made + b"".join(c.public_bytes(serialization.Encoding.PEM) for c in others)
