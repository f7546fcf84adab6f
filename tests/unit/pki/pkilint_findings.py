"""Runs pkilint over the PEM blocks of a file, by RFC 5280 and the RFCs of keys; prints findings as JSON.

A process of its own: pkilint warns of this and that while it is loaded, and takes a second for it, once for all blocks.
"""

from __future__ import annotations

import json
import re
import sys
from base64 import b64decode
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pkilint import loader, pkix
from pkilint.pkix import certificate, crl, extension, name
from pkilint.validation import ValidationFindingSeverity

if TYPE_CHECKING:
    from collections.abc import Callable

_BLOCK = re.compile(r"-----BEGIN (?P<label>[A-Z0-9 ]+)-----(?P<base64>.*?)-----END", re.DOTALL)


def _certificates() -> Any:
    return certificate.create_pkix_certificate_validator_container(
        certificate.create_decoding_validators(name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS),
        [
            certificate.create_issuer_validator_container([]),
            certificate.create_validity_validator_container(),
            certificate.create_subject_validator_container([]),
            certificate.create_extensions_validator_container([]),
            certificate.create_spki_validator_container([]),
        ],
    )


def _crls() -> Any:
    return crl.create_pkix_crl_validator_container(
        [
            pkix.create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
            pkix.create_extension_decoder(extension.EXTENSION_MAPPINGS),
        ],
        [
            crl.create_issuer_validator_container([]),
            crl.create_validity_validator_container([]),
            crl.create_extensions_validator_container([]),
        ],
    )


def main(path: str) -> None:
    """Lint every block of a file."""
    validators = {"CERTIFICATE": _certificates(), "X509 CRL": _crls()}
    loaders: dict[str, Callable[..., Any]] = {
        "CERTIFICATE": loader.RFC5280CertificateDocumentLoader().load_der_document,
        "X509 CRL": loader.RFC5280CertificateListDocumentLoader().load_der_document,
    }
    found = []
    for block in _BLOCK.finditer(Path(path).read_text(encoding="ascii")):
        label = block["label"]
        document = loaders[label](b64decode(block["base64"]), "block")
        found.append(
            sorted(
                {
                    description.finding.code
                    for result in validators[label].validate(document.root)
                    for description in result.finding_descriptions
                    if description.finding.severity <= ValidationFindingSeverity.WARNING
                }
            )
        )
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
