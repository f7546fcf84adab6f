"""Key algorithms, as a Certificate names them (`privateKey.algorithm` and `privateKey.size`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

KeyAlgorithm = Literal["RSA", "ECDSA", "Ed25519"]
SignatureAlgorithm = Literal[
    "SHA256WithRSA",
    "SHA384WithRSA",
    "SHA512WithRSA",
    "ECDSAWithSHA256",
    "ECDSAWithSHA384",
    "ECDSAWithSHA512",
    "PureEd25519",
]
"""What a certificate can be signed with, by cert-manager's names."""

SIZES: dict[KeyAlgorithm, tuple[int, ...]] = {
    "RSA": (2048, 3072, 4096, 6144, 8192),
    "ECDSA": (256, 384, 521),
    "Ed25519": (256,),
}
SIZES_IN_HSM: dict[KeyAlgorithm, tuple[int, ...]] = {**SIZES, "RSA": (2048, 3072, 4096)}
"""What most modules can make, and within the time that a token is waited for: some take minutes for RSA-8192."""


@dataclass(frozen=True, slots=True)
class KeySpec:
    """One key algorithm with its size in bits: what is generated, stored and signed with.

    >>> str(KeySpec("ECDSA", 256)), KeySpec.parse("RSA-3072")
    ('ECDSA-256', KeySpec(algorithm='RSA', size=3072))
    """

    algorithm: KeyAlgorithm
    size: int

    def __post_init__(self) -> None:
        """Refuse sizes outside SIZES (ValueError)."""
        if self.size not in SIZES[self.algorithm]:
            allowed = ", ".join(map(str, SIZES[self.algorithm]))
            raise ValueError(f"{self.algorithm} keys have {allowed} bits, not {self.size}")

    def __str__(self) -> str:
        """Name as stored in the databases."""
        return self.algorithm if self.algorithm == "Ed25519" else f"{self.algorithm}-{self.size}"

    @classmethod
    def parse(cls, text: str) -> KeySpec:
        """Read the form that `str` writes. Raises ValueError or KeyError on any other."""
        algorithm, _, size = text.partition("-")
        return cls(algorithm, int(size) if size else 256)  # type: ignore[arg-type]
