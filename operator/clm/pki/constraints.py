"""Name constraints of a CA (RFC 5280 4.2.1.10): written, and held against the names that it is to certify.

Software that verifies a chain refuses a name outside them, so such a certificate is better not issued.
"""

from __future__ import annotations

import ipaddress
import re
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import NameOID

from clm.errors import InvalidInput
from clm.pki.text import is_host, is_mailbox, quoted
from clm.resources.problems import build_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from clm.resources.subject import NameConstraintItem, NameConstraints


_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?"
_LIKE_A_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})+\Z")


def name_constraints(constraints: NameConstraints) -> x509.NameConstraints:
    """Build the extension. Raises one InvalidInput that tells every subtree that X.509 cannot carry."""
    build_all(subtree_makers(constraints))
    return x509.NameConstraints(
        permitted_subtrees=build_all(_makers(constraints.permitted, "permitted")) or None,
        excluded_subtrees=build_all(_makers(constraints.excluded, "excluded")) or None,
    )


def subtree_makers(constraints: NameConstraints) -> Iterator[Callable[[], x509.GeneralName]]:
    """Iterate over what makes each subtree, or raises InvalidInput."""
    yield from _makers(constraints.permitted, "permitted")
    yield from _makers(constraints.excluded, "excluded")


def outside(names: Iterable[x509.GeneralName], constraints: Iterable[x509.NameConstraints]) -> Iterator[str]:
    """Iterate over the names that a CA under all of these constraints may not certify, with the reason."""
    limits = list(constraints)
    for name in names if limits else ():
        for limit in limits:
            if any(_lies_in(name, subtree) for subtree in limit.excluded_subtrees or ()):
                yield f"{quoted(str(name.value))} is excluded by the issuer's nameConstraints"
                break
            permitted = [subtree for subtree in limit.permitted_subtrees or () if type(subtree) is type(name)]
            if permitted and not any(_lies_in(name, subtree) for subtree in permitted):
                listed = ", ".join(str(subtree.value) for subtree in permitted)
                yield f"{quoted(str(name.value))} is not permitted by the issuer's nameConstraints ({listed})"
                break


def hosts_in(subject: x509.Name) -> Iterator[x509.DNSName]:
    """Iterate over the common names that verifiers hold against DNS constraints where the SAN has no DNS name.

    By OpenSSL's measure (NAME_CONSTRAINTS_check_CN): two labels or more, an IPv4 address too.
    """
    for attribute in subject.get_attributes_for_oid(NameOID.COMMON_NAME):
        if isinstance(attribute.value, str) and _LIKE_A_HOST.match(attribute.value):
            yield x509.DNSName(attribute.value)


def mailboxes_in(subject: x509.Name) -> Iterator[x509.RFC822Name]:
    """Iterate over the subject's e-mail addresses, to which constraints on mailboxes apply as well."""
    for attribute in subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS):
        if isinstance(attribute.value, str):
            yield x509.RFC822Name(attribute.value)


def _makers(item: NameConstraintItem | None, which: str) -> Iterator[Callable[[], x509.GeneralName]]:
    if item is None:
        return
    makers: tuple[tuple[str, tuple[str, ...], Callable[[str], x509.GeneralName]], ...] = (
        ("dnsDomains", item.dns_domains, _dns_domain),
        ("ipRanges", item.ip_ranges, _network),
        ("emailAddresses", item.email_addresses, _email),
        ("uriDomains", item.uri_domains, _uri_domain),
    )
    for kind, values, make in makers:
        for index, value in enumerate(values):
            yield partial(_subtree, make, value, f"spec.nameConstraints.{which}.{kind}[{index}]")


def _subtree(make: Callable[[str], x509.GeneralName], value: str, field: str) -> x509.GeneralName:
    try:
        return make(value)
    except ValueError as error:
        raise InvalidInput(field, f"{quoted(value)} {error}") from None


def _dns_domain(text: str) -> x509.DNSName:
    if not is_host(text.removeprefix(".")):
        raise ValueError("is not a domain such as example.com")
    return x509.DNSName(text)


def _network(text: str) -> x509.IPAddress:
    try:
        return x509.IPAddress(ipaddress.ip_network(text))
    except ValueError:
        raise ValueError("is not a network such as 10.0.0.0/8 or 2001:db8::/32") from None


def _email(text: str) -> x509.RFC822Name:
    if not (is_mailbox(text) or is_host(text.removeprefix("."))):
        raise ValueError("is not a mailbox, a host, or a domain with a leading period")
    return x509.RFC822Name(text)


def _uri_domain(text: str) -> x509.UniformResourceIdentifier:
    if not is_host(text.removeprefix(".")):
        raise ValueError("is not a host, or a domain with a leading period")
    return x509.UniformResourceIdentifier(text)


def _lies_in(name: x509.GeneralName, subtree: x509.GeneralName) -> bool:
    match name, subtree:
        case x509.DNSName(), x509.DNSName():
            # A name of which labels were taken off on the left, ".example.com" meaning at least one.
            return _is_below(name.value, subtree.value) or name.value.lower() == subtree.value.lower()
        case x509.IPAddress(), x509.IPAddress():
            return name.value in subtree.value  # type: ignore[operator]  # an address; networks are in constraints
        case x509.RFC822Name(), x509.RFC822Name():
            return _mailbox_lies_in(name.value, subtree.value)
        case x509.UniformResourceIdentifier(), x509.UniformResourceIdentifier():
            host = urlsplit(name.value).hostname or ""
            return _host_lies_in(host, subtree.value)
        case _:
            return False


def _mailbox_lies_in(mailbox: str, subtree: str) -> bool:
    local, _, host = mailbox.rpartition("@")
    wanted_local, at, wanted_host = subtree.rpartition("@")
    if at:
        return local == wanted_local and host.lower() == wanted_host.lower()
    return _host_lies_in(host, subtree)


def _host_lies_in(host: str, subtree: str) -> bool:
    """Hosts of mailboxes and URIs: a period in front means the domain's hosts, and not itself."""
    return _is_below(host, subtree) if subtree.startswith(".") else host.lower() == subtree.lower()


def _is_below(name: str, domain: str) -> bool:
    return name.lower().endswith("." + domain.lower().removeprefix("."))
