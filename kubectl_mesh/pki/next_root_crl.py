"""The CRL of a root that is trusted and does not sign yet: every proxy has it before the first
chain that needs it.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.pki.crl import CRL_PATH, CrlIndex, CrlSigner, is_crl_valid, load_crls, sign_crl
from kubectl_mesh.pki.rotation import sha256_fingerprint
from kubectl_mesh.text import mesh_command
from kubectl_mesh.x509.certificates import (
    describe_certificate,
    is_for_key,
    load_certificates,
    load_key,
)
from kubectl_mesh.x509.layout import CRL_FILE, NEXT_ROOT_KEY, ROOT_CERT


def add_next_root_crl(pem: bytes, files: Mapping[str, bytes], now: datetime) -> bytes:
    """The bundle `pem` with a CRL of the root whose key waits in `files`; as it is where none
    waits.
    """
    if NEXT_ROOT_KEY not in files:
        return pem
    key = load_key(f"certs/{NEXT_ROOT_KEY}", files[NEXT_ROOT_KEY], for_istio=False)
    root = next(
        (
            c
            for c in load_certificates(f"certs/{ROOT_CERT}", files[ROOT_CERT])
            if is_for_key(c, key)
        ),
        None,
    )
    crls = CrlIndex(load_crls(CRL_PATH, pem))
    old_crl = crls.find_newest(root) if root is not None else None
    others = [c for c in crls.crls if c != old_crl]
    next_updates = [
        c.next_update_utc
        for c in others
        if c.next_update_utc is not None and c.next_update_utc > now
    ]
    if root is None or not next_updates:
        return pem
    # As long as those of today's CAs; those of yesterday's end before.
    new_crl = sign_crl(
        CrlSigner(root, key, f"certs/{NEXT_ROOT_KEY}"),
        list(old_crl or ()),
        crls.highest_number(),
        now.replace(microsecond=0),
        max(next_updates),
    )
    return new_crl + b"".join(c.public_bytes(serialization.Encoding.PEM) for c in others)


def find_idle_roots(
    roots: Sequence[x509.Certificate], signers: Sequence[CrlSigner]
) -> list[x509.Certificate]:
    """The roots that are trusted and sign nothing; whoever holds one may give its CRL ahead."""
    signs = [s.certificate for s in signers]
    return [root for root in roots if root not in signs]


def missing_crl_problems(
    files: Mapping[str, bytes], fingerprints: Collection[str], now: datetime
) -> list[Problem]:
    """That proxies go by CRLs and have none of a root in `fingerprints`, one of which is to sign
    next.
    """
    if CRL_FILE not in files:
        return []
    crls = CrlIndex(load_crls(CRL_PATH, files[CRL_FILE]))
    roots = [
        c
        for c in load_certificates(f"certs/{ROOT_CERT}", files[ROOT_CERT])
        if sha256_fingerprint(c) in fingerprints
    ]
    if not roots or any(
        (crl := crls.find_newest(root)) is not None and is_crl_valid(crl, now) for root in roots
    ):
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
    return [Problem(Place(CRL_PATH), what, fix, "crl-complete", code="crl-missing-for-next-root")]
