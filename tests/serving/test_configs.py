"""The operator's files, against the official protos and each other."""

import inspect
from pathlib import Path

import pytest
import yaml
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)
from tensorflow_serving.config import model_server_config_pb2

from kdmatch.serving.client import Client

SERVING = Path(__file__).parents[2] / "serving"

# tensorflow-serving-api carries neither message. Name, number and type of each
# field as in session_bundle_config.proto and monitoring_config.proto of
# github.com/tensorflow/serving; the messages are rebuilt from them.
OFFICIAL = {
    "BatchingParameters": [
        ("max_batch_size", 1, ".google.protobuf.Int64Value"),
        ("batch_timeout_micros", 2, ".google.protobuf.Int64Value"),
        ("max_enqueued_batches", 3, ".google.protobuf.Int64Value"),
        ("num_batch_threads", 4, ".google.protobuf.Int64Value"),
        ("thread_pool_name", 5, ".google.protobuf.StringValue"),
        ("allowed_batch_sizes", 6, "repeated int64"),
        ("pad_variable_length_inputs", 7, "bool"),
    ],
    "PrometheusConfig": [("enable", 1, "bool"), ("path", 2, "string")],
    "MonitoringConfig": [("prometheus_config", 1, ".tensorflow.serving.PrometheusConfig")],
}


@pytest.fixture(scope="module")
def messages():
    field = descriptor_pb2.FieldDescriptorProto
    types = {"bool": field.TYPE_BOOL, "string": field.TYPE_STRING, "int64": field.TYPE_INT64}
    file = descriptor_pb2.FileDescriptorProto(
        name="rebuilt.proto",
        package="tensorflow.serving",
        syntax="proto3",
        dependency=["google/protobuf/wrappers.proto"],
    )
    for name, fields in OFFICIAL.items():
        message = file.message_type.add(name=name)
        for field_name, number, kind in fields:
            repeated = kind.startswith("repeated ")
            kind = kind.removeprefix("repeated ")
            added = message.field.add(
                name=field_name,
                number=number,
                label=field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL,
                type=types.get(kind, field.TYPE_MESSAGE),
            )
            if kind.startswith("."):
                added.type_name = kind
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"tensorflow.serving.{name}")
        )
        for name in OFFICIAL
    }


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((SERVING / "docker-compose.yml").read_text())


def test_models_config_parses_with_the_official_proto():
    config = text_format.Parse(
        (SERVING / "models.config").read_text(), model_server_config_pb2.ModelServerConfig()
    )
    models = config.model_config_list.config
    assert [model.name for model in models] == ["albert", "textcnn", "cnn_attention"]
    for model in models:
        assert model.base_path == f"/models/{model.name}"
        assert model.model_platform == "tensorflow"
        served = list(model.model_version_policy.specific.versions)
        assert model.version_labels["stable"] in served


def test_batching_of_one_model_parses_and_leaves_threads_to_the_common_file(messages):
    text = (SERVING / "batching_params.pbtxt").read_text()
    config = text_format.Parse(text, messages["BatchingParameters"]())
    page = inspect.signature(Client).parameters["max_documents_per_request"].default
    assert config.max_batch_size.value >= page
    assert not config.HasField("num_batch_threads")
    assert not config.pad_variable_length_inputs


def test_batching_config_parses_and_suits_the_client(messages):
    text = (SERVING / "batching.config").read_text()
    config = text_format.Parse(text, messages["BatchingParameters"]())
    page = inspect.signature(Client).parameters["max_documents_per_request"].default
    assert config.max_batch_size.value >= page
    assert config.num_batch_threads.value >= 1
    assert not config.pad_variable_length_inputs
    with pytest.raises(text_format.ParseError):
        text_format.Parse("max_batch_sise { value: 1 }", messages["BatchingParameters"]())


def test_monitoring_config_parses_and_is_what_prometheus_scrapes(messages, compose):
    text = (SERVING / "monitoring.config").read_text()
    config = text_format.Parse(text, messages["MonitoringConfig"]())
    assert config.prometheus_config.enable
    [job] = yaml.safe_load((SERVING / "prometheus.yml").read_text())["scrape_configs"]
    assert job["metrics_path"] == config.prometheus_config.path
    [target] = job["static_configs"][0]["targets"]
    host, port = target.split(":")
    assert f"{port}:{port}" in compose["services"][host]["ports"]


def test_compose_has_one_place_for_the_number_of_cores(compose):
    serving = compose["services"]["serving"]
    flags = dict(flag.removeprefix("--").split("=", 1) for flag in serving["command"])
    cores = serving["cpus"]
    assert cores.startswith("${KDMATCH_CORES:-")
    for kind in ("intra", "inter"):
        assert flags[f"tensorflow_{kind}_op_parallelism"] == cores


def test_compose_mounts_every_file_that_a_flag_names(compose):
    serving = compose["services"]["serving"]
    name, tag = serving["image"].split(":")
    assert name == "tensorflow/serving"
    assert tag != "latest"
    mounted = {volume.split(":")[1]: volume.split(":")[0] for volume in serving["volumes"]}
    assert mounted["/models"] == "../saved_models"
    named = [flag.split("=")[1] for flag in serving["command"] if "=/config/" in flag]
    assert named
    # A file of its own would stay the old one when promote replaces it.
    assert mounted["/config"] == "./"
    for path in named:
        assert (SERVING / path.removeprefix("/config/")).is_file()
    assert "8500:8500" in serving["ports"]
