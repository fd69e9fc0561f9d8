"""examples/: what is in it parses, the programs take every command line in it, and what can run here does."""

import json
import os
import pathlib
import plistlib
import re
import shutil
import signal
import subprocess
import sys
import xml.etree.ElementTree

import pytest
import yaml

from harness import cache, clients, examples, kafka, process, wait

pytestmark = pytest.mark.documents
ROOT = examples.ROOT
YAML = sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("**/*.y*ml"))
COMMANDS = examples.commands()


@pytest.fixture
def stand_ins(binaries, pki, tmp_path):
    return examples.StandIns(binaries, pki, tmp_path)


# -- what stands in the files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", YAML)
def test_yaml_parses(path):
    """And no key stands in it twice, which YAML's readers let pass."""
    class Strict(yaml.SafeLoader):
        def construct_mapping(self, node, deep=False):
            keys = [self.construct_object(k, deep) for k, _ in node.value if k.tag != "tag:yaml.org,2002:merge"]
            assert len(keys) == len(set(keys)), f"a key twice in line {node.start_mark.line + 1}: {keys}"
            return super().construct_mapping(node, deep)
    assert [d for d in yaml.load_all((ROOT / path).read_text(encoding="utf-8"), Strict) if d]


def test_there_are_command_lines():
    """That the next test has something to say: every directory that has command lines is found."""
    found = {where.split("/")[0].split(":")[0] for where in COMMANDS}
    assert {"spcs", "docker-compose", "kubernetes", "systemd", "launchd", "brokers"} <= found, found


@pytest.mark.tunnel
@pytest.mark.parametrize("where", COMMANDS)
def test_command_line_is_taken(where, stand_ins, processes):
    """Started as it stands, where its ports are free: it comes up, and stops with exit code 0. A renamed option breaks this."""
    words, environment = COMMANDS[where]
    program = os.path.basename(words[0])
    environment = stand_ins.environment(program, environment)
    if words[1:2] in (["wait"], ["doctor"]):
        done = process.run(examples.isolated(stand_ins.command(words)), 30, env=environment, check=False)
        assert done.returncode != 2, done.stderr
        return
    argv = [*stand_ins.command(words), "--log-format", "json"]
    started = processes.start(examples.isolated(argv), program, env=environment)
    started.wait_for("ready" if program == "tunnel-server" else "listening")
    unknown = started.events("configuration")
    assert not [e for e in unknown if "not an option" in e.get("reason", "") and "TUNNEL_STATUS" not in e["reason"]], unknown
    if "--stop-delay" in words:
        started.popen.send_signal(signal.SIGTERM)
        started.wait_for("stop_delayed")
    started.stop()


def test_every_directory_is_in_the_table():
    table = (ROOT / "README.md").read_text(encoding="utf-8")
    for directory in sorted(p.name for p in ROOT.iterdir() if p.is_dir()):
        assert f"`{directory}/`" in table, directory


# -- Snowpark Container Services ---------------------------------------------------------------------------------------------------------


def test_alerts_say_what_their_test_expects():
    """promtool would say so, too, but it is not everywhere."""
    rules = {rule["alert"]: rule["annotations"] for group in examples.parsed("monitoring/alerts.yml")[0]["groups"]
             for rule in group["rules"] if "alert" in rule}
    seen = 0
    for test in examples.parsed("monitoring/alerts-test.yml")[0]["tests"]:
        for case in test.get("alert_rule_test", []):
            for alert in case.get("exp_alerts", []):
                said = {key: re.sub(r"{{ \$labels\.(\w+) }}", lambda m, a=alert: a["exp_labels"][m[1]], text)
                        for key, text in rules[case["alertname"]].items()}
                assert said == alert["exp_annotations"], case["alertname"]
                seen += 1
    assert seen >= 3


