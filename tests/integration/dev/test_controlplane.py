"""The embedded control plane keeps its objects, lets in only whom it should, and leaves nothing running."""

from __future__ import annotations

import os
import signal
import ssl
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes import client, config

from clm.dev import cluster
from clm.dev.binaries import ControlPlaneBinaries, find_binaries
from clm.dev.identities import Identities
from clm.dev.ports import remembered_ports
from clm.errors import StartFailed
from tests.fix_controlplane import make_control_plane

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from clm.dev.controlplane import ControlPlane


@pytest.fixture
def own(tmp_path: Path, control_plane_binaries: ControlPlaneBinaries) -> Iterator[ControlPlane]:
    """A control plane, not started, that a test may break."""
    plane = make_control_plane(tmp_path, control_plane_binaries)
    yield plane
    plane.stop()


def connection(kubeconfig: Path) -> Any:
    """Connection as the user of a kubeconfig."""
    return config.new_client_from_config(config_file=str(kubeconfig))  # type: ignore[no-untyped-call]


def api(kubeconfig: Path) -> Any:
    """Client for core objects."""
    return client.CoreV1Api(connection(kubeconfig))


def test_everything_survives_stop_start_and_a_killed_server(own: ControlPlane) -> None:
    """Objects and the kubeconfig stay valid; nothing runs after a stop."""
    own.start()
    kubeconfig = own.kubeconfig.read_bytes()
    core = api(own.kubeconfig)
    core.create_namespace({"metadata": {"name": "kept"}})
    own.stop()
    assert not own.is_running()
    assert own.processes.names() == []
    own.start()
    assert own.is_running()
    assert own.kubeconfig.read_bytes() == kubeconfig
    server = own.processes.find("kube-apiserver")
    assert server is not None
    os.kill(server.pid, signal.SIGKILL)
    own.start()
    assert api(own.kubeconfig).read_namespace("kept").metadata.name == "kept"


def test_a_program_that_ends_is_named_with_its_log(
    tmp_path: Path, control_plane_binaries: ControlPlaneBinaries
) -> None:
    """Who reads the error knows which program, why, and where its log is."""
    broken = tmp_path / "etcd"
    broken.write_text("#!/bin/sh\necho cannot open the data directory\nexit 3\n", encoding="ascii")
    broken.chmod(0o755)
    paths = ControlPlaneBinaries(
        broken, control_plane_binaries.kube_apiserver, control_plane_binaries.kube_controller_manager
    )
    plane = make_control_plane(tmp_path, paths)
    with pytest.raises(StartFailed, match="etcd") as raised:
        plane.start(timeout_s=20)
    plane.stop()
    assert str(plane.processes.log("etcd")) in str(raised.value)
    assert "cannot open the data directory" in plane.processes.tail("etcd")
    assert plane.processes.names() == []


def test_the_controller_has_only_the_rights_that_it_is_given(control_plane: ControlPlane) -> None:
    """Its credentials alone give nothing; the shipped roles give what they say."""
    core = api(control_plane.controller_kubeconfig)
    with pytest.raises(client.ApiException) as refused:
        core.list_namespace()
    assert refused.value.status == 403
    cluster.apply(control_plane.kubeconfig, [cluster.namespace("clm-system"), *cluster.rights()])
    _await_granted(core.list_namespace)
    with pytest.raises(client.ApiException) as refused:
        core.delete_namespace("default")
    assert refused.value.status == 403


def _await_granted(act: Callable[[], Any], *, timeout_s: float = 30.0) -> None:
    """Wait until the API server's authorizer has learned of a role that was just applied: it does so by a watch."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            act()
        except client.ApiException as error:
            if error.status != 403 or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def test_applying_again_changes_nothing(control_plane: ControlPlane) -> None:
    """A second start writes no new version of a definition."""
    extensions = client.ApiextensionsV1Api(connection(control_plane.kubeconfig))
    before = {item.metadata.name: item.metadata.resource_version for item in _definitions(extensions)}
    assert len(before) == 3
    cluster.apply(control_plane.kubeconfig, cluster.definitions())
    assert {item.metadata.name: item.metadata.resource_version for item in _definitions(extensions)} == before


def _definitions(extensions: Any) -> list[Any]:
    return list(extensions.list_custom_resource_definition().items)


def test_a_refused_object_is_named(control_plane: ControlPlane) -> None:
    """The error says which object, and what the API server says of it."""
    with pytest.raises(StartFailed, match=r"Namespace Not-A-Name is refused \(422\): .*Not-A-Name"):
        cluster.apply(control_plane.kubeconfig, [cluster.namespace("Not-A-Name")])


def test_a_client_of_the_api_is_none_of_etcd(control_plane: ControlPlane) -> None:
    """Not even the administrator's certificate opens etcd, where the Secrets are; no certificate opens neither."""
    identities = Identities(control_plane.folder / "identities")
    ports = remembered_ports(control_plane.folder / "ports.json")
    etcd = f"https://127.0.0.1:{ports['etcd']}/health"
    assert _status(etcd, identities, identities.etcd_ca, "etcd-client") == 200
    assert _status(etcd, identities, identities.etcd_ca, "admin") is None
    assert _status(etcd, identities, identities.etcd_ca, None) is None
    version = f"https://127.0.0.1:{ports['api']}/version"
    assert _status(version, identities, identities.api_ca, "admin") == 200
    assert _status(version, identities, identities.api_ca, None) == 401


def _status(url: str, identities: Identities, ca: Path, name: str | None) -> int | None:
    """HTTP status of a request; None when the connection is refused."""
    context = ssl.create_default_context(cafile=ca)
    if name is not None:
        files = identities.of(name)
        context.load_cert_chain(files.certificate, files.key)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(url, timeout=5) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return None


def test_which_binaries(tmp_path: Path) -> None:
    """KUBEBUILDER_ASSETS comes first, completed by the newest complete folder of the cache; else it says what to do."""
    cache = tmp_path / "clm" / "controlplane"
    for number, version in enumerate(("v1", "v2", "incomplete")):
        (cache / version).mkdir(parents=True)
        programs = ("etcd",) if version == "incomplete" else ("etcd", "kube-apiserver", "kube-controller-manager")
        for program in programs:
            (cache / version / program).touch(mode=0o755)
        os.utime(cache / version, (number, number))
    environment = {"XDG_CACHE_HOME": str(tmp_path)}
    assert find_binaries(environment).etcd == cache / "v2" / "etcd"
    assert find_binaries({**environment, "KUBEBUILDER_ASSETS": str(cache / "v1")}).etcd == cache / "v1" / "etcd"
    assets = {"KUBEBUILDER_ASSETS": str(cache / "incomplete")}
    completed = find_binaries({**environment, **assets})
    assert completed.etcd == cache / "incomplete" / "etcd"
    assert completed.kube_controller_manager == cache / "v2" / "kube-controller-manager"
    with pytest.raises(StartFailed, match="lacks kube-apiserver, kube-controller-manager: run hack/build"):
        find_binaries({**assets, "XDG_CACHE_HOME": str(tmp_path / "empty")})
    with pytest.raises(StartFailed, match="hack/build-controlplane"):
        find_binaries({"XDG_CACHE_HOME": str(tmp_path / "empty")})
