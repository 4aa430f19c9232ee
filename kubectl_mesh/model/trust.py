"""What a cluster trusts and signs with, by fingerprints."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Trust:
    """The roots of a bundle, in order, and what signs there. Two are equal if the same is trusted
    and the same root signs.

    Fingerprints are SHA-256 in hex. None where nothing tells it.
    """

    roots: tuple[str, ...]
    signer: str | None = None
    """The root that signed the intermediate."""
    intermediate: str | None = field(default=None, compare=False)
    crl: str | None = field(default=None, compare=False)
    """The SHA-256 of the CRLs that go with it, where proxies go by them."""

    @property
    def known_signer(self) -> str | None:
        """The root that signs; the only one, where there is only one."""
        return self.signer or (self.roots[0] if len(self.roots) == 1 else None)

    def is_unchanged(self, other: "Trust | None") -> bool:
        """Whether the other trusts the same, and signs with the same intermediate."""
        return other is not None and self == other and self.intermediate == other.intermediate
