"""credentials: the bytes of a token file become the token, or a `Problem` that tells what is wrong without showing any of it."""

import re

from kubectl_mesh.errors import MeshError, Place, Problem

# RFC 6750, section 2.1: the characters of a bearer token.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*\Z")
_LONGEST = 64 * 1024


def token(name: str, body: bytes, command: str) -> str:
    """The token in a file; white space around it does not count. `command` is what fetches it anew."""
    try:
        text = body.decode("ascii").strip()
    except UnicodeDecodeError:
        text = ""
        what = "is not a token: it holds characters that no token has"
    else:
        what = "is empty" if not text else "is not a token: it holds more than one word, or characters that no token has"
    if text.startswith("ZXlK") and "." not in text:
        what = "holds the token in base64, as a Secret's data does, and not the token itself"
    elif len(text) > _LONGEST:
        what = "is not a token: it is too long"
    elif _TOKEN.match(text):
        return text
    raise MeshError([Problem(Place(name), what, f"fetch it again: {command}", id="token-readable")])
