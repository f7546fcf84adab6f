"""Where things are in the Kubernetes API."""

from __future__ import annotations

CERTIFICATES = "/apis/clm-operator.io/v1alpha1/certificates"
POLICIES = "/apis/clm-operator.io/v1alpha1/policies"
KEY_ROTATIONS = "/apis/clm-operator.io/v1alpha1/keyrotations"
SECRETS = "/api/v1/secrets"
NAMESPACES = "/api/v1/namespaces"
CONFIG_MAPS = "/api/v1/configmaps"

MANAGED_LABEL = "clm-operator.io/managed"
MANAGED_SELECTOR = f"{MANAGED_LABEL}=true"


def certificate(namespace: str, name: str) -> str:
    """Path of one Certificate."""
    return f"/apis/clm-operator.io/v1alpha1/namespaces/{namespace}/certificates/{name}"


def certificates(namespace: str) -> str:
    """Path of a namespace's Certificates."""
    return f"/apis/clm-operator.io/v1alpha1/namespaces/{namespace}/certificates"


def certificate_status(namespace: str, name: str) -> str:
    """Path of one Certificate's status."""
    return f"{certificate(namespace, name)}/status"


def policy_status(name: str) -> str:
    """Path of one Policy's status."""
    return f"{POLICIES}/{name}/status"


def key_rotation_status(name: str) -> str:
    """Path of one KeyRotation's status."""
    return f"{KEY_ROTATIONS}/{name}/status"


def secrets(namespace: str) -> str:
    """Path of a namespace's Secrets."""
    return f"/api/v1/namespaces/{namespace}/secrets"


def secret(namespace: str, name: str) -> str:
    """Path of one Secret."""
    return f"{secrets(namespace)}/{name}"


def config_maps(namespace: str) -> str:
    """Path of a namespace's ConfigMaps."""
    return f"/api/v1/namespaces/{namespace}/configmaps"


def config_map(namespace: str, name: str) -> str:
    """Path of one ConfigMap."""
    return f"{config_maps(namespace)}/{name}"


def events(namespace: str) -> str:
    """Path of a namespace's Events."""
    return f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"
