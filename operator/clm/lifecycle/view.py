"""What the operator remembers of the cluster: slim, and enough to tell that an object needs nothing.

An object that is settled keeps a few strings here and no body. One that needs work keeps the body that the
event brought, until it is settled.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from clm.errors import InvalidInput
from clm.lifecycle.contest import contest_of
from clm.lifecycle.ending import finalizer_differs, is_deleted_to_revoke
from clm.lifecycle.failures import waits_until
from clm.lifecycle.renewal import is_answered, renew_requested_at
from clm.resources.authority import AuthoritySpec, read_authority
from clm.resources.certificate import CertificateStatus, parse_status
from clm.resources.policy import CaIssuer, PolicySpec, parse_policy
from clm.resources.reading import Reader, Report

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterator, Mapping

    from clm.cluster.secrets import SecretVersion
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


@dataclass(slots=True)
class Entry:
    """One Certificate object. `body` is there while it needs work.

    `issuer_key` identifies the key that signed its certificate, `key_identifier` its own. That, and what it publishes,
    is kept for a CA only. `issuer_chain` lists the ids of the CA certificates that stand beside its certificate.
    `renewal_at` is in seconds since the epoch; `renewal_recorded`: clm_secure_db has it, too, and in an index.
    `ends`: it is being deleted and is to be revoked, or its finalizer is not as its deletionPolicy asks.
    """

    uid: str
    created: str
    generation: int
    resource_version: str
    policy: str
    secret_name: str
    is_ca: bool
    observed_generation: int | None
    ready: bool | None
    ready_reason: str | None
    certificate_id: uuid.UUID | None
    secret_uid: str | None
    secret_resource_version: str | None
    renewal_at: float | None
    renewal_recorded: bool
    hold: HoldKind | None
    contest_ends_at: float | None
    repairs: int
    issuer_name: str | None
    issuer_key: str | None
    issuer_chain: str | None
    key_identifier: str | None
    authority: AuthoritySpec | None = None
    ends: bool = False
    password_secrets: tuple[tuple[str, str], ...] = ()
    body: dict[str, Any] | None = field(default=None, repr=False)

    def settled(self, secret: SecretVersion | None, *, now: float) -> bool:
        """Tell whether all that the object asks for stands: then nothing is read and nothing written."""
        return (
            self.ready is True
            and not self.ends
            and self.observed_generation == self.generation
            and secret is not None
            and secret.uid == self.secret_uid
            and secret.resource_version == self.secret_resource_version
            and now < self.next_look_at
        )

    @property
    def next_look_at(self) -> float:
        """Moment at which something falls due, in seconds since the epoch; infinite when nothing does."""
        return min(self.renewal_at or float("inf"), self.contest_ends_at or float("inf"))

    @property
    def look_is_recorded(self) -> bool:
        """Whether the database will call for the next look: then nobody here has to remember it for long."""
        return self.renewal_recorded and self.next_look_at == self.renewal_at


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
        entry = _entry(body)
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


def _entry(body: dict[str, Any]) -> Entry:
    metadata = body["metadata"]
    spec = body.get("spec") or {}
    status: CertificateStatus = parse_status(body.get("status") or {})
    contest = contest_of(body.get("status"))
    return Entry(
        uid=metadata["uid"],
        created=str(metadata.get("creationTimestamp", "")),
        generation=metadata["generation"],
        resource_version=metadata["resourceVersion"],
        policy=sys.intern(str((spec.get("policyRef") or {}).get("name", ""))),
        secret_name=str(spec.get("secretName", "")),
        is_ca=spec.get("isCA") is True,
        observed_generation=status.observed_generation,
        ready=status.ready,
        ready_reason=sys.intern(status.ready_reason) if status.ready_reason else None,
        certificate_id=status.certificate_id,
        secret_uid=status.secret_uid,
        secret_resource_version=status.secret_resource_version,
        renewal_at=_renewal_at(metadata, status),
        renewal_recorded=status.renewal_time is not None and status.next_attempt_time is None,
        hold=status.hold,
        contest_ends_at=contest.ends_at.timestamp() if contest is not None else None,
        repairs=contest.repairs if contest is not None else 0,
        issuer_name=sys.intern(status.issuer_name) if status.issuer_name else None,
        issuer_key=sys.intern(status.issuer_key_identifier) if status.issuer_key_identifier else None,
        issuer_chain=sys.intern(",".join(status.issuer_chain)) if status.issuer_chain is not None else None,
        key_identifier=status.key_identifier if spec.get("isCA") is True else None,
        authority=_authority(spec) if spec.get("isCA") is True else None,
        ends=finalizer_differs(body) or is_deleted_to_revoke(body),
        password_secrets=status.password_secrets,
        body=body,
    )


def _authority(spec: Mapping[str, Any]) -> AuthoritySpec | None:
    """What a CA publishes; nothing where that cannot be read, of which its own reconcile tells."""
    report = Report()
    found = read_authority(Reader(spec, path="spec", report=report))
    try:
        report.check()
    except InvalidInput:
        return None
    return found


def _renewal_at(metadata: Mapping[str, Any], status: CertificateStatus) -> float | None:
    """Moment, in seconds since the epoch, from which a renewal is due, by its time or because somebody asked.

    Of a certificate that is not renewed by time, its end: then the object is not Ready any more. Where attempts have
    failed, or a limit was reached, not before the next attempt.
    """
    end = status.renewal_time or status.not_after
    moments = [end] if end else []
    asked = renew_requested_at(metadata)
    if asked is not None and status.not_before is not None and not is_answered(asked, not_before=status.not_before):
        moments.append(asked)
    if not moments:
        return None
    moment = min(moments)
    until = status.next_attempt_time if status.hold is not None else None
    if status.hold == "Failed":
        until = waits_until(status, generation=metadata["generation"], asked_at=asked)
    if until is not None:
        moment = max(moment, min(until, status.not_after or until))
    return moment.timestamp()
