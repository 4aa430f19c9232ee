"""Finds secrets in files that others can read, plain or in base64. Reports name their kind, never
their text.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping

from kubectl_mesh.credentials.logins import parse_claims

_KEY = re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----(?:\\[rn]|\s)+[A-Za-z0-9+/=]{16}")
_ENCRYPTED = b"BEGIN ENCRYPTED PRIVATE KEY"
_IDENTITY = re.compile(rb"AGE-SECRET-KEY-1[0-9A-Z]{58}")
# Searched once in each run of such characters, so that the time is linear.
_TOKEN = re.compile(
    rb"(?<![A-Za-z0-9_-])(?>[A-Za-z0-9_-]*?eyJ)[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]{16,}"
)
_KUBECONFIG = (
    re.compile(rb"^ *\"?clusters\"?:", re.MULTILINE),
    re.compile(rb"^ *\"?users\"?:", re.MULTILINE),
)
# The lookahead skips placeholders: of SOPS, of templates, and of `kubectl config view`.
_LOGIN = re.compile(
    rb"^[ -]*\"?(?:token|password|client-key-data|client-secret|id-token|refresh-token)\"?: *[\"']?"
    rb"(?!ENC\[|\{\{|REDACTED|DATA\+OMITTED)[^\s\"'{}\[\]#,]",
    re.MULTILINE,
)
_WORD = re.compile(rb"[A-Za-z0-9._~+/-]+=*")
_OTHER = re.compile(rb"[^\s\"',{}\[\]]+")
"""A word with any other character that tokens can have."""
_ENCODED = re.compile(rb"[A-Za-z0-9+/]{24,}={0,2}")
# The beginning of a JWT's header: alg, kid or typ.
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
"""Every file in which `find_secrets` finds something contains one of these, except for `known`
secrets.
"""


def find_secrets(body: bytes, known: Mapping[bytes, str]) -> tuple[str, ...]:
    """The names of the secrets in a file. `known` maps the available secrets to their names."""
    return tuple(dict.fromkeys(_find_secrets(body, known, 0)))


def _find_secrets(body: bytes, known: Mapping[bytes, str], depth: int) -> Iterator[str]:
    # The plain search comes first, because there may be thousands of files without secrets.
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
        # Binary content is encrypted, or a certificate.
        if inside.isascii():
            yield from _find_secrets(inside, known, depth + 1)


def _candidate_words(body: bytes) -> set[bytes]:
    """The words of a text that can be tokens: between the punctuation of YAML and JSON and between
    spaces, with and without quotes.
    """
    whole = body.split()
    return {*_WORD.findall(body), *_OTHER.findall(body), *whole, *(word[1:-1] for word in whole)}


def secret_encodings(secret: bytes) -> tuple[bytes, ...]:
    """A secret and its base64 in a Secret, to be searched for in any file."""
    return secret, base64.b64encode(secret)[: len(secret) // 3 * 4]
