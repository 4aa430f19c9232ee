"""The CRL of a root that is trusted and does not sign yet: every proxy has it before the first
chain that needs it.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.pki.crl import NAME, Listed, Signer, alive, load, sign
from kubectl_mesh.pki.rotation import fingerprint
from kubectl_mesh.text import mesh_command
from kubectl_mesh.x509.certificates import (
    describe_certificate,
    is_for_key,
    load_certificates,
    load_key,
)
from kubectl_mesh.x509.layout import CRL_FILE, NEXT_ROOT_KEY, ROOT_CERT


def ahead(pem: bytes, kept: Mapping[str, bytes], now: datetime) -> bytes:
    """The bundle `pem` with a CRL of the root whose key waits in `kept`; as it is where none
    waits.
    """
    if NEXT_ROOT_KEY not in kept:
        return pem
    key = load_key(f"certs/{NEXT_ROOT_KEY}", kept[NEXT_ROOT_KEY], for_istio=False)
    root = next(
        (c for c in load_certificates(f"certs/{ROOT_CERT}", kept[ROOT_CERT]) if is_for_key(c, key)),
        None,
    )
    there = Listed(load(NAME, pem))
    before = there.of(root) if root is not None else None
    others = [c for c in there.crls if c != before]
    lives = [
        c.next_update_utc
        for c in others
        if c.next_update_utc is not None and c.next_update_utc > now
    ]
    if root is None or not lives:
        return pem
    # As long as those of today's CAs; those of yesterday's end before.
    made = sign(
        Signer(root, key, f"certs/{NEXT_ROOT_KEY}"),
        list(before or ()),
        there.number(),
        now.replace(microsecond=0),
        max(lives),
    )
    return made + b"".join(c.public_bytes(serialization.Encoding.PEM) for c in others)


def idle(roots: Sequence[x509.Certificate], wanted: Sequence[Signer]) -> list[x509.Certificate]:
    """The roots that are trusted and sign nothing; whoever holds one may give its CRL ahead."""
    signs = [s.certificate for s in wanted]
    return [root for root in roots if root not in signs]


def lacking(kept: Mapping[str, bytes], marks: Collection[str], now: datetime) -> list[Problem]:
    """That proxies go by CRLs and have none of a root in `marks`, one of which is to sign next."""
    if CRL_FILE not in kept:
        return []
    there = Listed(load(NAME, kept[CRL_FILE]))
    roots = [
        c
        for c in load_certificates(f"certs/{ROOT_CERT}", kept[ROOT_CERT])
        if fingerprint(c) in marks
    ]
    if not roots or any((crl := there.of(root)) is not None and alive(crl, now) for root in roots):
        return []
    what = (
        f"has no valid CRL of {describe_certificate(roots[0]).subject}, which is to sign next:"
        " proxies would"
        " refuse what it signs"
    )
    fix = (
        f"have its holder sign one, an empty one too; take it in with"
        f" `{mesh_command('certs crl --add FILE')}`, render and apply"
    )
    return [Problem(Place(NAME), what, fix, "crl-complete", code="crl-missing-for-next-root")]
