"""The Kubernetes manifests: their shape, and that they fit each other and the other files."""

from pathlib import Path

import pytest
import yaml

SERVING = Path(__file__).parents[2] / "serving"
KINDS = {
    "Deployment": "apps/v1",
    "Service": "v1",
    "HorizontalPodAutoscaler": "autoscaling/v2",
    "PodDisruptionBudget": "policy/v1",
    "PersistentVolumeClaim": "v1",
}


@pytest.fixture(scope="module")
def manifests() -> dict[str, dict]:
    documents = [
        document
        for path in sorted((SERVING / "kubernetes").glob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text())
    ]
    return {document["kind"]: document for document in documents}


@pytest.fixture(scope="module")
def container(manifests) -> dict:
    [container] = manifests["Deployment"]["spec"]["template"]["spec"]["containers"]
    return container


def test_every_manifest_has_kind_version_and_name(manifests):
    assert {kind: one["apiVersion"] for kind, one in manifests.items()} == KINDS
    for one in manifests.values():
        assert one["metadata"]["name"].startswith("kdmatch")


def test_selectors_find_the_pods_and_the_autoscaler_the_deployment(manifests):
    deployment = manifests["Deployment"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    for selector in (
        deployment["spec"]["selector"]["matchLabels"],
        manifests["Service"]["spec"]["selector"],
        manifests["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()
    scaled = manifests["HorizontalPodAutoscaler"]["spec"]
    assert scaled["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert 1 <= scaled["minReplicas"] <= scaled["maxReplicas"]


def test_ports_have_the_names_that_probes_and_service_use(manifests, container):
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert f"--port={ports['grpc']}" in container["args"]
    assert f"--rest_api_port={ports['http']}" in container["args"]
    for port in manifests["Service"]["spec"]["ports"]:
        assert ports[port["targetPort"]] == port["port"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        action = container[probe].get("tcpSocket") or container[probe]["httpGet"]
        assert action["port"] in ports


def test_readiness_asks_for_a_model_and_label_of_the_config(container):
    path = container["readinessProbe"]["httpGet"]["path"]
    _, _, models, model, labels, label, metadata = path.split("/")
    # TF Serving tells the status of all versions, whatever the label.
    assert (models, labels, metadata) == ("models", "labels", "metadata")
    config = (SERVING / "models.config").read_text()
    assert f'name: "{model}"' in config
    assert f'key: "{label}"' in config


def test_threads_are_the_cores_that_the_container_has(container):
    resources = container["resources"]
    assert resources["requests"] == resources["limits"]
    cores = resources["limits"]["cpu"]
    assert f"--tensorflow_intra_op_parallelism={cores}" in container["args"]


def test_memory_holds_two_versions_of_each_model_and_one_more(container):
    memory = container["resources"]["limits"]["memory"]
    models = (SERVING / "models.config").read_text().count("name:")
    assert int(memory.removesuffix("Gi")) * 1024 > (2 * models + 1) * 780


def test_connections_end_now_and_then_so_that_new_pods_are_found(manifests, container):
    assert manifests["Service"]["spec"]["clusterIP"] == "None"
    [ages] = [one for one in container["args"] if "grpc.max_connection_age_ms=" in one]
    assert ages.startswith("--grpc_channel_arguments=")


def test_volumes_are_mounted_and_claimed(manifests, container):
    spec = manifests["Deployment"]["spec"]["template"]["spec"]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert set(mounts.values()) == set(volumes)
    claim = volumes[mounts["/models"]]["persistentVolumeClaim"]["claimName"]
    assert claim == manifests["PersistentVolumeClaim"]["metadata"]["name"]
    for argument in container["args"]:
        if "=/config/" in argument:
            assert (SERVING / argument.split("/")[-1]).is_file()


def test_compose_and_kubernetes_run_the_same_image(container):
    compose = yaml.safe_load((SERVING / "docker-compose.yml").read_text())
    assert container["image"] == compose["services"]["serving"]["image"]
