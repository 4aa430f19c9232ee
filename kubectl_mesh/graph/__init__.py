"""graph: the plan, its certificates, the tree's state and the checks' findings become a `Picture`,
and that becomes SVG, Mermaid, DOT or a page.
"""

from kubectl_mesh.graph.dot import dot
from kubectl_mesh.graph.mermaid import mermaid
from kubectl_mesh.graph.nodes import Seen
from kubectl_mesh.graph.page import page
from kubectl_mesh.graph.picture import Picture, picture
from kubectl_mesh.graph.svg import svg

__all__ = ["DATED", "FORMATS", "Picture", "Seen", "dot", "mermaid", "page", "picture", "svg"]

FORMATS = ("mermaid", "svg", "dot", "html")
DATED = frozenset(
    {
        *(
            "certs-expired",
            "certs-expiring",
            "server-ca-expired",
            "server-ca-expiring",
            "token-expired",
            "token-expiring",
        ),
        *("sealing-expiring", "tree-expired", "tree-expiring"),
    }
)
"""The checks whose answer depends on the day."""
