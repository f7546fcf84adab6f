"""The state folder is private, keeps what it is told, and is not removed by mistake."""

from __future__ import annotations

import json
import os
import uuid
from typing import TYPE_CHECKING

import pytest

from clm.dev.ports import choose_ports, remembered_ports
from clm.dev.state import StateFolder, default_state_folder, write_private
from clm.errors import StartFailed

if TYPE_CHECKING:
    from pathlib import Path


def test_folders_are_private(tmp_path: Path) -> None:
    """Nobody else reads token, control plane, logs or records; root's folder may be passed through, not listed."""
    state = StateFolder(tmp_path / "state")
    state.prepare()
    state.prepare()
    for folder in (state.token, state.control_plane, state.logs, state.run):
        assert folder.stat().st_mode & 0o777 == 0o700
    assert state.root.stat().st_mode & 0o777 == (0o711 if os.geteuid() == 0 else 0o700)


def test_a_private_file_replaces_the_old_one_whole(tmp_path: Path) -> None:
    """Only its owner reads it, and no temporary file stays."""
    file = tmp_path / "secret"
    for text in ("old", "new"):
        write_private(file, text)
    assert file.read_text(encoding="utf-8") == "new"
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_every_cluster_has_an_id_of_its_own(tmp_path: Path) -> None:
    """It is a part of every certificate request's id: another one for a cluster would issue everything again."""
    state = StateFolder(tmp_path)
    own, other = uuid.uuid4(), uuid.uuid4()
    assert state.cluster_id(own, embedded=True) == state.cluster_id(own, embedded=True)
    assert state.cluster_id(own, embedded=True) != state.cluster_id(other, embedded=False)


@pytest.mark.parametrize("has_embedded", [True, False])
def test_the_id_of_an_older_folder_stays_with_its_cluster(tmp_path: Path, *, has_embedded: bool) -> None:
    """With the embedded one, whichever comes first; without one, with the first that comes; with no second one."""
    state, former = StateFolder(tmp_path), uuid.uuid4()
    write_private(tmp_path / "cluster.json", json.dumps({"id": str(former)}))
    if has_embedded:
        (state.control_plane / "etcd").mkdir(parents=True)
    embedded, first, second = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
    for _ in range(2):
        ids = [state.cluster_id(cluster, embedded=False) for cluster in (first, second)]
        ids.append(state.cluster_id(embedded, embedded=True))
        assert [id_ == former for id_ in ids] == [not has_embedded, False, has_embedded]
        assert len(set(ids)) == 3


def test_only_its_own_folder_is_removed(tmp_path: Path) -> None:
    """CLM_DEV_STATE may be set wrongly; a home directory must survive that."""
    (tmp_path / "precious").touch()
    with pytest.raises(StartFailed, match="not made by clm dev"):
        StateFolder(tmp_path).delete()
    assert (tmp_path / "precious").exists()
    state = StateFolder(tmp_path / "state")
    state.prepare()
    state.delete()
    state.delete()
    assert not state.root.exists()


def test_one_command_at_a_time(tmp_path: Path) -> None:
    """A second command is told so at once, and may go on when the first has ended."""
    state = StateFolder(tmp_path)
    with state.locked(), pytest.raises(StartFailed, match="at work"), state.locked():
        pass
    with state.locked():
        assert (tmp_path / ".lock").exists()


def test_where_the_state_is(tmp_path: Path) -> None:
    """CLM_DEV_STATE says where; an ordinary user's is below the XDG state home."""
    assert default_state_folder({"CLM_DEV_STATE": str(tmp_path)}).root == tmp_path
    wanted = "/var/lib/clm-dev" if os.geteuid() == 0 else f"{tmp_path}/clm-dev"
    assert str(default_state_folder({"XDG_STATE_HOME": str(tmp_path)}).root) == wanted


def test_ports_are_kept_while_they_are_free(tmp_path: Path) -> None:
    """A kubeconfig stays valid over a restart; a port that somebody has taken is exchanged, and only that one."""
    import socket  # noqa: PLC0415 - for this test alone

    file = tmp_path / "ports.json"
    first = choose_ports(file, ["a", "b"])
    assert first["a"] != first["b"]
    assert choose_ports(file, ["a", "b"]) == first == remembered_ports(file)
    with socket.create_server(("127.0.0.1", first["a"])):
        second = choose_ports(file, ["a", "b"])
    assert second["a"] != first["a"]
    assert second["b"] == first["b"]
