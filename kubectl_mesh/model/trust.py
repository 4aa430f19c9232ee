"""The trust of a cluster, and the certificates that sign there, by fingerprints."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Trust:
    """The roots of a bundle, in order, and the signer. Two values are equal if they trust the same
    roots and the same root signs.

    Fingerprints are SHA-256 in hex; None where nothing states one.
    """

    roots: tuple[str, ...]
    signer: str | None = None
    """The root that signed the intermediate."""
    intermediate: str | None = field(default=None, compare=False)
    crl: str | None = field(default=None, compare=False)
    """The SHA-256 of the CRLs next to the roots, where proxies use them."""

    @property
    def known_signer(self) -> str | None:
        """The root that signs; without a stated signer, the only root."""
        return self.signer or (self.roots[0] if len(self.roots) == 1 else None)

    def is_unchanged(self, other: "Trust | None") -> bool:
        """Whether the other value has the same trust and the same intermediate."""
        return other is not None and self == other and self.intermediate == other.intermediate
