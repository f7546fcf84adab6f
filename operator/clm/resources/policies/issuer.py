"""Who signs the certificates of a Policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clm.resources.reading import Reader


@dataclass(frozen=True, slots=True, kw_only=True)
class CaIssuer:
    """The Certificate, a CA with its key in the HSM, that issues."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class SelfSigned:
    """Every certificate is signed with its own key: for roots."""


def read_issuer(reader: Reader) -> CaIssuer | SelfSigned:
    """Read `issuer`: exactly one of `ca` and `selfSigned`."""
    ca, self_signed = reader.value("ca"), reader.value("selfSigned")
    if (ca is None) == (self_signed is None):
        reader.problem("ca", "set exactly one of ca and selfSigned")
        return SelfSigned()
    if ca is None:
        reader.child("selfSigned")
        return SelfSigned()
    child = reader.child("ca")
    return CaIssuer(namespace=child.required_text("namespace"), name=child.required_text("name"))
