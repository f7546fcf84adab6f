"""What the watch of Secrets believes, when its news and our writes cross."""

from __future__ import annotations

from typing import Any, cast

from clm.cluster.secret_watch import SecretWatch
from clm.cluster.secrets import SecretVersion


def test_it_knows_whose_a_secret_is() -> None:
    """By label and annotation, or by its uid; of one namespace, and as long as it stands."""

    def event(namespace: str, name: str, *, of: str, managed: str = "true") -> dict[str, Any]:
        metadata = {
            "namespace": namespace,
            "name": name,
            "uid": f"{namespace}-{name}",
            "resourceVersion": "1",
            "labels": {"clm-operator.io/managed": managed},
            "annotations": {"clm-operator.io/certificate-name": of},
        }
        return {"metadata": metadata}

    watch = SecretWatch(cast("Any", None), lambda _namespace, _name: None)
    assert watch.written_for("shop", "web", uid=None) == []
    for one in (
        event("shop", "web-tls", of="web"),
        event("shop", "web-new", of="web"),
        event("shop", "api-tls", of="api"),
        event("shop", "false", of="web", managed="false"),
        event("bank", "web-tls", of="web"),
    ):
        watch._apply("ADDED", one)
    watch.wrote("shop", "own", SecretVersion("1", "2", "web"))
    assert sorted(watch.written_for("shop", "web", uid=None)) == ["own", "web-new", "web-tls"]
    assert sorted(watch.written_for("shop", "other", uid="shop-api-tls")) == ["api-tls"]
    watch._apply("DELETED", event("shop", "web-new", of="web"))
    assert sorted(watch.written_for("shop", "web", uid=None)) == ["own", "web-tls"]
    watch._apply("DELETED", event("bank", "web-tls", of="web"))
    assert watch.written_for("bank", "web", uid=None) == []


def test_a_late_echo_of_a_write_does_not_hide_a_newer_edit_or_a_deletion() -> None:
    """The answer to our write may come after the watch has told of what happened since."""

    def event(version: int) -> dict[str, Any]:
        return {"metadata": {"namespace": "shop", "name": "web-tls", "uid": "1", "resourceVersion": str(version)}}

    watch = SecretWatch(cast("Any", None), lambda _namespace, _name: None)
    watch._apply("MODIFIED", event(3))
    watch.wrote("shop", "web-tls", SecretVersion("1", "2"))
    assert watch.version("shop", "web-tls") == SecretVersion("1", "3")
    watch._apply("DELETED", event(4))
    watch.wrote("shop", "web-tls", SecretVersion("1", "2"))
    assert watch.version("shop", "web-tls") is None
