"""charts/: real helm makes of them what Kubernetes' published schemas allow, what the programs take, and what examples/kubernetes has."""

import json
import shutil
import subprocess

import pytest
import yaml

from harness import cache, examples, process

# The first of them builds helm, which takes minutes.
pytestmark = [pytest.mark.documents, pytest.mark.charts, pytest.mark.timeout(1800)]
CHARTS = cache.ROOT / "charts"
VERSIONS = ("1.29.0", "1.37.0")  # the first with native sidecars, and the newest that the package of schemas has
KINDS = ("deployment-apps-v1", "service-v1", "networkpolicy-networking-v1", "ingress-networking-v1", "poddisruptionbudget-policy-v1",
         "job-batch-v1")

# Values that turn everything on, besides those that a chart has by itself.
MOST = {
    "tunnel-server": {
        "image": {"repository": "registry/tunnel", "tag": "1.2.3", "pullPolicy": "Always"}, "imagePullSecrets": [{"name": "pull"}],
        "replicas": 3, "kafka": ["one=broker1:9092,broker2:9092", "two=broker3:9092"], "tcp": {"registry": "registry:8081"},
        "stopDelaySeconds": 7, "drainTimeoutSeconds": 40, "options": {"memory": "512MiB", "max-streams": 5000},
        "extraEnv": [{"name": "TUNNEL_LOG_LEVEL", "value": "debug"}], "extraVolumes": [{"name": "ca", "secret": {"secretName": "ca"}}],
        "extraVolumeMounts": [{"name": "ca", "mountPath": "/ca"}], "ingress": {"path": "/kafka", "pathType": "Prefix", "className": "haproxy"},
        "metrics": {"enabled": True, "port": 9100, "serviceMonitor": {"enabled": True, "labels": {"release": "p"}, "interval": "15s"}},
        "podAnnotations": {"a": "b"}, "podLabels": {"c": "d"}, "nodeSelector": {"e": "f"},
        "tolerations": [{"key": "g", "operator": "Exists"}], "affinity": {"podAntiAffinity": {}},
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}]},
    "application": {"tunnel": {
        "kafka": ["9092", "other=9192"], "tcp": {"registry": 8081}, "proxySecret": "proxy", "options": {"log-format": "json"},
        "resources": {"limits": {"memory": "1Gi"}}}},
}
LEAST = {
    "tunnel-server": {"replicas": 1, "peers": False, "ingress": {"enabled": False}, "podDisruptionBudget": {"enabled": False},
                      "networkPolicy": {"enabled": False}},
    "application": {"job": {"enabled": False}},
}
CASES = {f"{chart}-{name}": (chart, values.get(chart)) for chart in ("tunnel-server", "application")
         for name, values in (("default", {}), ("most", MOST), ("least", LEAST))}


@pytest.fixture(scope="module")
def helm(tmp_path_factory):
    """helm(arguments...), in a copy of charts/ in which the library is where helm puts it."""
    directory = tmp_path_factory.mktemp("helm")
    shutil.copytree(CHARTS, directory / "charts")
    program = cache.chart_tool("helm.sh/helm/v3/cmd/helm")
    env = {f"HELM_{kind}_HOME": str(directory / "home") for kind in ("CACHE", "CONFIG", "DATA")}

    def run(*args, check=True, values=None):
        files = []
        if values:
            (directory / "values.json").write_text(json.dumps(values), encoding="utf-8")
            files = ["--values", directory / "values.json"]
        done = subprocess.run([program, *args, *files], check=False, cwd=directory / "charts", env={"PATH": "/usr/bin:/bin", **env},
                              capture_output=True, text=True, timeout=120)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done
    run("dependency", "update", "application")
    return run


def rendered(helm, chart, values=None, name="tunnel-server"):
    text = helm("template", name, chart, "--kube-version", VERSIONS[0], values=values).stdout
    return text, [d for d in yaml.safe_load_all(text) if d]


def by_kind(documents):
    return {f"{d['kind']} {d['metadata']['name']}": d for d in documents}


def test_lint(helm):
    done = helm("lint", "--strict", "tunnel-server", "tunnel-client", "application")
    assert "3 chart(s) linted, 0 chart(s) failed" in done.stdout and "[WARNING]" not in done.stdout, done.stdout


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", CASES)
def test_kubernetes_takes_it(case, version, helm, tmp_path):
    """As kubeconform -strict says: no field that Kubernetes does not know."""
    chart, values = CASES[case]
    text, documents = rendered(helm, chart, values)
    (tmp_path / "all.yaml").write_text(text, encoding="utf-8")
    schemas = cache.kubernetes_schemas(version, KINDS)
    done = process.run([cache.chart_tool("github.com/yannh/kubeconform/cmd/kubeconform"), "-strict", "-summary", "-output", "json",
                        "-kubernetes-version", version, "-schema-location", f"{schemas}/{{{{ .ResourceKind }}}}{{{{ .KindSuffix }}}}.json",
                        "-skip", "ServiceMonitor", tmp_path / "all.yaml"], 60, check=False)
    summary = json.loads(done.stdout)["summary"]
    monitors = sum(d["kind"] == "ServiceMonitor" for d in documents)
    assert summary == {"valid": len(documents) - monitors, "invalid": 0, "errors": 0, "skipped": monitors}, done.stdout