def spec_in_sql():
    text = (ROOT / "spcs" / "setup.sql").read_text(encoding="utf-8")
    return yaml.safe_load(re.search(r"FROM SPECIFICATION \$\$\n(.*?)\$\$", text, re.S)[1])


def test_setup_has_the_same_specification():
    assert spec_in_sql() == examples.parsed("spcs/service.yaml")[0]


def test_setup_is_taken_down():
    """Every kind of object that setup.sql makes outside of the database is dropped by teardown.sql."""
    setup, teardown = ((ROOT / "spcs" / f"{n}.sql").read_text(encoding="utf-8") for n in ("setup", "teardown"))
    made = re.findall(r"^CREATE (ROLE|COMPUTE POOL|DATABASE|SERVICE|USER|NETWORK POLICY) (?:IF NOT EXISTS )?([\w.]+)", setup, re.M)
    assert len(made) >= 6
    for kind, name in made:
        assert re.search(rf"^DROP {kind} (IF EXISTS )?{re.escape(name)};", teardown, re.M), f"{kind} {name} stays"
    for text in (setup, teardown):
        statements = re.sub(r"\$\$.*?\$\$|'[^']*'", "", re.sub(r"--.*", "", text), flags=re.S)
        assert statements.count("(") == statements.count(")")


@pytest.mark.parametrize("path", ["spcs/service.yaml", "spcs/service-instances.yaml"])
def test_specification_refers_to_what_is_there(path):
    document = examples.parsed(path)[0]
    endpoints = {e["name"]: e for e in document["spec"]["endpoints"]}
    assert sum(bool(e.get("public")) for e in endpoints.values()) == 1
    for role in document["serviceRoles"]:
        assert set(role["endpoints"]) <= set(endpoints)
    for container in document["spec"]["containers"]:
        if container.get("command") != ["tunnel-server"]:
            continue
        listening = [a for a in container["args"] if a.startswith("0.0.0.0:")]
        assert {int(a.rsplit(":", 1)[1]) for a in listening} == {e["port"] for e in endpoints.values()}
        assert container["readinessProbe"]["port"] == next(e["port"] for e in endpoints.values() if e.get("public"))


# In a network of its own: a broker with the settings of a container, tunnel-server with the arguments of another, and what probes ask.
SERVICE = r"""
import json, subprocess, sys, time, urllib.request
broker, server, url, deadline = json.loads(sys.argv[1])
started = [subprocess.Popen(broker), subprocess.Popen(server)]
status = None
end = time.monotonic() + deadline
while time.monotonic() < end and status != 200 and all(p.poll() is None for p in started):
    try:
        status = urllib.request.urlopen(url, timeout=5).status
    except OSError as e:
        status = getattr(e, "code", None)
    time.sleep(0.1)
for p in reversed(started):
    p.kill()
    p.wait()
print("status", status)
"""


@pytest.mark.tunnel
@pytest.mark.kafka
@pytest.mark.parametrize("path", ["spcs/service.yaml", "docker-compose/compose.yaml"])
def test_broker_and_server_come_up_together(path, stand_ins, tmp_path):
    """A broker with the settings of the example starts, and the server's /readyz turns 200."""
    document = examples.parsed(path)[0]
    if "services" in document:
        broker, server = document["services"]["kafka"], document["services"]["tunnel-server"]
        settings, words = broker["environment"], server["command"]
    else:
        broker, server = document["spec"]["containers"]
        settings, words = broker["env"], server["command"] + server["args"]
    # The image makes properties of variables like this; the one machine here is called otherwise.
    properties = {k.removeprefix("KAFKA_").lower().replace("_", "."): v.replace("kafka:", "127.0.0.1:")
                  for k, v in settings.items() if k != "KAFKA_HEAP_OPTS"}
    properties["log.dirs"] = tmp_path / "log"
    config = tmp_path / "server.properties"
    config.write_text("".join(f"{k}={v}\n" for k, v in properties.items()), encoding="ascii")
    process.run(kafka.java("FormatStorage", "AAAAAAAAAAAAAAAAAAAAAA", config), 60)
    # Plain HTTP, so that the probe need not know a certificate.
    words = [w.replace("kafka:", "127.0.0.1:") for w in words]
    if "--tls-cert" in words:
        at = words.index("--tls-cert")
        words = words[:at] + words[at + 4:]
    port = words[words.index("--listen") + 1].rsplit(":", 1)[1]
    argument = json.dumps([[str(w) for w in kafka.java("kafka.Kafka", config)], stand_ins.command(words),
                           f"http://127.0.0.1:{port}/readyz", 90])
    done = process.run(examples.isolated([sys.executable, "-c", SERVICE, argument]), 120)
    assert done.stdout.strip().endswith("status 200"), done.stdout[-3000:] + done.stderr[-3000:]


