"""What running clusters do not survive, and what they need when something changes."""

from kubectl_mesh.safety.change_review import Review, review
from kubectl_mesh.safety.planned_render import PlannedRender
from kubectl_mesh.safety.refusal import Refusal

__all__ = ["PlannedRender", "Refusal", "Review", "review"]