def test_the_schemas_notice(helm, tmp_path):
    """What the test above is worth."""
    text, _ = rendered(helm, "tunnel-server")
    assert "replicas:" in text
    (tmp_path / "all.yaml").write_text(text.replace("replicas:", "replica:"), encoding="utf-8")
    done = process.run([cache.chart_tool("github.com/yannh/kubeconform/cmd/kubeconform"), "-strict", "-kubernetes-version", VERSIONS[0],
                        "-schema-location", f"{cache.kubernetes_schemas(VERSIONS[0], KINDS)}/{{{{ .ResourceKind }}}}{{{{ .KindSuffix }}}}.json",
                        tmp_path / "all.yaml"], 60, check=False)
    assert done.returncode == 1 and "additional properties 'replica' not allowed" in done.stdout, done.stdout


@pytest.mark.parametrize("chart,values,words", [
    ("tunnel-server", {"replica": 2}, "replica"),
    ("tunnel-server", {"options": {"listen": "0.0.0.0:80"}}, "listen"),
    ("tunnel-server", {"metrics": {"serviceMonitor": {"enabled": True}}}, "needs metrics.enabled"),
    ("application", {"tunnel": {"server": None}}, "'server' is the URL of tunnel-server"),
    ("application", {"tunnel": {"secret": ""}}, "'secret' names the Secret")])
def test_wrong_values_are_said(chart, values, words, helm):
    done = helm("template", "x", chart, "--kube-version", VERSIONS[0], check=False, values=values)
    assert done.returncode != 0 and words in done.stderr, done.stderr


@pytest.mark.tunnel
@pytest.mark.parametrize("case", CASES)
def test_the_programs_take_it(case, helm, binaries, pki, tmp_path, processes):
    """Every container of ours is started as it stands."""
    chart, values = CASES[case]
    _, documents = rendered(helm, chart, values)
    stand_ins = examples.StandIns(binaries, pki, tmp_path)
    started = 0
    for document in documents:
        for container in examples.containers(document):
            for words, environment in examples.container_commands(container):
                if words[0] not in examples.PROGRAMS or words[1:2] == ["wait"]:
                    continue
                environment = {k: v for k, v in environment.items() if k != "TUNNEL_PROXY"}
                program = processes.start(examples.isolated([*stand_ins.command(words), "--log-format", "json"]), words[0], env=environment)
                program.wait_for("ready" if words[0] == "tunnel-server" else "listening")
                program.stop()
                started += 1
    assert started == (2 if chart == "application" and case != "application-least" else 1)


def only(document, *path):
    """Without what a release adds, and what says what is so anyway."""
    for key in path:
        document = document[key]
    text = json.dumps(document).replace('"imagePullPolicy": "IfNotPresent", ', "").replace("tunnel-token", "token")
    return json.loads(text)


def test_the_plain_manifests_are_the_same(helm):
    """examples/kubernetes/server.yaml is what the chart makes, but for labels: one place to look for what is right."""
    chart, plain = (by_kind(d) for d in (rendered(helm, "tunnel-server")[1], examples.parsed("kubernetes/server.yaml")))
    assert set(chart) - set(plain) == {"PodDisruptionBudget tunnel-server"} and not set(plain) - set(chart)
    pod = ("Deployment tunnel-server", "spec", "template", "spec")
    assert only(chart, *pod) == only(plain, *pod)
    for key in ("replicas", "strategy"):
        assert chart["Deployment tunnel-server"]["spec"][key] == plain["Deployment tunnel-server"]["spec"][key]
    for service in ("tunnel-server", "tunnel-server-peers"):
        ours, theirs = (dict(d[f"Service {service}"]["spec"], selector=None) for d in (chart, plain))
        assert ours == theirs
    for key in ("spec",), ("metadata", "annotations"):
        assert only(chart, "Ingress tunnel-server", *key) == only(plain, "Ingress tunnel-server", *key)

    def rules(documents):
        selector = documents["NetworkPolicy tunnel-server"]["spec"]["podSelector"]
        text = json.dumps(documents["NetworkPolicy tunnel-server"]["spec"]).replace(json.dumps(selector), '"us"')
        return {key: sorted(json.dumps(rule, sort_keys=True) for rule in value) for key, value in json.loads(text).items() if key != "podSelector"}
    assert rules(chart) == rules(plain)


def test_the_plain_sidecar_is_the_same(helm):
    chart = by_kind(rendered(helm, "application", name="kafka")[1])["Job kafka-job"]
    plain, = examples.parsed("kubernetes/job.yaml")
    pod = ("spec", "template", "spec")
    assert only(chart, *pod, "initContainers") == only(plain, *pod, "initContainers")
    for key in ("volumes", "securityContext", "terminationGracePeriodSeconds"):
        assert only(chart, *pod, key) == only(plain, *pod, key)


def test_the_service_monitor_finds_the_metrics(helm):
    """No schema here says what a ServiceMonitor is."""
    documents = by_kind(rendered(helm, "tunnel-server", MOST["tunnel-server"])[1])
    monitor, service = documents["ServiceMonitor tunnel-server"], documents["Service tunnel-server-metrics"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["metadata"]["labels"]["release"] == "p"
    endpoint, = monitor["spec"]["endpoints"]
    assert endpoint == {"port": "metrics", "path": "/metrics", "interval": "15s"}
    port, = (p for p in service["spec"]["ports"] if p["name"] == endpoint["port"])
    container, = documents["Deployment tunnel-server"]["spec"]["template"]["spec"]["containers"]
    assert {"name": port["targetPort"], "containerPort": 9100} in container["ports"] and "0.0.0.0:9100" in container["args"]
    for name, other in documents.items():
        if name.startswith("Service ") and other is not service:
            assert not monitor["spec"]["selector"]["matchLabels"].items() <= other["metadata"]["labels"].items(), name
