"""The places that Istio's charts and images have left: how a text names one, and what to write
instead. The data is in releases.json.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from kubectl_mesh.istio.versions import RELEASES

_CHARTS, _IMAGES = RELEASES["charts"], RELEASES["images"]
CHARTS: str = _CHARTS["home"]
IMAGES: str = _IMAGES["home"]
SINCE: str = _CHARTS["since"]
"""The day on which both are switched off."""
PAGE = "docs/istio-move.md"
BUILT_IN = "built-in"
"""What `istio.hub` states to leave the choice to the operator, the charts or istioctl."""
RETIRED_HUBS: tuple[str, ...] = tuple(str(entry["hub"]) for entry in _IMAGES["builtIn"])
"""The image registries that releases have built in and that are switched off."""
_HOSTS = sorted({_CHARTS["gone"][0], *_IMAGES["gone"]})
_NAMED = re.compile(
    r"(?:^|(?<=[\s\"'=,@]))((?:oci|https?|docker)://)?("
    + "|".join(map(re.escape, _HOSTS))
    + r")((?:/[A-Za-z0-9._/-]*)?)((?::[A-Za-z0-9._-]+)?(?:@sha256:[0-9a-f]+)?)(?=[/:\s\"',@]|$)",
    re.IGNORECASE,
)
_OWN = (CHARTS, RELEASES["charts"]["registry"], *_CHARTS["gone"])


class Named(NamedTuple):
    """A retired place that a text names: whether it is of `charts` or `images`, the name as
    written, and what to write (None: no replacement is known).
    """

    what: str
    text: str
    instead: str | None

    @property
    def check(self) -> str:
        """The id of the check that it trips."""
        return f"{self.what}-gone"


def find_gone(text: str) -> Iterator[Named]:
    """Every retired chart repository and image registry that a text names; a mirror whose path
    holds such a name is not one.
    """
    for found in _NAMED.finditer(text):
        scheme, host, path, tag = found[1] or "", found[2].lower(), found[3], found[4]
        if host == _CHARTS["gone"][0]:
            yield Named("charts", found[0], CHARTS)
        elif path == "/charts" or path.startswith("/charts/"):
            yield Named(
                "charts",
                found[0],
                f"{scheme}{RELEASES['charts']['registry'].removeprefix('oci://')}{path.removeprefix('/charts')}",
            )
        elif host == "gcr.io/istio-release":
            yield Named("images", found[0], f"{scheme}{IMAGES}{path}{tag}")
        elif path == "/release" or path.startswith("/release/"):
            yield Named("images", found[0], f"{scheme}{IMAGES}{path.removeprefix('/release')}{tag}")
        else:
            yield Named("images", found[0], None)


def is_own_charts(url: str) -> bool:
    """Whether a URL is where Istio itself publishes, or published, its charts, with or without
    `oci://` and the name of a chart.
    """
    plain = _without_scheme(url)
    known = [*(_without_scheme(home) for home in _OWN), f"{_CHARTS['gone'][0]}/charts"]
    return any(
        plain
        in (
            home,
            *(f"{home}/{chart}" for chart in ("base", "istiod", "cni", "ztunnel", "gateway")),
        )
        for home in known
    )


def is_own_images(registry: str) -> bool:
    """Whether a registry is where Istio itself publishes, or published, its images."""
    return registry in (IMAGES, IMAGES.rpartition("/")[2]) or any(
        named.what == "images" for named in find_gone(registry)
    )


def _without_scheme(url: str) -> str:
    return url.rstrip("/").removeprefix("https://").removeprefix("oci://")


def gone_text(named: Named, minor: int = 0) -> str:
    """What is wrong with a retired place; `minor` is the newest that is asked for."""
    if named.what == "images":
        return f"{named.text} is an image registry that Istio switches off on {SINCE}"
    never = (
        f"; it has no charts of Istio 1.{_CHARTS['neverFrom']} and later"
        if minor >= _CHARTS["neverFrom"] and _CHARTS["gone"][0] in named.text
        else ""
    )
    return f"{named.text} is a chart repository that Istio switches off on {SINCE}{never}"


def fix_text(named: Named) -> str:
    """What to do about a retired place."""
    instead = (
        f"write {named.instead}"
        if named.instead is not None
        else "name a registry that has these images"
    )
    return f"{instead}; {PAGE} has the commands"
