"""The manifests for Kubernetes: valid by their schemas, and what refers to something finds it."""

import re
import shutil
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

KUBERNETES = Path(__file__).parents[2] / "deploy" / "kubernetes"
VERSIONS = ("1.31", kubernetes_validate.latest_version())
"""The oldest and the newest version of Kubernetes whose schemas the manifests are compared with."""

IN_BASE, IN_ALL = "base", "**"


def documents(where=IN_ALL):
    """Return each manifest with its file, without those of kustomize and without patches."""
    return {
        file: document
        for file in sorted(KUBERNETES.glob(f"{where}/*.yaml"))
        if file.stem != "kustomization" and not file.stem.endswith("-patch")
        for document in yaml.safe_load_all(file.read_text())
    }


def shown(value):
    return str(value.relative_to(KUBERNETES)) if isinstance(value, Path) else str(value)


def find(kind, name="gatepost", among=None):
    (found,) = [
        one
        for one in among or documents().values()
        if one["kind"] == kind and re.sub("-[a-z0-9]{10}$", "", one["metadata"]["name"]) == name
    ]
    return found


def validate(document):
    """Compare a manifest with the schemas of Kubernetes, which allow no unknown field. A ServiceMonitor is not its own."""
    for version in VERSIONS:
        kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize(
    "file", [f for f, one in documents().items() if one["kind"] != "ServiceMonitor"], ids=shown
)
def test_a_manifest_is_valid(file):
    validate(documents()[file])


@pytest.mark.parametrize("folder", sorted({file.parent for file in KUBERNETES.rglob("*.yaml")}), ids=shown)
def test_kustomize_finds_every_file_and_no_file_is_left_out(folder):
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    files = [*kustomization["resources"], *(patch["path"] for patch in kustomization.get("patches", ()))]

    assert {file.name for file in folder.glob("*.yaml")} - {"kustomization.yaml"} == {
        file for file in files if not file.startswith("..")
    }


def test_every_selector_selects_the_pods():
    labels = find("Deployment")["spec"]["template"]["metadata"]["labels"]
    for one in documents().values():
        spec = one.get("spec", {})
        selector = spec.get("podSelector", spec.get("selector"))
        if selector and one["kind"] != "ServiceMonitor":
            assert selector.get("matchLabels", selector) == labels, one["kind"]


def test_every_port_that_is_named_exists():
    """A Service, a probe or a NetworkPolicy with another name would reach nothing."""
    container = find("Deployment")["spec"]["template"]["spec"]["containers"][0]
    patch = yaml.safe_load((KUBERNETES / "components" / "console" / "deployment-patch.yaml").read_text())
    ports = {
        port["name"]
        for one in (container, patch["spec"]["template"]["spec"]["containers"][0])
        for port in one["ports"]
    }

    named = [
        container[probe]["httpGet"]["port"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")
    ]
    for one in documents().values():
        if one["kind"] == "Service":
            named += [port["targetPort"] for port in one["spec"]["ports"]]
        if one["kind"] == "NetworkPolicy":
            named += [port["port"] for rule in one["spec"]["ingress"] for port in rule["ports"]]
    assert set(named) == ports
    monitor = find("ServiceMonitor")["spec"]
    assert [endpoint["port"] for endpoint in monitor["endpoints"]] == ["http"]
    assert monitor["jobLabel"] in find("Deployment")["metadata"].get(
        "labels", monitor["selector"]["matchLabels"]
    )


def test_the_gateway_has_time_to_stop():
    pod = find("Deployment")["spec"]["template"]["spec"]
    delay = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])

    # As the README and the tests of the process say, it stops within 12 seconds.
    assert pod["terminationGracePeriodSeconds"] >= delay + 12


def test_the_example_of_a_configuration_is_valid_and_every_path_is_mounted(read_config):
    example = KUBERNETES / "example" / "gatepost.toml"
    settings = read_config(example)

    mounted = [
        path
        for file in KUBERNETES.rglob("*.yaml")
        for path in re.findall(r"mountPath: (\S+)", file.read_text())
    ]
    named = re.findall(r'"(?:file:)?(/[^"]+)"', example.read_text())
    assert [path for path in named if not path.startswith(tuple(mounted))] == []
    assert settings.server.host == "0.0.0.0"
    assert str(settings.server.admin_socket).startswith("/var/lib/gatepost/")


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kustomize_builds_the_example_and_the_result_is_valid():
    built = subprocess.run(
        ["kubectl", "kustomize", KUBERNETES / "example"], capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    result = list(yaml.safe_load_all(built.stdout))

    for one in result:
        if one["kind"] != "ServiceMonitor":
            validate(one)
    assert {one["metadata"].get("namespace") for one in result if one["kind"] != "Namespace"} == {"gatepost"}
    # The console is not among the Services of which Prometheus asks for metrics.
    wanted = find("ServiceMonitor", among=result)["spec"]["selector"]["matchLabels"].items()
    scraped = [
        one["metadata"]["name"]
        for one in result
        if one["kind"] == "Service" and wanted <= one["metadata"].get("labels", {}).items()
    ]
    assert scraped == ["gatepost"]
    pod = find("Deployment", among=result)["spec"]["template"]["spec"]
    assert {one["name"] for one in pod["volumes"]} == {
        one["name"] for one in pod["containers"][0]["volumeMounts"]
    }
    (config,) = [one["configMap"]["name"] for one in pod["volumes"] if "configMap" in one]
    assert config == find("ConfigMap", "gatepost-config", result)["metadata"]["name"]
