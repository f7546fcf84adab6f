"""A certificate signing request (PKCS#10, RFC 2986) as a Certificate's spec.

It is read strictly, and what it says is put where the spec would have said it: from there on the Policy, the profile
and the lint see no difference. What a Certificate cannot say is refused by its name, and never dropped in silence.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import SignatureAlgorithmOID

from clm.errors import InvalidInput
from clm.pki import der
from clm.pki.csr_extensions import beyond_the_spec, extension_request
from clm.pki.csr_names import alternative_names, subject_said
from clm.pki.keys import key_spec_of, spki_der, supported
from clm.pki.text import error_text
from clm.pki.weak_keys import weaknesses
from clm.resources.certificate import PrivateKeySpec
from clm.resources.consistency import contradictions
from clm.resources.problems import refuse
from clm.resources.signing_request import SigningRequest

if TYPE_CHECKING:
    from clm.pki.keys import PublicKey
    from clm.pki.weak_keys import KnownKeys
    from clm.resources.certificate import CertificateSpec

FIELD = "spec.request"
MOST_CHARACTERS = 32_768
"""As the CRD has it: room for an RSA-8192 key and hundreds of names."""

# RFC 7468 2 and 7, strictly: one block, no headers, nothing around it but white space.
_BLOCK = re.compile(
    r"\s*-----BEGIN (?P<label>(?:NEW )?CERTIFICATE REQUEST)-----[ \t]*\r?\n"
    r"(?P<base64>[A-Za-z0-9+/=\s]+?)"
    r"-----END (?P=label)-----\s*\Z",
    re.ASCII,
)
_WHITE_SPACE = re.compile(r"\s+", re.ASCII)

_SIGNATURES = {
    SignatureAlgorithmOID.RSA_WITH_SHA256,
    SignatureAlgorithmOID.RSA_WITH_SHA384,
    SignatureAlgorithmOID.RSA_WITH_SHA512,
    SignatureAlgorithmOID.RSASSA_PSS,
    SignatureAlgorithmOID.ECDSA_WITH_SHA256,
    SignatureAlgorithmOID.ECDSA_WITH_SHA384,
    SignatureAlgorithmOID.ECDSA_WITH_SHA512,
    SignatureAlgorithmOID.ED25519,
}
_HASHES = {"sha256", "sha384", "sha512"}

# Every exception that cryptography's parsers raise in here counts for input that cannot be read. Most are ValueError,
# some are based on Exception alone, and what its tables do not know is a KeyError: no list of them would stay complete.


def requested(spec: CertificateSpec, known: KnownKeys) -> CertificateSpec:
    """Return the spec as if it had said what its `request` says: subject, names and key.

    `known` are keys whose private half is no secret. Raises one InvalidInput when the request cannot be read, is not
    signed with its own key, has a key that must not be certified, asks for what a Certificate cannot say, or
    contradicts the rest of the spec.
    """
    if spec.request is None:
        return spec
    csr, encoded = read_csr(spec.request)
    key = _key(csr)
    refuse([(FIELD, f"its key must not be certified: {found}") for found in weaknesses(key, known)])
    _prove_possession(csr)
    _, name, *_ = der.children(csr.tbs_certrequest_bytes)
    said = subject_said(name)
    extensions = extension_request(csr)
    names = alternative_names(extensions)
    filled = replace(
        spec,
        subject=said.subject,
        common_name=said.common_name,
        literal_subject=said.literal,
        dns_names=names.dns_names,
        ip_addresses=names.ip_addresses,
        uris=names.uris,
        email_addresses=names.email_addresses,
        other_names=names.other_names,
        private_key=PrivateKeySpec(key=key_spec_of(key), rotation_policy="Never", storage="External"),
        signing_request=SigningRequest(der=encoded, info=csr.tbs_certrequest_bytes, spki=spki_der(key)),
    )
    refuse([*contradictions(filled), *beyond_the_spec(extensions, filled)])
    return filled


def read_csr(text: str) -> tuple[x509.CertificateSigningRequest, bytes]:
    """Read a request in PEM, and its DER form. Raises InvalidInput for anything but one request in strict DER."""
    if len(text) > MOST_CHARACTERS:
        raise InvalidInput(FIELD, f"has {len(text)} characters; {MOST_CHARACTERS} are the most")
    block = _BLOCK.match(text)
    if block is None:
        raise InvalidInput(
            FIELD,
            "must be one PEM block, CERTIFICATE REQUEST, without headers and with nothing around it (RFC 7468 7); "
            "openssl req -new writes one",
        )
    try:
        encoded = base64.b64decode(_WHITE_SPACE.sub("", block["base64"]), validate=True)
    except binascii.Error:
        raise InvalidInput(FIELD, "its PEM block is not base64 (RFC 7468 3)") from None
    try:
        csr = x509.load_der_x509_csr(encoded)
        whole = csr.public_bytes(Encoding.DER) == encoded
    except Exception as error:  # noqa: BLE001 - see above
        raise InvalidInput(FIELD, f"is not a PKCS#10 request in DER (RFC 2986 4): {error_text(error)}") from None
    if not whole:
        raise InvalidInput(FIELD, "is not in DER: read and written again, it is another (X.690 10)")
    return csr, encoded


def _key(csr: x509.CertificateSigningRequest) -> PublicKey:
    """Key of the request, of a kind and size that CLM certifies, and written as X.509 has it."""
    try:
        key = supported(csr.public_key())
        key_spec_of(key)
    except Exception as error:  # noqa: BLE001 - see above
        raise InvalidInput(FIELD, f"its key cannot be certified: {error_text(error)}") from None
    # Explicit curve parameters, compressed points, id-RSASSA-PSS: the certificate would not carry the key as it came,
    # and a list of known keys would not know it (RFC 3279 2.3.1, RFC 5480 2.1.1, RFC 8410 4).
    _, _, written, *_ = der.children(csr.tbs_certrequest_bytes)
    if written != spki_der(key):
        raise InvalidInput(
            FIELD,
            "its key is not written in the one form that X.509 has for it (RFC 5280 4.1.2.7): rsaEncryption, also where"
            " it signs by RSASSA-PSS; a named curve with an uncompressed point; or Ed25519",
        )
    return key


def _prove_possession(csr: x509.CertificateSigningRequest) -> None:
    """Check that the request is signed with the key that it has (RFC 2986 3)."""
    try:
        known = csr.signature_algorithm_oid in _SIGNATURES
        digest = csr.signature_hash_algorithm if known else None
        strong = known and (digest is None or digest.name in _HASHES)
        proven = strong and csr.is_signature_valid
    except Exception:  # noqa: BLE001 - see above
        strong, proven = True, False
    if not strong:
        raise InvalidInput(
            FIELD, "must be signed with SHA-256, SHA-384 or SHA-512 (RSA or ECDSA), or with Ed25519; sign it again"
        )
    if not proven:
        raise InvalidInput(FIELD, "its signature does not verify: it was changed, or is not signed with its own key")
