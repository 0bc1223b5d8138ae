"""A local server's life: bases, versions that come while it serves, start, stop, the real one."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
)

from kdmatch.errors import UserError
from kdmatch.serving.client import Client, ServingError
from kdmatch.serving.server import LocalServer, ServeOptions, _bind, model_server_command
from kdmatch.serving.session import copied_signatures
from kdmatch.serving.versions import new_version
from kdmatch.serving.warmup import write_warmup
from kdmatch.serving.wire import PredictSpec


def test_one_model_directory_is_a_base_too(base):
    with LocalServer(base / "other", port=0, poll_seconds=0) as server:
        assert server.servables.names == ["other"]


def test_a_directory_without_models_is_one_line(tmp_path):
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UserError, match="no model found; expected <name>/<version>"):
            LocalServer(path, port=0).start()


def test_a_port_in_use_is_one_line(server, base):
    with pytest.raises(UserError, match=f"127.0.0.1:{server.port} cannot be listened on"):
        LocalServer(base, port=server.port).start()


@pytest.mark.parametrize(
    ("host", "address"),
    [("::1", "[::1]:8500"), ("[::]", "[::]:8500"), ("localhost", "localhost:8500")],
)
def test_an_ipv6_address_is_put_in_brackets(host, address):
    asked = []

    class Grpc:
        def add_insecure_port(self, address):
            asked.append(address)
            return 8500

    assert _bind(Grpc(), host, 8500) == 8500
    assert asked == [address]


def test_versions_change_under_load_without_a_failed_request(save_model, tmp_path):
    base = tmp_path / "hot"
    with new_version(base) as directory:
        save_model(directory, bias=10.0)
    answers, stopping = [], threading.Event()

    def keep_asking(client):
        while not stopping.is_set():
            answers.append(float(client.score("q", ["d"])[0]))

    server = LocalServer(base, port=0, poll_seconds=0.05).start()
    with Client(f"127.0.0.1:{server.port}", "hot", max_retries=0) as client:
        with ThreadPoolExecutor(4) as pool:
            asking = [pool.submit(keep_asking, client) for _ in range(4)]
            try:
                for bias in (20.0, 30.0):
                    with new_version(base) as directory:
                        save_model(directory, bias=bias)
                    score = np.tanh(bias / 100)
                    wait_for(lambda score=score: answers and np.isclose(answers[-1], score))
            finally:
                stopping.set()
            for future in asking:
                future.result()
        seen = sorted({round(answer, 4) for answer in answers})
        assert seen == [round(float(np.tanh(b / 100)), 4) for b in (10.0, 20.0, 30.0)]
    server.stop()


def test_a_broken_version_leaves_the_old_one_serving(save_model, saved_model, tmp_path):
    base = tmp_path / "model"
    shutil.copytree(saved_model, base / "1")
    with LocalServer(base, port=0, poll_seconds=0) as server:
        target = f"127.0.0.1:{server.port}"
        with new_version(base) as directory:
            (directory / "saved_model.pb").write_bytes(b"not a model")
        with new_version(base) as directory:
            save_model(directory)
            write_warmup(directory, "model", [("q", ["d"])], signature="no")
        with grpc.insecure_channel(target) as channel, Client(target, "model") as client:
            service = model_service_pb2_grpc.ModelServiceStub(channel)
            service.HandleReloadConfigRequest(model_management_pb2.ReloadConfigRequest(), timeout=9)
            request = get_model_status_pb2.GetModelStatusRequest()
            request.model_spec.name = "model"
            failed, serving = service.GetModelStatus(request, timeout=5).model_version_status
            assert (failed.version, serving.version) == (3, 1)
            assert failed.state == get_model_status_pb2.ModelVersionStatus.END
            assert failed.status.error_message == 'Serving signature key "no" not found.'
            assert client.score("q", ["d"]).shape == (1,)

            with new_version(base) as directory:
                save_model(directory, bias=50.0)
                write_warmup(directory, "model", [("q", ["d"] * 8)])
            service.HandleReloadConfigRequest(model_management_pb2.ReloadConfigRequest(), timeout=9)
            np.testing.assert_allclose(client.score("q", ["d"]), np.tanh([0.5]), rtol=1e-6)


def test_a_version_that_is_replaced_is_loaded_again(save_model, tmp_path):
    base, other = tmp_path / "models" / "model", tmp_path / "other"
    save_model(base / "1", bias=10.0)

    def replace(make):
        make(other)
        shutil.rmtree(base / "1")
        server.servables.scan()  # it may be looked for while it is not there
        other.rename(base / "1")
        server.servables.scan()

    def spoil(folder):
        folder.mkdir()
        (folder / "saved_model.pb").write_bytes(b"not a model")

    asked = PredictSpec("model").request([], []).model_spec
    with (
        LocalServer(base.parent, port=0, poll_seconds=0) as server,
        Client(f"127.0.0.1:{server.port}", "model") as client,
    ):
        for change, bias in ((20.0, 20), (None, 20), (30.0, 30)):
            replace(spoil if change is None else lambda to, b=change: save_model(to, bias=b))
            np.testing.assert_allclose(client.score("q", ["d"]), np.tanh([bias / 100]), rtol=1e-6)
        loaded = server.servables.find(asked)
        server.servables.scan()
        assert server.servables.find(asked) is loaded


def test_of_a_large_model_only_the_signatures_are_kept():
    from tensorflow.core.protobuf import meta_graph_pb2

    graph = meta_graph_pb2.MetaGraphDef()
    graph.signature_def["serving_default"].method_name = "predict"
    graph.graph_def.node.add(name="weights").attr["value"].s = bytes(1 << 26)
    message = graph.SerializeToString()
    before = resident_mb()
    graph = meta_graph_pb2.MetaGraphDef.FromString(message)
    signatures = copied_signatures(graph)
    del graph
    assert signatures["serving_default"].method_name == "predict"
    assert resident_mb() - before < 32


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def test_a_first_version_that_does_not_load_is_one_line(tmp_path):
    with new_version(tmp_path / "model") as directory:
        (directory / "saved_model.pb").write_bytes(b"not a model")
    with pytest.raises(UserError, match=r"model/1: .+"):
        LocalServer(tmp_path, port=0).start()


def test_a_stopped_server_is_unavailable_and_can_be_started_again(base):
    server = LocalServer(base, port=0, poll_seconds=0.05).start()
    with Client(f"127.0.0.1:{server.port}", "tiny", max_retries=0) as client:
        assert client.score("q", ["d"]).shape == (1,)
        server.stop()
        with pytest.raises(ServingError) as raised:
            client.score("q", ["d"])
        assert raised.value.code is grpc.StatusCode.UNAVAILABLE
    with server:
        assert server.servables.names == ["other", "tiny"]


def test_command_of_the_real_server(tmp_path):
    one = model_server_command("tms", {"albert": tmp_path}, ServeOptions())
    assert one == ["tms", "--port=8500", "--model_name=albert", f"--model_base_path={tmp_path}"]

    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    flag = model_server_command("tms", {"a": tmp_path, "b": tmp_path / "b"}, ServeOptions())[-1]
    path = Path(flag.removeprefix("--model_config_file="))
    config = text_format.Parse(path.read_text(), model_server_config_pb2.ModelServerConfig())
    path.unlink()
    found = {model.name: model.base_path for model in config.model_config_list.config}
    assert found == {"a": str(tmp_path), "b": str(tmp_path / "b")}

    elsewhere = Path(__file__).parents[2] / "serving" / "models.config"
    with pytest.raises(UserError, match="base_path /models/albert is not here"):
        model_server_command("tms", {}, ServeOptions(config=elsewhere))


SERVE = (
    "import sys; from kdmatch.serving.server import ServeOptions, serve; "
    "serve(sys.argv[1], ServeOptions(int(sys.argv[2])))"
)


def environment(**changes):
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **changes}


def test_serve_becomes_the_real_server_where_there_is_one(base, tmp_path):
    binary = tmp_path / "tensorflow_model_server"
    binary.write_text('#!/bin/sh\necho "real: $@"\n')
    binary.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", SERVE, str(base / "other"), "1234"],
        env=environment(PATH=f"{tmp_path}:/bin:/usr/bin"),
        capture_output=True,
        text=True,
        check=True,
    )
    wanted = f"real: --port=1234 --model_name=other --model_base_path={base / 'other'}\n"
    assert done.stdout == wanted


def test_serve_without_it_says_what_it_is_and_stops_on_sigterm(base, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(base), "0"],
        env=environment(PATH=str(tmp_path), COLUMNS="200"),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        said = ""
        while "Ctrl+C" not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        assert "not TF Serving" in said
        port = said.split("127.0.0.1:")[1].split(".")[0]
        with Client(f"127.0.0.1:{port}", "tiny") as client:
            assert client.rank("abc", ["abcdef", "a"])[0][0] == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def wait_for(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)
