"""What is patched in a Secret of ours: the data is ours alone, metadata is shared."""

from __future__ import annotations

import base64
from typing import Any

from clm.cluster.secrets import CERTIFICATE_NAME, TLS, SecretContent, difference, last_writer, written_for


def content(**changes: Any) -> SecretContent:
    """Make a wanted Secret."""
    values: dict[str, Any] = {
        "namespace": "shop",
        "name": "web-tls",
        "type": TLS,
        "data": {"tls.crt": b"certificate", "tls.key": b"key"},
        "labels": {"clm-operator.io/managed": "true", "team": "shop"},
        "annotations": {CERTIFICATE_NAME: "web"},
    }
    return SecretContent(**{**values, **changes})


def standing(wanted: SecretContent) -> dict[str, Any]:
    """Make the Secret as the API server would give it."""
    return {
        "type": wanted.type,
        "metadata": {"labels": dict(wanted.labels), "annotations": dict(wanted.annotations)},
        "data": {key: base64.b64encode(value).decode() for key, value in wanted.data.items()},
    }


def test_a_secret_that_is_as_it_should_be_is_not_written() -> None:
    """Nothing to do is no write."""
    assert difference(standing(content()), content()) is None


def test_foreign_data_is_dropped_and_changed_data_restored() -> None:
    """An edited Secret is put right by one patch."""
    found = standing(content())
    found["data"]["tls.crt"] = "Zm9yZ2Vk"
    found["data"]["extra"] = "eA=="
    patch = difference(found, content())
    assert patch is not None
    assert patch["data"] == {"tls.crt": base64.b64encode(b"certificate").decode(), "extra": None}


def test_labels_and_annotations_of_others_stay_and_ours_that_are_unwanted_go() -> None:
    """Other controllers label Secrets too; CLM cleans up only what it wrote under its own prefix."""
    found = standing(content())
    found["metadata"]["labels"]["other"] = "stays"
    found["metadata"]["annotations"]["clm-operator.io/old"] = "goes"
    patch = difference(found, content())
    assert patch == {
        "metadata": {"labels": {}, "annotations": {"clm-operator.io/old": None}},
        "data": {},
    }


def test_a_secret_is_ours_by_label_and_names_its_certificate() -> None:
    """Neither the label alone nor the annotation alone makes it ours."""
    found = standing(content())
    assert written_for(found) == "web"
    found["metadata"]["annotations"] = {}
    assert written_for(found) is None
    found = standing(content())
    found["metadata"]["labels"] = None
    assert written_for(found) is None


def test_the_last_writer_is_the_newest_that_is_not_clm() -> None:
    """By what the API server notes of every writer; our own repairs do not count."""
    found = standing(content())
    assert last_writer(found) == "somebody whom its managedFields do not name"
    found["metadata"]["managedFields"] = [
        {"manager": "kubectl-edit", "operation": "Update", "time": "2026-11-24T10:00:00Z"},
        {"manager": "reflector", "operation": "Apply", "time": "2026-11-24T11:00:00Z"},
        {"manager": "clm", "operation": "Update", "time": "2026-11-24T12:00:00Z"},
    ]
    assert last_writer(found) == "reflector (Apply at 2026-11-24T11:00:00Z)"


def test_the_content_does_not_show_in_its_repr() -> None:
    """A key never reaches a log by way of a repr."""
    assert "key" not in repr(content())


def test_what_came_from_a_former_template_goes_with_it() -> None:
    """A label that spec.secretTemplate no longer asks for is taken off; one of somebody else's stays."""
    found = standing(content())
    found["metadata"]["labels"] |= {"former": "goes", "other": "stays"}
    found["metadata"]["annotations"]["clm-operator.io/template-labels"] = "former,team"
    wanted = content(
        annotations={CERTIFICATE_NAME: "web", "clm-operator.io/template-labels": "team"},
    )
    patch = difference(found, wanted)
    assert patch is not None
    assert patch["metadata"]["labels"] == {"former": None}
