"""Promotion and rollback, on the file and against the local server."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc
from typer.testing import CliRunner

from kdmatch.cli import app
from kdmatch.errors import UserError
from kdmatch.serving import labels, management
from kdmatch.serving.client import Client, ServingError
from kdmatch.serving.labels import promote, rollback
from kdmatch.serving.model_config import find_model, read_config
from kdmatch.serving.server import LocalServer

HEAD = "# Who serves what.\n# Two lines.\n"


@pytest.fixture(scope="module")
def versions(save_model, tmp_path_factory) -> Path:
    base = tmp_path_factory.mktemp("versions") / "tiny"
    for number in (1, 2, 3):
        save_model(base / str(number), bias=10.0 * number)
    (base / "4").mkdir()
    (base / "4" / "saved_model.pb").write_bytes(b"not a model")
    return base


@pytest.fixture
def config(versions, tmp_path) -> Path:
    path = tmp_path / "models.config"
    path.write_text(
        f'{HEAD}model_config_list {{ config {{ name: "tiny" base_path: "{versions}"\n'
        'model_platform: "tensorflow" model_version_policy { specific { versions: 1 } }\n'
        'version_labels { key: "stable" value: 1 } } }\n'
    )
    return path


@pytest.fixture
def server(versions, config):
    with LocalServer(versions.parent, port=0, poll_seconds=0, config=config) as server:
        server.target = f"127.0.0.1:{server.port}"
        yield server


def score(server, **spec) -> float:
    with Client(server.target, "tiny", **spec) as client:
        return round(float(np.arctanh(client.score("q", ["d"])[0]) * 100))


def wait_for(condition, seconds=20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def labels_in(path: Path) -> dict[str, int]:
    return dict(find_model(read_config(path), "tiny", path).version_labels)


def test_promoted_and_rolled_back_by_a_server(server, config):
    assert score(server, version_label="stable") == 10
    promote(config, "tiny", 2, "canary", server.target)
    assert (score(server, version_label="stable"), score(server, version_label="canary")) == (
        10,
        20,
    )
    change = promote(config, "tiny", target=server.target)
    assert change.moved
    assert labels_in(config) == {"stable": 2, "canary": 2, "previous": 1}
    assert score(server, version_label="stable") == 20
    assert score(server, version_label="canary") == 20

    rollback(config, "tiny", server.target)
    assert labels_in(config) == {"stable": 1, "canary": 1, "previous": 2}
    assert score(server, version_label="stable") == 10
    assert score(server, version_label="canary") == 10
    assert config.read_text().startswith(HEAD)

    promote(config, "tiny", 3, target=server.target)
    assert score(server, version_label="previous") == 10
    assert score(server, version_label="canary") == 30
    with pytest.raises(ServingError, match="NOT_FOUND"):
        score(server, version=2)


def test_a_version_that_does_not_load_changes_nothing(server, config, monkeypatch):
    monkeypatch.setattr(management, "_FAILED_SECONDS", 0.2)
    before = read_config(config)
    with pytest.raises(UserError, match="tiny version 4 does not load"):
        promote(config, "tiny", 4, target=server.target, wait_seconds=5)
    assert labels_in(config) == {"stable": 1}
    assert read_config(config) == before
    assert score(server, version_label="stable") == 10


STATES = get_model_status_pb2.ModelVersionStatus


class Scripted(model_service_pb2_grpc.ModelServiceServicer):
    """Tells one state after another, the last for ever."""

    def __init__(self, states):
        self.states = states

    def GetModelStatus(self, request, context):
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        status = {"error_code": 2, "error_message": "broken"} if state == STATES.END else {}
        return get_model_status_pb2.GetModelStatusResponse(
            model_version_status=[STATES(version=2, state=state, status=status)]
        )


@pytest.mark.parametrize(
    ("told", "outcome"),
    [
        ([STATES.END, STATES.LOADING, STATES.AVAILABLE], None),
        ([*[STATES.END] * 30, STATES.LOADING, *[STATES.END] * 30, STATES.AVAILABLE], None),
        ([STATES.END], ("version 2 does not load: broken", 5.0)),
        ([STATES.LOADING], ("version 2 is LOADING after 20 s", 20.1)),
        ([STATES.LOADING] * 190 + [STATES.END], ("version 2 does not load: broken", 20.0)),
    ],
)
def test_an_old_failure_is_not_taken_for_a_new_one(told, outcome):
    server, now = grpc.server(ThreadPoolExecutor(1)), [0.0]
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(Scripted(list(told)), server)
    target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()

    def pause(seconds):
        now[0] += seconds

    try:
        if outcome is None:
            labels.await_version(target, "tiny", 2, 20, lambda: now[0], pause)
        else:
            with pytest.raises(UserError, match=outcome[0]):
                labels.await_version(target, "tiny", 2, 20, lambda: now[0], pause)
            assert now[0] == pytest.approx(outcome[1], abs=0.11)
    finally:
        server.stop(None)


def test_of_two_changes_at_once_the_second_is_refused(server, config, monkeypatch):
    waiting, going_on = threading.Event(), threading.Event()
    wait = labels.await_version

    def slow(*arguments):
        waiting.set()
        assert going_on.wait(20)
        wait(*arguments)

    monkeypatch.setattr(labels, "await_version", slow)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(promote, config, "tiny", 2, "canary", server.target)
        assert waiting.wait(20)
        try:
            for change in (lambda: promote(config, "tiny", 3), lambda: rollback(config, "tiny")):
                with pytest.raises(UserError, match="another promotion or rollback is at work"):
                    change()
        finally:
            going_on.set()
        assert first.result().moved
    assert labels_in(config) == {"stable": 1, "canary": 2}
    assert promote(config, "tiny", target=server.target).moved


def test_a_label_that_has_moved_stays_where_the_server_drops_nothing(server, config, monkeypatch):
    reload, calls = labels.reload_config, []

    def fails_third(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise UserError("the server is away")
        reload(*arguments)

    monkeypatch.setattr(labels, "reload_config", fails_third)
    with pytest.raises(UserError, match="the server is away; tiny's labels have moved all the"):
        promote(config, "tiny", 2, target=server.target)
    assert labels_in(config) == {"stable": 2, "previous": 1}
    assert score(server, version_label="stable") == 20


def test_clients_without_a_label_are_warned_of(config):
    def call(*arguments):
        options = ["--config", str(config)]
        result = CliRunner().invoke(app, [*arguments, *options], catch_exceptions=False)
        assert result.exit_code == 0
        return result.stderr

    canary = ("promote", "tiny", "--version", "2", "--label", "canary")
    warning = "tiny: version 2, not stable's 1, is what clients get that ask for no label"
    assert warning in call(*canary)
    assert warning in call(*canary, "--loaded")
    assert call("promote", "tiny", "--loaded") == ""
    assert warning in call("rollback", "tiny")


def test_without_a_server_a_version_is_listed_before_its_label_moves(config):
    first = promote(config, "tiny", 2)
    assert (first.moved, first.versions) == (False, (1, 2))
    assert labels_in(config) == {"stable": 1}
    with pytest.raises(UserError, match="version 2 is listed; its label moves once it is loaded"):
        promote(config, "tiny", 2)
    assert labels_in(config) == {"stable": 1}
    assert promote(config, "tiny", 2, loaded=True).moved
    assert labels_in(config) == {"stable": 2, "previous": 1}
    assert rollback(config, "tiny").moved
    assert labels_in(config) == {"stable": 1, "previous": 2}


def test_without_a_server_too_what_has_no_label_is_dropped(config):
    for version in (2, 3):
        promote(config, "tiny", version)
        change = promote(config, "tiny", version, loaded=True)
        assert change.moved
        assert change.versions == (version - 1, version)  # stable, and previous for a rollback


def test_a_canary_of_its_own_stays_when_another_becomes_stable(config):
    for version, label in ((2, "canary"), (3, "stable")):
        promote(config, "tiny", version, label)
        promote(config, "tiny", version, label, loaded=True)
    assert labels_in(config) == {"stable": 3, "canary": 2, "previous": 1}
    rollback(config, "tiny")
    assert labels_in(config) == {"stable": 1, "canary": 2, "previous": 3}


def test_the_first_stable_keeps_what_was_served(config):
    config.write_text(config.read_text().replace('version_labels { key: "stable" value: 1 }', ""))
    before = config.read_text()
    with pytest.raises(UserError, match="tiny has no stable version, which a canary would leave"):
        promote(config, "tiny", 2, "canary")
    assert config.read_text() == before
    assert promote(config, "tiny", 2).versions == (1, 2)
    change = promote(config, "tiny", 2, loaded=True)
    assert (change.moved, change.versions) == (True, (1, 2))
    assert labels_in(config) == {"stable": 2, "previous": 1}


@pytest.mark.parametrize("policy", ["all {}", "latest { num_versions: 2 }", None])
def test_versions_that_are_not_listed_are_not_dropped(config, policy):
    listed = "model_version_policy { specific { versions: 1 } }"
    other = f"model_version_policy {{ {policy} }}" if policy else ""
    before = config.read_text().replace(listed, other)
    config.write_text(before)
    with pytest.raises(UserError, match="list those that it serves now under `specific`"):
        promote(config, "tiny", 2)
    assert config.read_text() == before


def test_a_link_to_the_file_stays_one(config, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "models.config"
    link.symlink_to(config)
    promote(link, "tiny", 2)
    promote(link, "tiny", 2, loaded=True)
    assert link.is_symlink()
    assert labels_in(config) == {"stable": 2, "previous": 1}
    rollback(link, "tiny")
    assert labels_in(config) == {"stable": 1, "previous": 2}


def test_the_server_refuses_a_label_of_a_version_that_is_not_loaded(server, config):
    from tensorflow_serving.apis import model_management_pb2

    wanted = read_config(config)
    entry = find_model(wanted, "tiny", config)
    entry.model_version_policy.specific.versions.append(2)
    entry.version_labels["stable"] = 2
    request = model_management_pb2.ReloadConfigRequest(config=wanted)
    with grpc.insecure_channel(server.target) as channel:
        service = model_service_pb2_grpc.ModelServiceStub(channel)
        with pytest.raises(grpc.RpcError) as raised:
            service.HandleReloadConfigRequest(request, timeout=20)
        assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert score(server, version_label="stable") == 10
        assert server.servables.versions("tiny") == [1]  # labels first: nothing was loaded
        entry.version_labels["stable"] = 1
        listing = model_management_pb2.ReloadConfigRequest(config=wanted)
        service.HandleReloadConfigRequest(listing, timeout=20)
        assert score(server, version=2) == 20
        service.HandleReloadConfigRequest(request, timeout=20)
    assert score(server, version_label="stable") == 20


def test_two_that_configure_at_once_load_a_version_once(server, config, monkeypatch):
    wanted = read_config(config)
    entry = find_model(wanted, "tiny", config)
    entry.model_version_policy.specific.versions.append(2)
    loads, load = [], server.servables._load

    def slow(name, version, path):
        loads.append(version)
        time.sleep(0.3)
        return load(name, version, path)

    monkeypatch.setattr(server.servables, "_load", slow)
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(server.servables.configure, wanted.model_config_list) for _ in range(2)]
    assert [one.result() for one in both] == [None, None]
    assert loads == [2]
    assert server.servables.versions("tiny") == [2, 1]


def test_the_server_reads_a_changed_file(versions, config):
    with LocalServer(versions.parent, port=0, poll_seconds=0.05, config=config) as server:
        server.target = f"127.0.0.1:{server.port}"
        assert not promote(config, "tiny", 2).moved
        assert promote(config, "tiny", 2, checks=[server.target]).moved
        wait_for(lambda: score(server, version_label="stable") == 20)
        assert score(server, version_label="previous") == 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("other", 2), "no model 'other'; it lists tiny"),
        (("tiny", 1), "version 1 is stable already"),
        (("tiny", 9), "no complete version 9"),
        (("tiny", 2, "latest"), "label 'latest' is unknown"),
        (("tiny",), "has no canary to promote"),
    ],
)
def test_mistakes_are_one_line_and_leave_the_file(config, arguments, message):
    before = config.read_text()
    with pytest.raises(UserError, match=message):
        promote(config, *arguments)
    assert config.read_text() == before


def test_nothing_to_roll_back_to(config):
    with pytest.raises(UserError, match="has no previous version"):
        rollback(config, "tiny")


def test_a_file_that_is_no_config_is_one_line(tmp_path):
    path = tmp_path / "models.config"
    with pytest.raises(UserError, match="cannot be read"):
        promote(path, "tiny", 1)
    path.write_text("model_config_lisp {}")
    with pytest.raises(UserError, match="not a ModelServerConfig"):
        promote(path, "tiny", 1)


def test_no_model_folder_is_one_line(tmp_path, config, versions):
    text = config.read_text().replace(str(versions), "/nowhere/absent")
    config.write_text(text)
    with pytest.raises(UserError, match=r"models\.config: model tiny: base_path"):
        LocalServer(tmp_path, port=0, config=config).start()
