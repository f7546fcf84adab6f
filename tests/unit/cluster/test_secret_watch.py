"""What the watch of Secrets believes, when its news and our writes cross."""

from __future__ import annotations

from typing import Any, cast

from clm.cluster.secret_watch import SecretWatch
from clm.cluster.secrets import SecretVersion


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
