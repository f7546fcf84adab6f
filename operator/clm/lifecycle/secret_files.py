"""The files of a Secret besides `tls.crt`, `tls.key` and `ca.crt`: other forms of the same key and certificates.

Names and contents are those of cert-manager. All of it is a function of what goes in, down to the last byte: a Secret
that holds it is not written again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clm.errors import SecretTooLarge
from clm.pki import keys as pki_keys
from clm.pki.keystores import jks, pkcs12
from clm.pki.keystores.salts import Salts
from clm.resources.keystores import CA_ALIAS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from clm.pki.chain import Bundle
    from clm.pki.keys import PrivateKey
    from clm.resources.certificate import CertificateSpec
    from clm.resources.keystores import JksKeystore, Pkcs12Keystore

COMBINED_PEM = "tls-combined.pem"
KEY_DER = "key.der"
JKS_KEYSTORE, JKS_TRUSTSTORE = "keystore.jks", "truststore.jks"
DATA_LIMIT = 1024 * 1024
"""Bytes of all values in a Secret's data (MaxSecretSize of Kubernetes)."""
PKCS12_KEYSTORE, PKCS12_TRUSTSTORE = "keystore.p12", "truststore.p12"


def further_files(
    spec: CertificateSpec, *, key: PrivateKey, bundle: Bundle, passwords: Mapping[str, str], created: datetime
) -> dict[str, bytes]:
    """Write what `spec.additionalOutputFormats` and `spec.keystores` ask for.

    `passwords` has one for each keystore, by its path; `created` is what entries of a JKS file say of their making.
    Milliseconds, with a PKCS#12 keystore some twenty of them: call it in a thread then.
    """
    files: dict[str, bytes] = {}
    if "CombinedPEM" in spec.output_formats:
        files[COMBINED_PEM] = pki_keys.to_pem(key, spec.private_key.encoding) + b"\n" + bundle.certificates
    if "DER" in spec.output_formats:
        files[KEY_DER] = pki_keys.to_der(key, spec.private_key.encoding)
    if not any(spec.keystores):
        return files
    private_key = pki_keys.to_pkcs8_der(key)
    chain = tuple(pki_keys.load_pem_certificates(bundle.certificates))
    roots = _aliases(pki_keys.load_pem_certificates(bundle.root)) if bundle.root else {}
    wanted = spec.keystores
    if wanted.jks is not None:
        files |= _jks(wanted.jks, private_key, chain, roots, password=passwords[wanted.jks.path], created=created)
    if wanted.pkcs12 is not None:
        files |= _pkcs12(wanted.pkcs12, private_key, chain, roots, password=passwords[wanted.pkcs12.path])
    return files


def check_size(spec: CertificateSpec, data: Mapping[str, bytes]) -> None:
    """Raise SecretTooLarge where the files of a Secret are more than Kubernetes takes."""
    size = sum(map(len, data.values()))
    if size > DATA_LIMIT:
        sizes = ", ".join(f"{name} {len(value)}" for name, value in data.items())
        raise SecretTooLarge(
            f"the Secret {spec.secret_name} would have {size} bytes ({sizes}), and Kubernetes takes {DATA_LIMIT}; "
            "ask for fewer forms (spec.keystores, spec.additionalOutputFormats) or fewer names"
        )


def _jks(
    wanted: JksKeystore,
    private_key: bytes,
    chain: tuple[bytes, ...],
    roots: Mapping[str, bytes],
    *,
    password: str,
    created: datetime,
) -> dict[str, bytes]:
    entry = {wanted.alias: jks.KeyEntry(private_key, chain)}
    salts = Salts(private_key, form="jks", contents=(wanted.alias.encode(), *chain, *roots.values()))
    files = {
        JKS_KEYSTORE: jks.write(password=password, created=created, trusted=roots, keys=entry, salts=salts),
    }
    if roots:
        files[JKS_TRUSTSTORE] = jks.write(password=password, created=created, trusted=roots, keys={}, salts=salts)
    return files


def _pkcs12(
    wanted: Pkcs12Keystore,
    private_key: bytes,
    chain: tuple[bytes, ...],
    roots: Mapping[str, bytes],
    *,
    password: str,
) -> dict[str, bytes]:
    # A certificate that signed itself is its own root.
    whole = tuple(dict.fromkeys((*chain, *roots.values())))
    form = f"pkcs12 {wanted.profile}"
    files = {
        PKCS12_KEYSTORE: pkcs12.write_keystore(
            private_key=private_key,
            chain=whole,
            password=password,
            profile=wanted.profile,
            salts=Salts(private_key, form=f"{form} keystore", contents=whole),
        )
    }
    if roots:
        files[PKCS12_TRUSTSTORE] = pkcs12.write_truststore(
            certificates=roots,
            password=password,
            profile=wanted.profile,
            salts=Salts(private_key, form=f"{form} truststore", contents=roots.values()),
        )
    return files


def _aliases(roots: list[bytes]) -> dict[str, bytes]:
    return {CA_ALIAS if number == 1 else f"{CA_ALIAS}-{number}": root for number, root in enumerate(roots, 1)}
