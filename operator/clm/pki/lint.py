"""Profile checks on every to-be-signed certificate, before anything is signed.

Each check is a function from a draft to findings; all of them cost some tens of microseconds. They read the certificate
as it was built, not what it was built from: what they find is a defect of CLM, or asks for what verifiers reject. It is
never something to be signed and explained later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509

from clm.pki import lint_extensions, lint_fields, lint_names
from clm.pki.lint_view import View

if TYPE_CHECKING:
    from clm.pki.profile import Issuer
    from clm.pki.tbs import Draft

CHECKS = (
    lint_fields.version,
    lint_fields.serial,
    lint_fields.signature,
    lint_fields.validity,
    lint_fields.subject,
    lint_fields.issuer_name,
    lint_fields.key,
    lint_names.subject_and_names,
    lint_extensions.known,
    lint_extensions.criticality,
    lint_extensions.authority,
    lint_extensions.identifiers,
    lint_extensions.key_usage,
    lint_extensions.extended_key_usage,
    lint_extensions.ocsp_no_check,
    lint_names.alternative_names,
    lint_names.name_constraints,
    lint_names.addresses,
)


def lint(draft: Draft, *, issuer: Issuer) -> tuple[str, ...]:
    """Check a draft. Returns the findings, each with the section that it breaks; none when it may be signed."""
    try:
        view = View.of(draft, issuer)
    except (x509.DuplicateExtension, ValueError) as error:
        return (f"extensions cannot be read: {error} (RFC 5280 4.2)",)
    return tuple(finding for check in CHECKS for finding in check(view))
