import os
import re
import signal
import socket
import subprocess
import sys

import pytest

from kdmatch.errors import UserError
from kdmatch.serving.versions import (
    hidden_folder,
    latest_version,
    list_versions,
    new_version,
    next_version,
)

WRITE_AND_HANG = """
import sys, time
from pathlib import Path
from kdmatch.serving.versions import new_version
with new_version(Path(sys.argv[1])) as directory:
    (directory / "saved_model.pb").write_bytes(b"half")
    print(directory.name, flush=True)
    time.sleep(60)
"""


def publish(base, version=None):
    with new_version(base, version) as directory:
        (directory / "variables").mkdir()
        (directory / "variables" / "data").write_bytes(b"weights")
        assert directory.name.startswith(".")
        assert directory.parent == base
        (directory / "saved_model.pb").write_bytes(b"graph")


def entries(base):
    return sorted(path.name for path in base.iterdir())


def test_versions_count_up_from_one(tmp_path):
    base = tmp_path / "saved_models" / "albert"
    assert (list_versions(base), latest_version(base), next_version(base)) == ([], None, 1)
    publish(base)
    publish(base, 9)
    publish(base)
    assert list_versions(base) == [1, 9, 10]
    assert latest_version(base) == 10
    assert entries(base) == ["1", "10", "9"]
    assert (base / "9" / "variables" / "data").read_bytes() == b"weights"


def test_nothing_is_visible_before_the_end(tmp_path):
    with new_version(tmp_path) as directory:
        (directory / "saved_model.pb").write_bytes(b"graph")
        assert list_versions(tmp_path) == []
        assert next_version(tmp_path) == 2
    assert list_versions(tmp_path) == [1]


def test_an_exception_leaves_nothing(tmp_path):
    def fail():
        with new_version(tmp_path) as directory:
            (directory / "saved_model.pb").write_bytes(b"graph")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert entries(tmp_path) == []


def test_an_existing_version_is_refused_and_kept(tmp_path):
    publish(tmp_path, 3)
    with pytest.raises(UserError, match="version 3 exists already"), new_version(tmp_path, 3):
        pass
    assert entries(tmp_path) == ["3"]
    assert (tmp_path / "3" / "saved_model.pb").read_bytes() == b"graph"


def test_two_writers_of_one_number_do_not_mix(tmp_path):
    def overtake():
        with new_version(tmp_path, 1) as slow:
            (slow / "saved_model.pb").write_bytes(b"slow")
            publish(tmp_path, 1)

    with pytest.raises(UserError, match="cannot be published"):
        overtake()
    assert entries(tmp_path) == ["1"]
    assert (tmp_path / "1" / "saved_model.pb").read_bytes() == b"graph"


def test_an_empty_export_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"no saved_model\.pb"), new_version(tmp_path):
        pass
    with pytest.raises(UserError, match="not a positive number"), new_version(tmp_path, 0):
        pass
    assert entries(tmp_path) == []


def test_only_complete_numeric_directories_are_versions(tmp_path):
    for name in ("1", "007", "v2", ".3", "4"):
        (tmp_path / name).mkdir()
    (tmp_path / "4" / "saved_model.pb").touch()
    (tmp_path / "5").touch()
    assert list_versions(tmp_path) == [4]


def test_a_version_can_be_read_by_others(tmp_path):
    mask = os.umask(0o022)
    try:
        publish(tmp_path)
    finally:
        os.umask(mask)
    assert (tmp_path / "1").stat().st_mode & 0o777 == 0o755


def test_what_a_killed_export_leaves_is_invisible_and_then_removed(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE_AND_HANG, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    try:
        name = process.stdout.readline().strip()
        assert re.match(rf"\.tmp-1-.+-{process.pid}-", name)
        publish(tmp_path)
        assert entries(tmp_path) == [name, "2"], "a living writer's directory must stay"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    assert (tmp_path / name / "saved_model.pb").is_file()
    assert list_versions(tmp_path) == [2]
    publish(tmp_path)
    assert entries(tmp_path) == ["2", "3"]


def test_leftovers_under_this_process_id_are_removed_but_not_those_of_other_hosts(tmp_path):
    with new_version(tmp_path) as directory:
        name = directory.name
        (directory / "saved_model.pb").touch()
    (tmp_path / name).mkdir()
    host = name.removeprefix(".tmp-1-").rsplit("-", 2)[0]
    elsewhere = name.replace(host, "elsewhere").replace(str(os.getpid()), "999999999")
    (tmp_path / elsewhere).mkdir()
    publish(tmp_path)
    assert entries(tmp_path) == sorted([elsewhere, "1", "2"])


def test_a_folder_of_another_name_spares_what_a_living_process_writes(tmp_path):
    """Formats for other engines are written so too, beside versions."""
    host = socket.gethostname() or "host"
    living = tmp_path / f".tmp-onnx-{host}-{os.getppid()}-0123abcd"
    living.mkdir()
    with hidden_folder(tmp_path, "onnx") as folder:
        assert living.exists()
        assert folder.is_dir()
        assert next_version(tmp_path) == 1
        with hidden_folder(tmp_path, "former") as second:
            assert second != folder
            assert folder.exists()
    assert list(tmp_path.iterdir()) == [living]
