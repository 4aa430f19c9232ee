"""What new certificates are to be like; here, so that who asks for some need not load what makes
them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class NamedFile(NamedTuple):
    """A file that somebody named: its name, for messages, and what is in it."""

    name: str
    body: bytes


Progress = Callable[[int, int], None]
"""Told of each key: how many are made, and how many are to be made."""


def ignore_progress(done: int, total: int) -> None:
    """Tells nobody."""


@dataclass(frozen=True, slots=True)
class CertificateProfile:
    """What new certificates are to be like; `namespaces` has an entry per cluster of the plan."""

    organization: str
    key_type: str
    root_days: int
    intermediate_days: int
    namespaces: Mapping[str, str]
    keyless_clusters: frozenset[str] = frozenset()
    """The clusters whose intermediate may be here without its key."""
    unselected_ca_certs: Mapping[str, bytes] = field(default_factory=dict)
    """The ca-cert.pem of clusters of the mesh that are not in this plan."""
    is_organization_stated: bool = True
    """False: nobody stated an organization, and the O= of an existing root comes before
    `organization`.
    """
