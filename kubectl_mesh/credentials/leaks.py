"""leaks: what is secret in the bytes of a file that others may read, in clear or in base64, told
without a character of it.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping

from kubectl_mesh.credentials.logins import parse_claims

_KEY = re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----(?:\\[rn]|\s)+[A-Za-z0-9+/=]{16}")
_ENCRYPTED = b"BEGIN ENCRYPTED PRIVATE KEY"
_IDENTITY = re.compile(rb"AGE-SECRET-KEY-1[0-9A-Z]{58}")
# Looked for once in each run of such characters, so that the time is in proportion to the length.
_TOKEN = re.compile(
    rb"(?<![A-Za-z0-9_-])(?>[A-Za-z0-9_-]*?eyJ)[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]{16,}"
)
_KUBECONFIG = (
    re.compile(rb"^ *\"?clusters\"?:", re.MULTILINE),
    re.compile(rb"^ *\"?users\"?:", re.MULTILINE),
)
# What stands where a login would: encrypted by SOPS, a template, or what `kubectl config view`
# writes in its place.
_LOGIN = re.compile(
    rb"^[ -]*\"?(?:token|password|client-key-data|client-secret|id-token|refresh-token)\"?: *[\"']?"
    rb"(?!ENC\[|\{\{|REDACTED|DATA\+OMITTED)[^\s\"'{}\[\]#,]",
    re.MULTILINE,
)
_WORD = re.compile(rb"[A-Za-z0-9._~+/-]+=*")
_OTHER = re.compile(rb"[^\s\"',{}\[\]]+")
"""A word with whatever else a token may hold."""
_ENCODED = re.compile(rb"[A-Za-z0-9+/]{24,}={0,2}")
# How the header of a JWT begins: with alg, kid or typ.
_JWT = (b"eyJhbGciOi", b"eyJraWQiOi", b"eyJ0eXAiOi")
_MAX_DEPTH = 3
"""A key in base64, in a kubeconfig in base64, in a Secret."""

SECRET_MARKERS = (
    b"PRIVATE KEY-----",
    b"AGE-SECRET-KEY-1",
    b"client-key-data",
    *_JWT,
    *(
        f"{quote}kind{quote}: {quote}{kind}{quote}".encode()
        for quote in ("", '"')
        for kind in ("Config", "Secret")
    ),
    *(
        base64.b64encode(start)
        for start in (
            b"-----BEGI",
            b"apiVersion: ",
            b"kind: Config",
            *(start[:9] for start in _JWT),
        )
    ),
)
"""One of these is in every file that `found` has something to say of, but for the secrets that it
is told of.
"""


def find_secrets(body: bytes, known: Mapping[bytes, str]) -> tuple[str, ...]:
    """What a file has that is secret; `known` are the secrets that are here, each with its name."""
    return tuple(dict.fromkeys(_find_secrets(body, known, 0)))


def _find_secrets(body: bytes, known: Mapping[bytes, str], depth: int) -> Iterator[str]:
    # The plain search comes first: most files have nothing of a kind, and there may be thousands.
    for secret in (
        (s for s in known if s in body)
        if depth == 0
        else sorted(known.keys() & _candidate_words(body))
    ):
        yield known[secret]
    if b"PRIVATE KEY" in body and any(_ENCRYPTED not in match[0] for match in _KEY.finditer(body)):
        yield "a private key"
    if b"AGE-SECRET-KEY-1" in body and _IDENTITY.search(body):
        yield "an age identity"
    for match in _TOKEN.finditer(body) if b"eyJ" in body else ():
        said = parse_claims(match[0].decode())
        if said is not None and said.subject.startswith("system:serviceaccount:"):
            yield "the token of a service account"
    if b"users" in body and all(part.search(body) for part in _KUBECONFIG) and _LOGIN.search(body):
        yield "the login of a kubeconfig"
    for match in _ENCODED.finditer(body) if depth < _MAX_DEPTH else ():
        try:
            inside = base64.b64decode(
                match[0][: len(match[0]) // 4 * 4] if len(match[0]) % 4 else match[0], validate=True
            )
        except (ValueError, binascii.Error):
            continue
        # What is no text is encrypted, or a certificate.
        if inside.isascii():
            yield from _find_secrets(inside, known, depth + 1)


def _candidate_words(body: bytes) -> set[bytes]:
    """What in a text may be a token: by the signs that most have, between the signs of YAML and
    JSON, and between spaces, in quotes or not.
    """
    whole = body.split()
    return {*_WORD.findall(body), *_OTHER.findall(body), *whole, *(word[1:-1] for word in whole)}


def secret_encodings(secret: bytes) -> tuple[bytes, ...]:
    """What of a secret to look for in files at large: itself, and its base64 as it stands in a
    Secret.
    """
    return secret, base64.b64encode(secret)[: len(secret) // 3 * 4]
