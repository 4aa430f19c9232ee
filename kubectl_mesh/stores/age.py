"""age (C2SP/C2SP: age.md): who may open what is sealed, the data key wrapped for each of them, and
the identities that unwrap it.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache

import pyrage

from kubectl_mesh.errors import MeshError, Place, Problem

_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


@lru_cache(maxsize=4096)
def is_recipient(recipient: str) -> bool:
    """Whether a text is the public half of an age identity, checksum and all, and one with which a
    secret can be shared.
    """
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

    try:
        pyrage.x25519.Recipient.from_str(recipient)
    except pyrage.RecipientError:
        return False
    # A point of low order gives everybody the same secret (RFC 7748, section 6.1): age ends on one,
    # with a panic that is no error of Python's.
    number = 0
    for character in recipient.lower().removeprefix("age1")[:52]:
        number = number << 5 | _BECH32.index(character)
    try:
        X25519PrivateKey.from_private_bytes(bytes(range(32))).exchange(
            X25519PublicKey.from_public_bytes((number >> 4).to_bytes(32, "big"))
        )
    except ValueError:
        return False
    return True


def wrap_data_key(key: bytes, recipients: tuple[str, ...]) -> str:
    """The data key for each recipient, encrypted by age, as the block `age` of a file."""
    return age_block(
        {
            r: pyrage.encrypt(key, [pyrage.x25519.Recipient.from_str(r)], armored=True).decode()
            for r in recipients
        }
    )


def age_block(stanzas: Mapping[str, str]) -> str:
    """The wrapped keys by recipient, as the block `age` of a SOPS file."""
    return "  age:\n" + "".join(
        f'  - recipient: "{recipient}"\n    enc: |\n'
        + "".join(f"      {line}\n" for line in enc.splitlines())
        for recipient, enc in stanzas.items()
    )


def read_identities(name: str, body: bytes) -> Callable[[bytes], bytes | None]:
    """What unwraps data keys with the identities of a file, as age-keygen writes it. Raises a
    `MeshError` that shows none.
    """
    lines = [line.strip() for line in body.decode("utf-8", "replace").splitlines()]
    found = []
    for line in lines:
        if line and not line.startswith("#"):
            try:
                found.append(pyrage.x25519.Identity.from_str(line))
            except pyrage.IdentityError:
                raise MeshError(
                    [
                        Problem(
                            Place(name),
                            "holds a line that is no age identity",
                            "name a file that age-keygen wrote",
                            code="no-age-identity",
                        )
                    ]
                ) from None
    if not found:
        raise MeshError(
            [
                Problem(
                    Place(name),
                    "holds no age identity",
                    "name a file that age-keygen wrote",
                    code="no-age-identity",
                )
            ]
        )

    def unwrap(wrapped: bytes) -> bytes | None:
        try:
            opened: bytes = pyrage.decrypt(wrapped, found)
            return opened
        except pyrage.DecryptError:
            return None

    return unwrap
