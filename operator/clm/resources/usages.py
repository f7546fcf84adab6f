"""Key usages by the names that cert-manager's v1 API gives them, and what stands where none are given.

An extended key usage that has no name there is given by its object identifier, in dotted form.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clm.resources.reading import Reader

USAGES = (
    "signing",
    "digital signature",
    "content commitment",
    "key encipherment",
    "key agreement",
    "data encipherment",
    "cert sign",
    "crl sign",
    "encipher only",
    "decipher only",
    "any",
    "server auth",
    "client auth",
    "code signing",
    "email protection",
    "s/mime",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "timestamping",
    "ocsp signing",
    "microsoft sgc",
    "netscape sgc",
)
OBJECT_IDENTIFIER = re.compile(r"[0-2](\.(0|[1-9][0-9]{0,38}))+\Z", re.ASCII)
"""An object identifier in dotted form."""

DEFAULT_USAGES = ("digital signature", "key encipherment")
CA_USAGES = ("cert sign", "crl sign")
"""What every CA has, whatever else it asks for: RFC 5280 4.2.1.3 demands both of one that signs both."""


def read_usages(reader: Reader, *, is_ca: bool) -> tuple[str, ...]:
    """Read `spec.usages`, in their order and each once, with the defaults filled in."""
    usages = reader.texts("usages")
    for index, usage in enumerate(usages):
        if usage not in USAGES and not OBJECT_IDENTIFIER.match(usage):
            named = ", ".join(USAGES)
            reader.problem(f"usages[{index}]", f'"{usage}" is neither an object identifier nor one of {named}')
    return tuple(dict.fromkeys((usages or DEFAULT_USAGES) + (CA_USAGES if is_ca else ())))
