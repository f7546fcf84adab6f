"""The files of a Secret besides `tls.crt`, `tls.key` and `ca.crt`: other forms of the same key and certificates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clm.pki import keys as pki_keys

if TYPE_CHECKING:
    from clm.pki.chain import Bundle
    from clm.pki.keys import PrivateKey
    from clm.resources.certificate import CertificateSpec

COMBINED_PEM = "tls-combined.pem"
KEY_DER = "key.der"


def further_files(spec: CertificateSpec, *, key: PrivateKey, bundle: Bundle) -> dict[str, bytes]:
    """Write what `spec.additionalOutputFormats` asks for; names and contents are those of cert-manager."""
    files: dict[str, bytes] = {}
    if "CombinedPEM" in spec.output_formats:
        files[COMBINED_PEM] = pki_keys.to_pem(key, spec.private_key.encoding) + b"\n" + bundle.certificates
    if "DER" in spec.output_formats:
        files[KEY_DER] = pki_keys.to_der(key, spec.private_key.encoding)
    return files
