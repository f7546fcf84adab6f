"""What a name may be: DNS names, mailboxes, and subtrees of them."""

from __future__ import annotations

import ipaddress

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from clm.pki.constraints import outside
from clm.pki.text import is_host, is_mailbox, quoted

LABELS = st.from_regex(r"[a-z]([a-z0-9-]{0,5}[a-z0-9])?", fullmatch=True).filter(lambda label: label[2:4] != "--")
HOSTS = st.lists(LABELS, min_size=1, max_size=5).map(".".join)


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "web.shop.svc",
        "_sip._tcp.example.com",
        "1.example",
        "x" * 63 + ".example",
        "xn--mnchen-3ya.de",
        "a--b.example",
    ],
)
def test_hosts(name: str) -> None:
    """RFC 1123 names, service labels and A-labels."""
    assert is_host(name)


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "a.", ".a", "a..b", "-a.example", "a-.example", "a b", "a\n", "a\x00.example", "münchen.de"),
        *("x" * 64 + ".example", ".".join(["x" * 63] * 4), "10.0.0.1", "example.1", "*.example", "a.*.example"),
        *("ab--c.example", "xn--.example", "xn--a.example", "xn--99999999.example"),
    ],
)
def test_not_hosts(name: str) -> None:
    """Also what only looks like one: addresses, false A-labels, inner wildcards, control characters."""
    assert not is_host(name)


@given(HOSTS)
def test_every_host_of_ordinary_labels_is_one(name: str) -> None:
    """Nothing ordinary is refused."""
    assert is_host(name)


@given(st.text())
def test_no_text_is_trusted(text: str) -> None:
    """Any text gets an answer; what passes is printable ASCII; what is quoted is one printable line."""
    assert not is_host(text) or (text.isascii() and text.isprintable())
    assert not is_mailbox(text) or (text.isascii() and text.isprintable() and text.count("@") == 1)
    assert quoted(text).isprintable()


@pytest.mark.parametrize("text", ["a@b.example", "a.b+c@x", "o'neil@example.com"])
def test_mailboxes(text: str) -> None:
    """Dot-string local parts."""
    assert is_mailbox(text)


@pytest.mark.parametrize(
    "text",
    ["", "@", "a@", "@b", "a@b@c", '"a@b"@c', "a b@c", ".a@b", "a..b@c", "a@*.b", "x" * 65 + "@b", "ä@b", "a\n@b"],
)
def test_not_mailboxes(text: str) -> None:
    """Quoted and doubled local parts are traps, and refused."""
    assert not is_mailbox(text)


def dns(text: str) -> x509.DNSName:
    """Shorten the table."""
    return x509.DNSName(text)


def uri(text: str) -> x509.UniformResourceIdentifier:
    """Shorten the table."""
    return x509.UniformResourceIdentifier(text)


def mail(text: str) -> x509.RFC822Name:
    """Shorten the table."""
    return x509.RFC822Name(text)


def address(text: str) -> x509.IPAddress:
    """Shorten the table."""
    return x509.IPAddress(ipaddress.ip_address(text))


def network(text: str) -> x509.IPAddress:
    """Shorten the table."""
    return x509.IPAddress(ipaddress.ip_network(text))


@pytest.mark.parametrize(
    ("name", "subtree", "inside"),
    [
        (dns("a.example"), dns("example"), True),
        (dns("EXAMPLE"), dns("example"), True),
        (dns("badexample"), dns("example"), False),
        (dns("example"), dns(".example"), False),
        (dns("*.a.example"), dns(".example"), True),
        (dns("example.a"), dns("example"), False),
        (address("10.1.2.3"), network("10.0.0.0/8"), True),
        (address("11.1.2.3"), network("10.0.0.0/8"), False),
        (address("::ffff:10.1.2.3"), network("10.0.0.0/8"), False),
        (address("fd00::1"), network("fd00::/8"), True),
        (mail("a@b.example"), mail("a@B.example"), True),
        (mail("A@b.example"), mail("a@b.example"), False),
        (mail("a@b.example"), mail("b.example"), True),
        (mail("a@c.b.example"), mail("b.example"), False),
        (mail("a@c.b.example"), mail(".b.example"), True),
        (mail("a@b.example"), mail(".b.example"), False),
        (uri("https://b.example:8443/x"), uri("b.example"), True),
        (uri("https://c.b.example/x"), uri("b.example"), False),
        (uri("https://c.b.example/x"), uri(".b.example"), True),
        (uri("https://b.example@evil.example/"), uri("b.example"), False),
        (uri("urn:b.example"), uri("b.example"), False),
    ],
)
def test_subtrees(name: x509.GeneralName, subtree: x509.GeneralName, inside: bool) -> None:  # noqa: FBT001
    """RFC 5280 4.2.1.10, form by form: permitted exactly when not excluded."""
    permitted = x509.NameConstraints(permitted_subtrees=[subtree], excluded_subtrees=None)
    excluded = x509.NameConstraints(permitted_subtrees=None, excluded_subtrees=[subtree])
    assert (not list(outside([name], [permitted]))) == inside
    assert bool(list(outside([name], [excluded]))) == inside


def test_other_forms_are_not_constrained() -> None:
    """A constraint on one form of name says nothing of another."""
    only_dns = x509.NameConstraints(permitted_subtrees=[dns("example")], excluded_subtrees=None)
    assert not list(outside([address("10.0.0.1"), mail("a@b.test"), uri("https://c.test/")], [only_dns]))


def test_every_ca_of_the_chain_counts() -> None:
    """A name must lie within what each CA permits."""
    limits = [
        x509.NameConstraints(permitted_subtrees=[dns(domain)], excluded_subtrees=None) for domain in ("svc", "shop.svc")
    ]
    assert [finding.split('"')[1] for finding in outside([dns("a.shop.svc"), dns("a.svc"), dns("a.test")], limits)] == [
        "a.svc",
        "a.test",
    ]
