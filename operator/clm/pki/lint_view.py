"""A draft as the checks of the lint look at it: its extensions by their kind, its bytes by their place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from cryptography import x509

from clm.pki import der

if TYPE_CHECKING:
    from clm.pki.profile import Issuer
    from clm.pki.tbs import Draft

_Value = TypeVar("_Value", bound=x509.ExtensionType)

_VERSION = 0xA0


class Parts(NamedTuple):
    """Fields of a TBSCertificate in DER, in their order (RFC 5280 4.1)."""

    version: bytes
    serial_number: bytes
    signature: bytes
    issuer: bytes
    validity: bytes
    subject: bytes
    subject_public_key_info: bytes


@dataclass(frozen=True, slots=True)
class View:
    """A draft under the lint."""

    certificate: x509.Certificate
    issuer: Issuer
    extensions: dict[type[x509.ExtensionType], x509.Extension[x509.ExtensionType]]
    parts: Parts

    @classmethod
    def of(cls, draft: Draft, issuer: Issuer) -> View:
        """Take a draft apart. Raises ValueError or DuplicateExtension when its extensions cannot be read."""
        extensions = {type(extension.value): extension for extension in draft.certificate.extensions}
        fields = der.children(draft.tbs)
        if fields[0][0] != _VERSION:
            fields.insert(0, b"")  # DEFAULT v1
        return cls(draft.certificate, issuer, extensions, Parts(*fields[: len(Parts._fields)]))

    def value(self, kind: type[_Value]) -> _Value | None:
        """Value of an extension; None when there is none of its kind."""
        found = self.extensions.get(kind)
        return found.value if found is not None and isinstance(found.value, kind) else None

    def is_critical(self, kind: type[x509.ExtensionType]) -> bool | None:
        """Whether an extension is critical; None when there is none of its kind."""
        found = self.extensions.get(kind)
        return found.critical if found is not None else None

    @property
    def is_ca(self) -> bool:
        """Whether basicConstraints say that it is a CA's."""
        constraints = self.value(x509.BasicConstraints)
        return constraints is not None and constraints.ca
