"""Subject alternative names (RFC 5280 4.2.1.6)."""

from __future__ import annotations

import ipaddress
import re
from functools import partial
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from cryptography import x509

from clm.errors import InvalidInput
from clm.pki import der
from clm.pki.text import is_host, is_mailbox, object_identifier, quoted
from clm.resources.problems import build_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clm.resources.certificate import CertificateSpec, OtherName

# RFC 3986 2: reserved, unreserved and percent-encoded characters, after a scheme.
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+\Z")
_DOT_SEGMENTS = (".", "..")


def general_names(spec: CertificateSpec) -> list[x509.GeneralName]:
    """Build the names, each once, in the order DNS, IP, URI, e-mail, otherName.

    Raises one InvalidInput that tells every name that X.509 cannot carry.
    """
    return list(dict.fromkeys(build_all(name_makers(spec))))


def name_makers(spec: CertificateSpec) -> Iterator[Callable[[], x509.GeneralName]]:
    """Iterate over what makes each name, in their order, or raises InvalidInput."""
    makers: tuple[tuple[str, tuple[str, ...], Callable[[str, str], x509.GeneralName]], ...] = (
        ("dnsNames", spec.dns_names, _dns),
        ("ipAddresses", spec.ip_addresses, _ip),
        ("uris", spec.uris, _uri),
        ("emailAddresses", spec.email_addresses, _email),
    )
    for kind, values, make in makers:
        for index, value in enumerate(values):
            yield partial(make, value, f"spec.{kind}[{index}]")
    for index, other in enumerate(spec.other_names):
        yield partial(_other_name, other, f"spec.otherNames[{index}]")


def sans_as_records(spec: CertificateSpec) -> list[dict[str, str]]:
    """Write the names as the databases hold them: in the certificate's order, each once."""
    pairs = [
        *(("dns", name) for name in spec.dns_names),
        *(("ip", str(ipaddress.ip_address(text))) for text in spec.ip_addresses),
        *(("uri", uri) for uri in spec.uris),
        *(("email", address) for address in spec.email_addresses),
        *((f"otherName:{other.oid}", other.utf8_value) for other in spec.other_names),
    ]
    return [{"type": kind, "value": value} for kind, value in dict.fromkeys(pairs)]


def as_record(name: x509.GeneralName) -> dict[str, str]:
    """Write one name of a certificate as `sans_as_records` does."""
    match name:
        case x509.DNSName():
            return {"type": "dns", "value": name.value}
        case x509.IPAddress():
            return {"type": "ip", "value": str(name.value)}
        case x509.UniformResourceIdentifier():
            return {"type": "uri", "value": name.value}
        case x509.RFC822Name():
            return {"type": "email", "value": name.value}
        case x509.OtherName():
            value = der.content(name.value).decode("utf-8", "replace")
            return {"type": f"otherName:{name.type_id.dotted_string}", "value": value}
        case _:
            return {"type": "other", "value": str(name.value)}


def _dns(name: str, field: str) -> x509.DNSName:
    # A wildcard is a whole first label, and something follows it (RFC 9525 6.3).
    if not is_host(name.removeprefix("*.")):
        raise InvalidInput(
            field, f"{quoted(name)} is not a DNS name; write internationalized names in their ASCII form (xn--)"
        )
    return x509.DNSName(name)


def _ip(text: str, field: str) -> x509.IPAddress:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise InvalidInput(field, f"{quoted(text)} is not an IP address") from None
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        raise InvalidInput(field, f"{quoted(text)} has a zone, which a certificate cannot carry; leave it out")
    return x509.IPAddress(address)


def _uri(text: str, field: str) -> x509.UniformResourceIdentifier:
    try:
        parts = urlsplit(text) if _URI.match(text) else None
    except ValueError:
        parts = None
    if parts is None:
        raise InvalidInput(field, f"{quoted(text)} is not an absolute URI in ASCII (RFC 3986)")
    # "/ns/shop/../admin" begins with what a Policy allows, and means something else to whoever normalizes it.
    if any(segment in _DOT_SEGMENTS for segment in parts.path.lower().replace("%2e", ".").split("/")):
        raise InvalidInput(field, f"{quoted(text)} has dot segments; write the path that is meant (RFC 3986 6.2.2.3)")
    return x509.UniformResourceIdentifier(text)


def _email(text: str, field: str) -> x509.RFC822Name:
    if not is_mailbox(text):
        raise InvalidInput(field, f"{quoted(text)} is not an e-mail address in ASCII without quotes (RFC 5321 mailbox)")
    return x509.RFC822Name(text)


def _other_name(other: OtherName, field: str) -> x509.OtherName:
    value = partial(_utf8_string, other.utf8_value, f"{field}.utf8Value")
    oid, encoded = build_all((partial(_oid, other.oid, f"{field}.oid"), value))
    return x509.OtherName(cast("x509.ObjectIdentifier", oid), cast("bytes", encoded))


def _oid(text: str, field: str) -> x509.ObjectIdentifier:
    try:
        return object_identifier(text)
    except ValueError as error:
        raise InvalidInput(field, f"{quoted(text)} {error}") from None


def _utf8_string(text: str, field: str) -> bytes:
    if not text or not text.isprintable():
        raise InvalidInput(field, "is empty or has characters that cannot be printed")
    return der.tlv(der.UTF8_STRING, text.encode())
