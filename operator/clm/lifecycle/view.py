"""What the operator remembers of the cluster: Certificates, Policies and Namespaces, and how they refer to each other.

Each is found by what refers to it, so that no event has all of them looked through.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from clm.errors import InvalidInput
from clm.lifecycle.entry import entry_of
from clm.resources.policy import CaIssuer, PolicySpec, parse_policy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from clm.lifecycle.entry import Entry
    from clm.resources.status import HoldKind

_Value = TypeVar("_Value")
_Member = TypeVar("_Member")


class Key(NamedTuple):
    """Namespace and name of a Certificate."""

    namespace: str
    name: str

    def __str__(self) -> str:
        """Write it as people do."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyView:
    """One Policy object; `spec` is None where it cannot be read, `problem` then says why."""

    name: str
    uid: str
    generation: int
    spec: PolicySpec | None
    problem: str | None
    created: str = ""


class ClusterView:
    """Certificates, Policies and the labels of Namespaces, as last seen."""

    def __init__(self) -> None:
        self._entries: dict[Key, Entry] = {}
        self._by_policy: defaultdict[str, set[Key]] = defaultdict(set)
        self._by_secret: defaultdict[Key, set[Key]] = defaultdict(set)
        self._secret_owners: dict[Key, Key] = {}
        self._policies: dict[str, PolicyView] = {}
        self._by_issuer: defaultdict[Key, set[str]] = defaultdict(set)
        self._namespaces: dict[str, Mapping[str, str]] = {}
        self._cas: set[Key] = set()

    def __len__(self) -> int:
        """How many Certificates are known."""
        return len(self._entries)

    def get(self, key: Key) -> Entry | None:
        """Return what is known of a Certificate."""
        return self._entries.get(key)

    def held(self, kind: HoldKind) -> int:
        """How many Certificates wait for a time for this reason."""
        return sum(1 for entry in self._entries.values() if entry.hold == kind)

    def items(self) -> Iterator[tuple[Key, Entry]]:
        """Iterate over a copy: it may be awaited in between."""
        return iter(list(self._entries.items()))

    def cas(self) -> list[tuple[Key, Entry]]:
        """List the CAs; there are few of them."""
        return [(key, self._entries[key]) for key in self._cas]

    def put(self, body: dict[str, Any]) -> tuple[Key, Entry]:
        """Take in the newest state of a Certificate object. An older one than known changes nothing."""
        metadata = body["metadata"]
        key = Key(sys.intern(metadata["namespace"]), metadata["name"])
        known = self._entries.get(key)
        if known is not None and known.uid == metadata["uid"] and _older(metadata, known):
            return key, known
        entry = entry_of(body)
        if known is not None and (known.policy, known.secret_name) != (entry.policy, entry.secret_name):
            self._unlink(key, known)
        self._entries[key] = entry
        self._by_policy[entry.policy].add(key)
        if entry.is_ca:
            self._cas.add(key)
        secret = Key(key.namespace, entry.secret_name)
        self._by_secret[secret].add(key)
        if known is None or (known.uid, known.secret_name) != (entry.uid, entry.secret_name):
            self._secret_owners.pop(secret, None)
        return key, entry

    def remove(self, key: Key, uid: str) -> bool:
        """Forget a deleted Certificate; False when another object of that name has taken its place."""
        known = self._entries.get(key)
        if known is None or known.uid != uid:
            return False
        self._unlink(key, known)
        del self._entries[key]
        return True

    def using_policy(self, name: str) -> tuple[Key, ...]:
        """List the Certificates that refer to a Policy."""
        return tuple(self._by_policy.get(name, ()))

    def using_secret(self, namespace: str, name: str) -> tuple[Key, ...]:
        """List the Certificates whose Secret has this name."""
        return tuple(self._by_secret.get(Key(namespace, name), ()))

    def secret_owner(self, namespace: str, name: str) -> Key | None:
        """Certificate that this Secret belongs to: the oldest of those that ask for it, then the first by name."""
        secret = Key(namespace, name)
        claimants = self._by_secret.get(secret, ())
        if len(claimants) == 1:
            return next(iter(claimants))
        owner = self._secret_owners.get(secret)
        if owner is None and claimants:
            # Kept, so that many that ask for one name cost no comparison of each with each.
            owner = min(claimants, key=lambda key: (self._entries[key].created, key.name))
            self._secret_owners[secret] = owner
        return owner

    def owns_its_secret(self, key: Key, entry: Entry) -> bool:
        """Tell whether no older Certificate asks for the same Secret."""
        return self.secret_owner(key.namespace, entry.secret_name) == key

    def policy(self, name: str) -> PolicyView | None:
        """Return what is known of a Policy."""
        return self._policies.get(name)

    def put_policy(self, body: Mapping[str, Any]) -> PolicyView:
        """Take in a Policy object."""
        metadata = body["metadata"]
        spec, problem = None, None
        try:
            spec = parse_policy(body.get("spec") or {})
        except InvalidInput as error:
            problem = str(error)
        view = PolicyView(
            name=metadata["name"],
            uid=metadata["uid"],
            generation=metadata["generation"],
            spec=spec,
            problem=problem,
            created=str(metadata.get("creationTimestamp", "")),
        )
        self._unlink_policy(view.name)
        self._policies[view.name] = view
        issuer = _issuer(view)
        if issuer is not None:
            self._by_issuer[issuer].add(view.name)
        return view

    def policies(self) -> tuple[PolicyView, ...]:
        """List the Policies."""
        return tuple(self._policies.values())

    def remove_policy(self, name: str, uid: str) -> bool:
        """Forget a deleted Policy; False when another object of that name has taken its place."""
        known = self._policies.get(name)
        if known is None or known.uid != uid:
            return False
        self._unlink_policy(name)
        del self._policies[name]
        return True

    def has_its_issuer(self, key: Key, entry: Entry) -> bool:
        """Tell whether the certificate is of the CA that the Policy names, and of the key that this CA has now.

        Also where either changed while nobody looked. What is not known yet, or not Ready, is no reason to doubt.
        """
        policy = self._policies.get(entry.policy)
        if policy is None or policy.spec is None:
            return True
        if not isinstance(policy.spec.issuer, CaIssuer):
            return entry.issuer_name == str(key)
        wanted = Key(policy.spec.issuer.namespace, policy.spec.issuer.name)
        if entry.issuer_name != str(wanted):
            return False
        issuer = self._entries.get(wanted)
        # A CA that is renewed keeps its key, and what it has signed stays; another object of its name may have another.
        return issuer is None or issuer.ready is not True or issuer.key_identifier == entry.issuer_key

    def has_its_chain(self, key: Key, entry: Entry) -> bool:
        """Tell whether the chain beside the certificate is the one that its CA has now.

        A CA that is renewed, or whose own chain becomes another, has its leaves published again, not issued. What is
        not known yet is no reason to doubt, here as with the issuer.
        """
        if entry.issuer_chain is None or entry.issuer_name == str(key):
            return True
        policy = self._policies.get(entry.policy)
        if policy is None or policy.spec is None or not isinstance(policy.spec.issuer, CaIssuer):
            return True
        chain = self.chain_below(Key(policy.spec.issuer.namespace, policy.spec.issuer.name))
        return chain is None or chain == entry.issuer_chain

    def chain_below(self, ca: Key) -> str | None:
        """Ids of the certificates that stand above what a CA issues, by the CA's own status; None while unknown."""
        issuer = self._entries.get(ca)
        if issuer is None or issuer.ready is not True or issuer.certificate_id is None:
            return None
        return f"{issuer.certificate_id},{issuer.issuer_chain}" if issuer.issuer_chain else str(issuer.certificate_id)

    def policies_issued_by(self, key: Key) -> tuple[str, ...]:
        """List the Policies whose issuing CA is this Certificate."""
        return tuple(self._by_issuer.get(key, ()))

    def put_namespace(self, name: str, labels: Mapping[str, str]) -> bool:
        """Take in a Namespace's labels. Returns whether they have changed."""
        changed = self._namespaces.get(name) != labels
        self._namespaces[name] = dict(labels)
        return changed

    def remove_namespace(self, name: str) -> None:
        """Forget a Namespace that is gone."""
        self._namespaces.pop(name, None)

    def namespaces(self) -> tuple[str, ...]:
        """List the Namespaces that are known."""
        return tuple(self._namespaces)

    def namespace_labels(self, name: str) -> Mapping[str, str] | None:
        """Labels of a Namespace; None while it is unknown."""
        return self._namespaces.get(name)

    def _unlink(self, key: Key, entry: Entry) -> None:
        self._cas.discard(key)
        _discard(self._by_policy, entry.policy, key)
        secret = Key(key.namespace, entry.secret_name)
        _discard(self._by_secret, secret, key)
        self._secret_owners.pop(secret, None)

    def _unlink_policy(self, name: str) -> None:
        known = self._policies.get(name)
        issuer = _issuer(known) if known is not None else None
        if issuer is not None:
            _discard(self._by_issuer, issuer, name)


def _issuer(policy: PolicyView) -> Key | None:
    issuer = policy.spec.issuer if policy.spec is not None else None
    return Key(issuer.namespace, issuer.name) if isinstance(issuer, CaIssuer) else None


def _discard(index: dict[_Value, set[_Member]], value: _Value, member: _Member) -> None:
    members = index.get(value)
    if members is not None:
        members.discard(member)
        if not members:
            del index[value]


def _older(metadata: Mapping[str, Any], known: Entry) -> bool:
    return int(metadata["resourceVersion"]) < int(known.resource_version)