# -- docker compose, Kubernetes ----------------------------------------------------------------------------------------------------------


def test_secrets_for_compose(tmp_path, binaries, processes, pair):
    """make-secrets makes what compose.yaml mounts, and the client trusts the certificate for the server's name."""
    shutil.copy(ROOT / "docker-compose" / "make-secrets", tmp_path)
    process.run([tmp_path / "make-secrets"], 30)
    document = examples.parsed("docker-compose/compose.yaml")[0]
    for secret in document["secrets"].values():
        assert (tmp_path / secret["file"]).stat().st_size > 0
    for name, service in document["services"].items():
        assert set(service.get("secrets", [])) <= set(document["secrets"]), name
        assert set(service["networks"]) <= set(document["networks"]), name
    text = process.run(["openssl", "x509", "-noout", "-ext", "subjectAltName", "-in", tmp_path / "secrets" / "server.pem"], 10).stdout
    command = document["services"]["tunnel-client"]["command"]
    host = re.match(r"https://([^:]+):", command[command.index("--server") + 1])[1]
    assert f"DNS:{host}" in text and host in document["services"]


def test_kubernetes_refers_to_what_is_there():
    documents = {d["kind"] + " " + d["metadata"]["name"]: d for d in examples.parsed("kubernetes/server.yaml")}
    pod = documents["Deployment tunnel-server"]["spec"]["template"]
    labels, container = pod["metadata"]["labels"], pod["spec"]["containers"][0]
    ports = {p["name"]: p["containerPort"] for p in container["ports"]}
    listening = {int(a.rsplit(":", 1)[1]) for a in container["args"] if a.startswith("0.0.0.0:")}
    assert listening == set(ports.values())
    for name, document in documents.items():
        selector = document["spec"].get("selector") or document["spec"].get("podSelector") or {}
        assert (selector.get("matchLabels") or selector).items() <= labels.items(), name
        if document["kind"] == "Service":
            assert {p["targetPort"] for p in document["spec"]["ports"]} <= set(ports)
    backend = documents["Ingress tunnel-server"]["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
    assert backend["port"]["name"] in {p["name"] for p in documents[f"Service {backend['name']}"]["spec"]["ports"]}
    assert any(f"dns:{name.split()[1]}:" in a for name in documents if name.startswith("Service") for a in container["args"])
    let_in = {p["port"] for rule in documents["NetworkPolicy tunnel-server"]["spec"]["ingress"] for p in rule["ports"]}
    assert let_in == set(ports.values())


@pytest.mark.parametrize("path", ["kubernetes/server.yaml", "kubernetes/application.yaml"])
def test_there_is_time_to_stop(path):
    """What a pod is given is more than its tunnel takes: the delay, draining, and saying goodbye."""
    pod = examples.parsed(path)[0]["spec"]["template"]["spec"]
    args = pod["containers"][0]["args"]
    delay_s, drain_s, goodbye_s = int(args[args.index("--stop-delay") + 1].removesuffix("s")), 25, 2
    assert pod["terminationGracePeriodSeconds"] > delay_s + drain_s + goodbye_s


def test_job_has_a_native_sidecar():
    """What lets the Job complete: the tunnel is an init container that goes on, with a probe that the job waits for."""
    pod = examples.parsed("kubernetes/job.yaml")[0]["spec"]["template"]["spec"]
    sidecar, = pod["initContainers"]
    assert sidecar["restartPolicy"] == "Always" and pod["restartPolicy"] == "Never"
    probe = sidecar["startupProbe"]["exec"]["command"]
    assert probe[:2] == ["tunnel-client", "wait"]
    status = {e["name"]: e["value"] for e in sidecar["env"]}["TUNNEL_STATUS"]
    assert probe[probe.index("--status") + 1] == status


# -- CI ----------------------------------------------------------------------------------------------------------------------------------


def ci_script(path):
    document = examples.parsed(path)[0]
    if "jobs" in document:
        step = document["jobs"]["kafka-tests"]["steps"][-1]
        return step["run"], step["env"]
    job = document["kafka-tests"]
    return "\n".join(job["script"]), job["variables"]


@pytest.mark.tunnel
@pytest.mark.parametrize("path", ["ci/github-actions.yml", "ci/gitlab-ci.yml"])
@pytest.mark.parametrize("exit_code", [0, 7])
def test_ci_job(path, exit_code, pair, pki, peer, tmp_path):
    """The job's script, with a real tunnel: the tests learn the address, and their exit code is the job's."""
    token = "ci-token-0123456789abcdef0123456789"
    tokens = tmp_path / "tokens"
    tokens.write_text(token + "\n", encoding="ascii")
    server = pair.server(kafka="127.0.0.2:1", args=["--token-file", tokens])
    script, variables = ci_script(path)
    assert set(variables) == {"TUNNEL_SERVER", "TUNNEL_TOKEN"}
    tests = tmp_path / "run-tests"
    tests.write_text(f"#!/bin/sh\necho \"tests at $KAFKA_BOOTSTRAP_SERVERS\"\nexit {exit_code}\n", encoding="ascii")
    tests.chmod(0o755)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TUNNEL_")}
    environment |= {"TUNNEL_SERVER": f"https://localhost:{server.port}", "TUNNEL_TOKEN": token, "TUNNEL_CA": str(pki.ca),
                    "PATH": f"{pathlib.Path(pair.binaries.client).resolve().parent}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-e", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=90,
                          check=False)
    assert done.returncode == exit_code, done.stderr
    assert re.search(r"^tests at 127\.0\.0\.1:\d+$", done.stdout, re.M), done.stdout + done.stderr


# -- macOS, Homebrew ---------------------------------------------------------------------------------------------------------------------


def test_launchd_starts_it_again_after_a_failure_only():
    agent = plistlib.loads((ROOT / "launchd" / "kafka-tunnel.client.plist").read_bytes())
    assert agent["KeepAlive"] == {"SuccessfulExit": False} and agent["RunAtLoad"] is True
    assert agent["ExitTimeOut"] > 25


def test_formula_is_ruby():
    if not shutil.which("ruby"):
        pytest.skip("no ruby here")
    assert "Syntax OK" in process.run(["ruby", "-c", ROOT / "packaging" / "kafka-tunnel-client.rb"], 30).stdout


def test_formula_has_this_version():
    version = re.search(r"version: '(.*)'", (cache.ROOT / "meson.build").read_text(encoding="utf-8"))[1]
    formula = (ROOT / "packaging" / "kafka-tunnel-client.rb").read_text(encoding="utf-8")
    assert f"kafka-tunnel-{version}.tar" in formula
    assert f"kafka-tunnel:{version}" in (ROOT / "spcs" / "service.yaml").read_text(encoding="utf-8")


# -- Kafka clients -----------------------------------------------------------------------------------------------------------------------


def properties(name, **changes):
    """A .properties or librdkafka file with the given keys changed; each must be in it."""
    lines = (ROOT / "clients" / name).read_text(encoding="utf-8").splitlines()
    found = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert set(changes) <= set(found), found
    return found | {k: str(v) for k, v in changes.items()}


@pytest.fixture
def topic(cluster):
    name = cluster.create_topic(2)
    yield name
    cluster.delete_topic(name)


RECORDS = [f"record {i}" for i in range(10)]


def as_arguments(settings):
    return {f"prop_{k.replace('.', '__')}": v for k, v in settings.items()}


def through_java(settings, kafka_route, topic):
    produced = clients.produce("java", kafka_route.bootstrap, topic, 100, **as_arguments(settings))
    group = settings.pop("group.id", "examples")
    consumed = clients.consume("java", kafka_route.bootstrap, topic, f"{group}-{topic}", 100, **as_arguments(settings))
    clients.same(consumed, produced)


def test_java_properties(kafka_route, topic):
    through_java(properties("java.properties", **{"bootstrap.servers": kafka_route.bootstrap}), kafka_route, topic)


def test_spring_properties(kafka_route, topic):
    """Spring names Kafka's properties with hyphens; it is not here itself."""
    spring = examples.parsed("clients/spring-application.yml")[0]["spring"]["kafka"]
    assert spring["bootstrap-servers"] == "localhost:9092"
    settings = {**spring["properties"], "security.protocol": spring["security"]["protocol"],
                "bootstrap.servers": kafka_route.bootstrap}
    consumer = {k.replace("-", "."): v for k, v in spring["consumer"].items()}
    assert set(consumer) == {"group.id", "auto.offset.reset"}
    through_java(settings, kafka_route, topic)


def test_librdkafka_properties(kafka_route, topic, tmp_path):
    conf = tmp_path / "librdkafka.conf"
    settings = properties("librdkafka.conf", **{"bootstrap.servers": kafka_route.bootstrap})
    conf.write_text("".join(f"{k}={v}\n" for k, v in settings.items()), encoding="ascii")
    process.run(["kcat", "-F", conf, "-P", "-t", topic], 60, input="\n".join(RECORDS) + "\n")
    done = process.run(["kcat", "-F", conf, "-C", "-t", topic, "-o", "beginning", "-c", "10"], 60)
    assert sorted(done.stdout.splitlines()) == RECORDS


def test_python_client(kafka_route, topic):
    done = process.run([sys.executable, ROOT / "clients" / "produce_consume.py", topic, kafka_route.bootstrap], 120)
    assert sorted(done.stdout.splitlines()) == RECORDS


def test_node_client(kafka_route, topic):
    modules = cache.node_client().parent / "node_modules"
    done = process.run(["node", ROOT / "clients" / "produce_consume.js", topic, kafka_route.bootstrap], 120, env={"NODE_PATH": str(modules)})
    assert sorted(done.stdout.splitlines()) == RECORDS


def test_go_client(kafka_route, topic):
    done = process.run([cache.go_example(), topic, kafka_route.bootstrap], 120)
    assert sorted(done.stdout.splitlines()) == RECORDS


def test_streams_properties(cluster, kafka_route, topic, tmp_path):
    settings = properties("streams.properties", **{"bootstrap.servers": kafka_route.bootstrap})
    application = f"{settings.pop('application.id')}-{topic}"
    argv = clients.java("WordCount", bootstrap=kafka_route.bootstrap, **{"in": topic}, out=cluster.create_topic(2),
                        application=application, directory=tmp_path, lines=20, **as_arguments(settings))
    assert sum(json.loads(process.run(argv, 150).stdout.strip().splitlines()[-1]).values()) == sum(i % 5 + 1 for i in range(20))


def test_connect_properties(kafka_route, topic, tmp_path, processes):
    source, sink = tmp_path / "source.txt", tmp_path / "sink.txt"
    source.write_text("".join(f"{line}\n" for line in RECORDS), encoding="ascii")
    worker = properties("connect-standalone.properties", **{"bootstrap.servers": kafka_route.bootstrap,
                        "offset.storage.file.filename": tmp_path / "offsets", "listeners": "HTTP://127.0.0.1:0"})
    file = "org.apache.kafka.connect.file"
    written = []
    for name, settings in {
            "worker": worker | {"plugin.discovery": "only_scan", "offset.flush.interval.ms": "500"},
            "source": {"name": "source", "connector.class": f"{file}.FileStreamSourceConnector", "file": source, "topic": topic},
            "sink": {"name": "sink", "connector.class": f"{file}.FileStreamSinkConnector", "file": sink, "topics": topic,
                     "consumer.override.auto.offset.reset": "earliest"}}.items():
        written.append(tmp_path / f"{name}.properties")
        written[-1].write_text("".join(f"{k}={v}\n" for k, v in settings.items()), encoding="ascii")
    connect = processes.start(kafka.java("org.apache.kafka.connect.cli.ConnectStandalone", *written), "connect")

    def arrived():
        assert connect.alive(), connect.tail()
        return sink.exists() and sorted(sink.read_text(encoding="ascii").splitlines()) == RECORDS
    wait.until(arrived, 120, lambda: f"the file has gone through\n{connect.tail()}", 0.2)
    connect.kill()


# -- latency -----------------------------------------------------------------------------------------------------------------------------

LATENCY = ROOT / "latency" / "latency.py"


@pytest.mark.tunnel
def test_latency_tool(cluster, kafka_route, tmp_path, figure):
    """Some seconds through the tunnel and direct: figures that can be, a plot that is one, no topic left."""
    figures, drawing = tmp_path / "figures.json", tmp_path / "latency.svg"
    done = process.run([sys.executable, LATENCY, "--route", f"tunnel={kafka_route.bootstrap}", "--route", f"direct={cluster.bootstrap}",
                        "--rate", 200, "--seconds", 2, "--warm-up", 1, "--json", figures, "--plot", drawing], 120)
    written = json.loads(figures.read_text(encoding="utf-8"))
    assert [r["route"] for r in written["routes"]] == ["tunnel", "direct"]
    for route in written["routes"]:
        assert route["lost"] == 0 and route["records"] == 400, route
        assert 0 < route["p50_ms"] <= route["p95_ms"] <= route["p99_ms"] <= route["max_ms"], route
        assert route["lag_max"] >= route["lag_p50"] >= 0
        figure(route["route"], f"p50 {route['p50_ms']} ms, p99 {route['p99_ms']} ms, lag at most {route['lag_max']}")
    lines = done.stdout.splitlines()
    assert lines[0].split()[:2] == ["route", "records"] and [line.split()[0] for line in lines[1:]] == ["tunnel", "direct"]
    drawn = xml.etree.ElementTree.parse(drawing).getroot()
    assert len(drawn.findall("{http://www.w3.org/2000/svg}polyline")) == 2
    assert not [t for t in cluster.admin().list_topics(timeout=20).topics if t.startswith("latency-")]


def test_latency_tool_as_a_check(cluster):
    """A limit that nothing keeps is exit code 1; an address where nobody is, too, with a sentence."""
    done = process.run([sys.executable, LATENCY, "--route", f"direct={cluster.bootstrap}", "--rate", 100, "--seconds", 0.5, "--warm-up", 0,
                        "--max-p99", "0.000001"], 120, check=False)
    assert done.returncode == 1 and "p99" in done.stderr, done.stderr
    done = process.run([sys.executable, LATENCY, "--route", f"nobody=127.0.0.1:{wait.free_port()}", "--patience", 2], 60, check=False)
    assert done.returncode == 1 and "nobody" in done.stderr and "Traceback" not in done.stderr, done.stderr
    done = process.run([sys.executable, LATENCY, "--route", "no-address"], 30, check=False)
    assert done.returncode == 2 and "NAME=VALUE" in done.stderr
