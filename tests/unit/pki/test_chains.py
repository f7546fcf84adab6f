"""Chains that CLM issues are accepted by OpenSSL at its strictest, whatever keys sign and are certified."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from clm.pki.assemble import assemble
from clm.pki.chain import bundle, certificate_facts, to_pem
from clm.pki.lint import lint
from clm.resources.keys import SIZES_IN_HSM, KeySpec
from tests.unit.pki.issuing import LEAF, NOW, ROOT, Authority, Keys, certificate_spec, sign

if TYPE_CHECKING:
    from pathlib import Path

    from clm.pki.tbs import ThrowawayKeys

KINDS = [KeySpec(algorithm, size) for algorithm, sizes in SIZES_IN_HSM.items() for size in sizes]
ISSUING = {"commonName": "Issuing", "isCA": True, "duration": "43800h", "maxPathLen": 0}


def verify(folder: Path, leaf: bytes, chain: tuple[bytes, ...], *options: str) -> subprocess.CompletedProcess[str]:
    """Run `openssl verify` over what the Secret would hold."""
    written = bundle(leaf, chain)
    (folder / "tls.crt").write_bytes(written.certificates)
    (folder / "ca.crt").write_bytes(written.root)
    (folder / "leaf.crt").write_bytes(to_pem(leaf))
    moment = str(int(NOW.timestamp()))
    command = ["openssl", "verify", "-x509_strict", "-policy_check", "-check_ss_sig", "-attime", moment]
    files = ["-CAfile", "ca.crt", "-untrusted", "tls.crt", "leaf.crt"]
    return subprocess.run([*command, *options, *files], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("issuer", KINDS, ids=str)
def test_every_issuer_certifies_every_leaf(root: Authority, tmp_path: Path, issuer: KeySpec) -> None:
    """Root, intermediate and leaf verify under -x509_strict for the purpose of a TLS server."""
    issuing = root.below(ISSUING, issuer)
    for kind in KINDS:
        leaf = issuing.leaf(LEAF, kind)
        result = verify(
            tmp_path, leaf, issuing.issuer.chain, "-purpose", "sslserver", "-verify_hostname", "web.shop.svc"
        )
        assert (result.returncode, result.stderr) == (0, ""), f"{issuer} over {kind}: {result.stderr}"
        assert certificate_facts(leaf).key_algorithm == str(kind)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_kind_of_root_signs_itself(keys: Keys, throwaway: ThrowawayKeys, tmp_path: Path, kind: KeySpec) -> None:
    """A root's own signature verifies."""
    root = Authority.root(keys, throwaway, ROOT, kind)
    result = verify(tmp_path, root.issuer.chain[0], ())
    assert result.returncode == 0, result.stderr


def test_another_host_is_not_served(root: Authority, tmp_path: Path) -> None:
    """The same check refuses a name that is not in the certificate: it does look."""
    result = verify(tmp_path, root.leaf(), root.issuer.chain, "-verify_hostname", "mail.shop.svc")
    assert result.returncode != 0
    assert "ostname mismatch" in result.stderr


def test_certificates_under_name_constraints_verify(root: Authority, tmp_path: Path) -> None:
    """What the lint lets pass under constraints, OpenSSL lets pass too."""
    constraints = {"permitted": {"dnsDomains": ["shop.svc"], "ipRanges": ["10.0.0.0/8"]}, "critical": True}
    issuing = root.below(ISSUING | {"nameConstraints": constraints}, name="constrained")
    leaf = issuing.leaf(LEAF | {"ipAddresses": ["10.1.2.3"]})
    result = verify(tmp_path, leaf, issuing.issuer.chain)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    "common_name",
    [
        "web.shop.svc",
        "web.other.svc",
        "shop.svc",
        "Web Server of the Shop",
        "web",
        "10.0.0.1",
        "_srv.other.svc",
        "a..other.svc",
        "-a.other.svc",
        "a-.other.svc",
        "a.-other.svc",
        "other.svc.",
        ".other.svc",
        "*.other.svc",
        "a:b.other.svc",
        "CN Ö.other.svc",
    ],
)
@pytest.mark.parametrize("names", [{}, {"ipAddresses": ["10.1.2.3"]}, {"dnsNames": ["web.shop.svc"]}], ids=str)
def test_the_lint_finds_the_common_names_that_openssl_refuses(
    root: Authority, tmp_path: Path, common_name: str, names: dict[str, Any]
) -> None:
    """A common name like a host, where there is no DNS name beside it, has to lie within the constraints (error 47)."""
    issuing = root.below(ISSUING | {"nameConstraints": {"permitted": {"dnsDomains": ["shop.svc"]}}}, name="constrained")
    spec = certificate_spec({"commonName": common_name, "usages": ["digital signature", "client auth"], **names})
    draft = issuing.draft(spec, issuing.keys.get("leaf"))
    found = lint(draft, issuer=issuing.issuer)
    signature = sign(issuing.key, issuing.issuer.spec, draft.tbs)
    leaf = assemble(draft.tbs, signature, spec=issuing.issuer.spec)
    result = verify(tmp_path, leaf, issuing.issuer.chain)
    assert (result.returncode == 0) is (found == ()), (result.stderr, found)
    if found:
        assert "error 47" in result.stderr
        assert found[0].startswith(f'spec.commonName: "{common_name}" is not permitted')


def test_a_bundle_goes_from_leaf_to_root(root: Authority) -> None:
    """`tls.crt` has the leaf first and no root; `ca.crt` has the root alone; a root's bundle is itself."""
    issuing = root.below(ISSUING)
    leaf = issuing.leaf()
    intermediate, top = issuing.issuer.chain
    written = bundle(leaf, issuing.issuer.chain)
    assert written.certificates == to_pem(leaf) + to_pem(intermediate)
    assert written.root == to_pem(top)
    assert bundle(top, ()).certificates == bundle(top, ()).root == to_pem(top)
