"""Istio's versions and what each changes for a mesh. Every rule that depends on a version asks
here.

The facts are in istio/releases.json, each with its source. A version that no file states counts as
the newest known one.
"""

import json
import re
from pathlib import Path
from typing import Any

RELEASES: Any = json.loads(
    (Path(__file__).resolve().parent / "releases.json").read_text(encoding="utf-8")
)
"""The data; docs/releases.md describes its fields."""

OLDEST_MINOR: int = RELEASES["oldest"]
NEWEST_MINOR: int = RELEASES["newest"]
"""The oldest and the newest minor of 1.x whose rules are known."""
NEWEST_WITH_CHARTS: int = RELEASES["newestWithCharts"]
"""The newest minor whose chart values are known; above it an unknown value is a warning."""
DEFAULT_VERSION: str = RELEASES["default"]["version"]
"""The version that `init` writes."""
INIT_VERSIONS: tuple[str, ...] = (DEFAULT_VERSION, *RELEASES["default"]["earlier"])
"""Every version that `init` has ever written into a base.yaml."""
ASSUMED_LINE: str = RELEASES["unstated"]["version"]
"""The release line that decides the effect of a change where no file states a version: the worst of
the present lines.
"""
CHANGES: tuple[tuple[int, str], ...] = tuple((c["minor"], c["what"]) for c in RELEASES["changes"])
"""The changes of Istio: the first minor with the change, and its description."""


def _first_minor(name: str) -> int:
    return next(int(c["minor"]) for c in RELEASES["changes"] if c["name"] == name)


# The first minor with a change, by the name of the change in releases.json.
SINCE_ISTIOD = _first_minor("istiod")
SINCE_LABELS = _first_minor("labels")
SINCE_HOST_NAMES = _first_minor("host-names")
SINCE_TLS_CACERTS = _first_minor("tls-cacerts")
SINCE_ISTIO_CSR = _first_minor("istio-csr")
SINCE_RELOAD = _first_minor("reload")
SINCE_ROOTS = _first_minor("roots")
SINCE_GATEWAY_V1 = _first_minor("gateway-v1")
SINCE_CHARTS = SINCE_SAIL = _first_minor("charts")
SINCE_AMBIENT = SINCE_CRL = _first_minor("ambient")
SINCE_AMBIENT_BETA = SINCE_ZTUNNEL_CRL = _first_minor("ambient-beta")
SINCE_FAST_SWAP = _first_minor("fast-swap")
_VERSION = re.compile(r"v?1\.([0-9]{1,4})(?:\.([0-9]{1,4}))?(?![0-9.])")


def minor_version(version: str | None) -> int:
    """The minor of a version such as 1.30.3; the newest known one if no version is stated."""
    return NEWEST_MINOR if version is None else int(version.split(".")[1])


def is_exact(version: str | None) -> bool:
    """Whether a version is one release, not a release line."""
    return version is not None and version.count(".") == 2


MAX_SKEW = 1
"""How many minor versions the parts of a mesh may be apart: Istio's skew policy
(docs/releases/supported-releases, control plane and data plane).
"""


def parse_version(text: object) -> str | None:
    """The numeric part of a version in any notation (`v1.30.3`, `1.30.3-distroless`,
    `v1.30-latest`), such as 1.30.3; None if there is none.
    """
    match = _VERSION.match(str(text))
    if match is None:
        return None
    return f"1.{match[1]}" + (f".{match[2]}" if match[2] is not None else "")


def is_between(version: str | None, first: str, before: str) -> bool:
    """Whether a version is `first` or later, and earlier than `before`. A release line counts if
    any of its releases does.
    """
    if version is None:
        return False
    low, high = _version_numbers(first), _version_numbers(before)
    numbers = _version_numbers(version)
    if len(numbers) == 1:
        return (*numbers, 10**6) >= low and (*numbers, 0) < high
    return low <= numbers < high


def has_fault(version: str | None, name: str) -> bool:
    """Whether a version has a fault of the table `faults`; False if no version is stated."""
    fault = RELEASES["faults"][name]
    return is_between(version, fault["from"], fault["before"])


def _version_numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[1:])


def can_lose_endpoints(version: str | None) -> bool:
    """Whether istiod can lose a cluster whose remote secret changes (Istio's issues 60612, 60920,
    61043).
    """
    return has_fault(version, "endpoints-lost")


def can_read_crl(version: str | None, *, ztunnel: bool = False) -> bool:
    """Whether istiod reads ca-crl.pem and its proxies obey it (pilot/pkg/features:
    PILOT_ENABLE_CA_CRL, which is on by default).
    """
    return minor_version(version) >= (SINCE_ZTUNNEL_CRL if ztunnel else SINCE_CRL)


def security_floor(version: str) -> tuple[str, str] | None:
    """The first release of a version's line without known vulnerabilities, and the advisory. None
    if the version has the fixes, or no floor is known.
    """
    for entry in RELEASES["security"]:
        if (
            is_exact(version)
            and minor_version(version) == entry["line"]
            and _version_numbers(version) < _version_numbers(entry["floor"])
        ):
            return entry["floor"], entry["advisory"]
    return None


def is_unsupported(version: str) -> bool:
    """Whether Istio publishes no more releases of a version's line."""
    return minor_version(version) < int(RELEASES["oldestSupported"])


def retired_built_in_hub(version: str | None) -> str | None:
    """The image hub built into the charts and istioctl of a version, if it is retired; otherwise,
    or without a version, None.
    """
    for entry in RELEASES["images"]["builtIn"]:
        if is_between(version, entry["from"], entry["before"]):
            return str(entry["hub"])
    return None
