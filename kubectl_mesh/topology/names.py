"""Names of clusters and files."""

import re

from kubectl_mesh.text import can_be_secret

PENDING_ADDRESS = "pending"
LABEL_PATTERN = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")
LABEL_RULE = "lower-case letters, digits and `-`, at most 63"
"""What such a label is made of, in words."""
NAME_EMPTY, NAME_TOO_LONG, NAME_TAKEN = (
    "cluster-name-empty",
    "cluster-name-too-long",
    "cluster-name-taken",
)
NAME_CODES = frozenset((NAME_EMPTY, NAME_TOO_LONG, NAME_TAKEN))
"""The codes of problems of a context's name that a cluster's name solves."""
_TO_LOWER_CASE = str.maketrans({chr(c): chr(c + 32) for c in range(ord("A"), ord("Z") + 1)})


def derive_cluster_name(context: str) -> str:
    """A context's name as a DNS-1123 label: lower case, other characters replaced by `-`, ends
    trimmed. May be empty or too long.
    """
    return re.sub(r"[^a-z0-9-]+", "-", context.translate(_TO_LOWER_CASE)).strip("-")


def is_not_file_name(text: str) -> bool:
    """Whether a text cannot be a file name, or may be a secret."""
    return (
        can_be_secret(text)
        or len(text) > 1024
        or any(len(part.encode()) > 255 for part in text.split("/"))
    )


def is_inside_directory(name: str) -> bool:
    """Whether a file name stays in the working directory."""
    return (
        not name.startswith("/")
        and ".." not in name.split("/")
        and "\0" not in name
        and "\n" not in name
    )
