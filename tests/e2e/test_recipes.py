"""The files of docs/recipes.md, as they stand there, with a real Kafka behind the tunnel.

A block after `<!-- recipe: NAME FILE -->` is a file of the recipe NAME. Only ports and paths are replaced. Most recipes need packages of
their own: KAFKA_TUNNEL_RECIPES names those that are run, or `all`; without it, those that need nothing else.
"""

import glob
import json
import os
import pathlib
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import uuid

import pytest
from confluent_kafka import Consumer, Producer

from harness import cache, clients, kafka, process, tunnel, wait

pytestmark = [pytest.mark.tunnel, pytest.mark.documents, pytest.mark.kafka, pytest.mark.timeout(900)]

PAGE = cache.ROOT / "docs" / "recipes.md"
BLOCK = re.compile(r"^<!-- recipe: ([\w-]+) (\S+) -->\n\n```\w+\n(.*?)^```$", re.M | re.S)
ORDERS = [{"id": i, "item": f"item {i}"} for i in range(20)]
ITEMS = sorted(order["item"].upper() for order in ORDERS)
PATIENCE_S = 240  # until a JVM with many jars has begun, on a busy machine

ALWAYS = {"streams"}
WANTED = os.environ.get("KAFKA_TUNNEL_RECIPES", "")
BLOCKS = {(name, file): text for name, file, text in BLOCK.findall(PAGE.read_text(encoding="utf-8"))}


def _made_once(name, make):
    """A directory of the cache that make(directory) fills."""
    with cache.Lock():
        path = cache.directory() / "recipes" / name
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            part = pathlib.Path(tempfile.mkdtemp(prefix=f"{name}.part.", dir=path.parent))
            make(part)
            os.replace(part, path)
        return path


def maven(*artifacts):
    """A directory with these (group:artifact:version) and all that they need."""
    def fetch(directory):
        named = "".join("<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>".format(
            *artifact.split(":")) for artifact in artifacts)
        pom = directory / "pom.xml"
        pom.write_text('<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>recipe</groupId>'
                       "<artifactId>jars</artifactId><version>1</version><packaging>pom</packaging>"
                       f"<dependencies>{named}</dependencies></project>", encoding="ascii")
        process.run(["mvn", "-q", "-B", "-ntp", "-f", pom, "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies",
                     "-DincludeScope=runtime", f"-DoutputDirectory={directory}"], deadline=600)
    return _made_once("-".join(a.split(":")[1] + "-" + a.split(":")[2] for a in artifacts), fetch)


def python(*packages):
    """The Python of a virtual environment with these."""
    def install(directory):
        process.run([sys.executable, "-m", "venv", directory], deadline=120)
    path = _made_once("python-" + re.sub(r"[^\w.]+", "-", "-".join(packages)), install)
    process.run([path / "bin" / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages], deadline=900)
    return path / "bin" / "python"


def program(name, *elsewhere):
    found = shutil.which(name) or next((p for p in elsewhere if os.access(p, os.X_OK)), None)
    if not found:
        pytest.skip(f"{name} is not installed")
    return found


class Recipe:
    """What a reader does with a recipe: copies its files, starts it; and what is in the topics then."""

    def __init__(self, name, directory, processes, bootstrap, other):
        self.name, self.directory, self.processes = name, directory, processes
        self.bootstrap, self.other = bootstrap, other
        self.instead = {"localhost:9092": bootstrap}

    def file(self, name, owner=None, more=None):
        """The file, with the reader's own ports and paths."""
        text = BLOCKS[owner or self.name, name]
        for ours, theirs in {**self.instead, **(more or {})}.items():
            assert ours in text or ours == "localhost:9092", f"{name} does not have {ours}"
            text = text.replace(ours, str(theirs))
        path = self.directory / name
        path.write_text(text, encoding="utf-8")
        return path

    def start(self, argv, **kw):
        return self.processes.start(argv, self.name, **kw)

    @staticmethod
    def produce(cluster, topic, values):
        producer = Producer({"bootstrap.servers": cluster.bootstrap})
        for value in values:
            producer.produce(topic, value if isinstance(value, bytes) else json.dumps(value).encode())
        assert producer.flush(30) == 0

    @staticmethod
    def values(cluster, topic, count, running=None, deadline=PATIENCE_S):
        """So many values of a topic, asked of the brokers directly, as only a record that got there is there."""
        consumer = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": uuid.uuid4().hex, "auto.offset.reset": "earliest",
                             "isolation.level": "read_committed", "allow.auto.create.topics": "false", "topic.metadata.refresh.interval.ms": 1000})
        consumer.subscribe([topic])
        found = []

        def enough():
            message = consumer.poll(0.5)
            if message is not None and not message.error():
                found.append(message.value())
            assert running is None or running.popen.poll() in (None, 0), f"{running.tail(80)}\n{running.stdout()[-4000:]}"
            return len(found) >= count
        try:
            wait.until(enough, deadline, lambda: f"{len(found)} of {count} records in {topic}\n{running.tail(80) if running else ''}", 0)
        finally:
            consumer.close()
        return found


@pytest.fixture(scope="module")
def brokers(session_processes, tmp_path_factory):
    """make(name): a real broker of that name, which is a cluster."""
    made = {}

    def make(name):
        if name not in made:
            made[name] = kafka.Cluster(tmp_path_factory.mktemp(name), session_processes, nodes=1)
            made[name].start(PATIENCE_S)
        return made[name]
    yield make
    for cluster in made.values():
        cluster.stop(hard=True)


@pytest.fixture
def source(brokers):
    return brokers("source")


@pytest.fixture
def recipe(request, pair, source, tmp_path, processes):
    name = request.node.get_closest_marker("recipe").args[0]
    server = pair.server(kafka=f"kafka={source.bootstrap}")
    client = pair.client(server, kafka={"kafka": 0})
    made = [source.create_topic(2, 1, topic) for topic in ("orders", "items", "orders-upper", "logs")]
    yield Recipe(name, tmp_path, processes, f"localhost:{tunnel.port(client, 'kafka')}", None)
    for topic in made:
        source.delete_topic(topic)


class Postgres:
    """A PostgreSQL of the test's own, on loopback; its user shop has the database shop."""

    def __init__(self, directory, processes):
        binaries = [p for p in glob.glob("/usr/lib/postgresql/*/bin/initdb")]
        initdb = program("initdb", *sorted(binaries)[-1:])
        self.bin = pathlib.Path(initdb).resolve().parent
        self.port = wait.free_port()
        place = pathlib.Path(tempfile.mkdtemp(prefix="postgres."))
        self.place = place
        shutil.chown(place, "postgres", "postgres")
        self.run("initdb", "-D", place / "data", "-A", "trust", "-U", "shop")
        self.process = processes.start(self._as([self.bin / "postgres", "-D", place / "data", "-p", self.port, "-k", place, "-c",
                                                 "listen_addresses=127.0.0.1", "-c", "wal_level=logical", "-c", "fsync=off"]), "postgres")
        wait.until(lambda: wait.port_open("127.0.0.1", self.port), 60, "PostgreSQL listens")
        wait.until(lambda: self.sql("SELECT 1", "postgres", check=False) == "1", 60, "PostgreSQL answers")
        self.sql("CREATE DATABASE shop", "postgres")

    @staticmethod
    def _as(argv):
        user = pwd.getpwnam("postgres")
        return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", *argv] if os.geteuid() == 0 else argv

    def run(self, name, *args):
        process.run(self._as([self.bin / name, *args]), 120)

    def sql(self, text, database="shop", check=True):
        done = subprocess.run([str(self.bin / "psql"), "-h", "127.0.0.1", "-p", str(self.port), "-U", "shop", "-At", "-c", text, database],
                              capture_output=True, text=True, timeout=60, check=check)
        return done.stdout.strip()

    def close(self):
        self.process.kill()
        shutil.rmtree(self.place)


@pytest.fixture
def postgres(tmp_path, processes):
    made = Postgres(tmp_path, processes)
    yield made
    made.close()


def selected(name):
    return name in ALWAYS or WANTED == "all" or name in WANTED.split(",")


def recipe_test(name):
    """A test that is there if the recipe is asked for."""
    def wrap(function):
        function.__test__ = selected(name)
        return pytest.mark.recipe(name)(function)
    return wrap


def connect(recipe, connector, plugins, more=None):
    """A standalone worker with one connector; the worker's file is the page's."""
    worker = recipe.file("worker.properties", "connect", {"/var/lib/connect": recipe.directory, "127.0.0.1:8083": "127.0.0.1:0",
                                                          "/usr/share/connectors": plugins, **(more or {})})
    return recipe.start(kafka.java("org.apache.kafka.connect.cli.ConnectStandalone", worker, connector))


@recipe_test("streams")
def test_recipe_streams(recipe):
    settings = dict(line.split("=", 1) for line in recipe.file("streams.properties", more={
        "/var/lib/word-count": recipe.directory, "word-count": f"count-{uuid.uuid4().hex[:8]}"}).read_text(encoding="ascii").splitlines())
    argv = clients.java("WordCount", bootstrap=recipe.bootstrap, **{"in": "orders"}, out="items", application=settings["application.id"],
                        directory=settings["state.dir"], lines=50)
    done = process.run([*argv, *[f"prop.{key}={value}" for key, value in settings.items()]], PATIENCE_S)
    assert json.loads(done.stdout.strip().splitlines()[-1])["broker"] == 50


@recipe_test("jdbc")
def test_recipe_jdbc(recipe, source, postgres):
    plugins = cache.directory() / "recipes" / "connectors"
    if not glob.glob(f"{plugins}/jdbc*"):
        pytest.skip(f"there is no JDBC connector in {plugins}: unpack Aiven's there")
    schema = {"type": "struct", "fields": [{"field": "id", "type": "int32"}, {"field": "item", "type": "string"}]}
    recipe.produce(source, "orders", [{"schema": schema, "payload": order} for order in [*ORDERS, *ORDERS]])
    sink = recipe.file("sink.properties", more={"127.0.0.1:5432": f"127.0.0.1:{postgres.port}"})
    worker = connect(recipe, sink, plugins)

    def arrived():
        assert worker.alive(), worker.tail(80)
        return postgres.sql("SELECT string_agg(item, ',' ORDER BY id) FROM orders", check=False) == ",".join(o["item"] for o in ORDERS)
    wait.until(arrived, PATIENCE_S, lambda: worker.tail(80), 0.5)
    worker.kill()


@recipe_test("debezium")
def test_recipe_debezium(recipe, source, postgres):
    jars = maven("io.debezium:debezium-connector-postgres:3.6.1.Final")
    postgres.sql("CREATE TABLE customers (id INT PRIMARY KEY, name TEXT)")
    postgres.sql("INSERT INTO customers SELECT i, 'customer ' || i FROM generate_series(1, 5) i")
    connector = recipe.file("source.properties", more={"database.port=5432": f"database.port={postgres.port}"})
    plugins = recipe.directory / "connectors"
    plugins.mkdir()
    (plugins / "debezium").symlink_to(jars)
    worker = connect(recipe, connector, plugins)
    recipe.values(source, "shop.public.customers", 5, worker)
    postgres.sql("INSERT INTO customers VALUES (6, 'late')")
    values = recipe.values(source, "shop.public.customers", 6, worker)
    assert sorted(json.loads(v)["payload"]["after"]["id"] for v in values) == [1, 2, 3, 4, 5, 6]
    worker.kill()


@recipe_test("mirrormaker")
def test_recipe_mirrormaker(recipe, brokers, source, pair):
    target = brokers("target")
    recipe.produce(source, "orders", ORDERS)
    server = pair.server(kafka=f"source={source.bootstrap}", args=["--kafka", f"target={target.bootstrap}"])
    client = pair.client(server, kafka={"source": 0, "target": 0})
    jars = maven("org.apache.kafka:connect-mirror:4.3.1")
    recipe.instead = {"localhost:9092": f"localhost:{tunnel.port(client, 'source')}",
                      "localhost:19092": f"localhost:{tunnel.port(client, 'target')}"}
    settings = recipe.file("mm2.properties", more={"127.0.0.1:8084": f"127.0.0.1:{wait.quiet_ports(1)}"})
    argv = kafka.java("org.apache.kafka.connect.mirror.MirrorMaker", settings)
    at = argv.index("-cp") + 1
    argv[at] = ":".join([argv[at], *glob.glob(f"{jars}/connect-mirror*.jar")])
    argv = [a for a in argv if "SharedArchiveFile" not in str(a)]  # it is for another class path
    mirror = recipe.start(argv)
    assert sorted(recipe.values(target, "source.orders", len(ORDERS), mirror)) == sorted(json.dumps(o).encode() for o in ORDERS)
    recipe.produce(source, "orders", [{"id": 99, "item": "late"}])
    assert len(recipe.values(target, "source.orders", len(ORDERS) + 1, mirror)) == len(ORDERS) + 1
    mirror.kill()


@recipe_test("spark")
def test_recipe_spark(recipe, source):
    recipe.produce(source, "orders", ORDERS)
    interpreter = python("pyspark==4.2.0")
    jars = maven("org.apache.spark:spark-sql-kafka-0-10_2.13:4.2.0")
    named = [p for p in glob.glob(f"{jars}/*.jar") if re.search(r"/(spark-sql-kafka|spark-token|kafka-clients|commons-pool)", p)]
    job = recipe.file("job.py", more={"/var/lib/orders": recipe.directory})
    spark = recipe.start([interpreter.parent / "spark-submit", "--jars", ",".join(named), "--driver-memory", "512m", "--conf",
                          "spark.sql.shuffle.partitions=2", "--conf", "spark.ui.enabled=false", job],
                         env={"PYSPARK_PYTHON": str(interpreter), "SPARK_LOCAL_IP": "127.0.0.1"})
    values = recipe.values(source, "orders-upper", len(ORDERS), spark)
    assert sorted(json.loads(v)["ITEM"] for v in values) == ITEMS
    assert spark.wait_exit(PATIENCE_S) == 0, spark.tail()


@recipe_test("flink")
def test_recipe_flink(recipe, source):
    recipe.produce(source, "orders", ORDERS)
    interpreter = python("apache-flink==2.3.0")
    jar = glob.glob(f"{maven('org.apache.flink:flink-sql-connector-kafka:5.0.0-2.2')}/flink-sql*.jar")[0]
    job = recipe.file("job.sql")
    runner = recipe.directory / "job.py"
    runner.write_text("import sys\nfrom pyflink.table import EnvironmentSettings, TableEnvironment\n"
                      "tables = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())\n"
                      "tables.get_config().set('pipeline.jars', 'file://' + sys.argv[2])\n"
                      "tables.get_config().set('parallelism.default', '1')\n"
                      "for statement in open(sys.argv[1]).read().split(';'):\n"
                      "    if statement.strip():\n"
                      "        result = tables.execute_sql(statement)\n"
                      "result.wait()\n", encoding="ascii")
    flink = recipe.start([interpreter, runner, job, jar], env={"_JAVA_OPTIONS": "-Xmx768m"})
    values = recipe.values(source, "items", len(ORDERS), flink)
    assert sorted(json.loads(v)["item"] if "item" in json.loads(v) else "" for v in values) == ITEMS
    assert flink.wait_exit(PATIENCE_S) == 0, flink.tail()


@recipe_test("quixstreams")
def test_recipe_quixstreams(recipe, source):
    recipe.produce(source, "orders", ORDERS)
    app = recipe.start([python("quixstreams==3.28.1"), recipe.file("app.py", more={"/var/lib/quix": recipe.directory})])
    assert sorted(json.loads(v)["item"] for v in recipe.values(source, "items", len(ORDERS), app)) == ITEMS
    app.kill()


@recipe_test("bytewax")
def test_recipe_bytewax(recipe, source):
    recipe.produce(source, "orders", ORDERS)
    flow = recipe.file("flow.py")
    app = recipe.start([python("bytewax[kafka]==0.21.1"), "-m", "bytewax.run", flow])
    values = recipe.values(source, "items", len(ORDERS), app)
    assert sorted(json.loads(v)["ITEM"] for v in values) == ITEMS
    assert app.wait_exit(PATIENCE_S) == 0, app.tail()


def _says_lines(recipe, source, argv, socket):
    logger = program("logger")
    running = recipe.start(argv)
    wait.until(socket.exists, 60, lambda: running.tail(80))
    for i in range(10):
        process.run([logger, "-u", socket, f"line {i}"], 20)
    values = recipe.values(source, "logs", 10, running)
    assert sorted(v.decode().strip() for v in values) == [f"line {i}" for i in range(10)]
    running.kill()


@recipe_test("rsyslog")
def test_recipe_rsyslog(recipe, source):
    settings = recipe.file("rsyslog.conf", more={"/run/orders": recipe.directory, "/var/spool/rsyslog": recipe.directory})
    _says_lines(recipe, source, [program("rsyslogd", "/usr/sbin/rsyslogd"), "-n", "-f", settings, "-i", recipe.directory / "pid"],
                recipe.directory / "log")


@recipe_test("syslog-ng")
def test_recipe_syslog_ng(recipe, source):
    settings = recipe.file("syslog-ng.conf", more={"/run/orders": recipe.directory})
    _says_lines(recipe, source, [program("syslog-ng", "/usr/sbin/syslog-ng"), "-F", "--no-caps", "-f", settings, "-R",
                                 recipe.directory / "persist", "-p", recipe.directory / "pid", "-c", recipe.directory / "control"],
                recipe.directory / "log")


@recipe_test("spring")
def test_recipe_spring(recipe, source):
    jars = maven("org.springframework.boot:spring-boot-starter-kafka:4.0.7")
    code = recipe.directory / "Orders.java"
    code.write_text("""
package shop;

import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.kafka.annotation.KafkaListener;
import org.springframework.kafka.core.KafkaTemplate;

@SpringBootApplication
public class Orders {
    private final KafkaTemplate<String, String> template;

    Orders(KafkaTemplate<String, String> template) {
        this.template = template;
    }

    @KafkaListener(topics = "orders")
    public void order(String value) {
        template.send("items", value.toUpperCase());
    }

    public static void main(String[] args) {
        SpringApplication.run(Orders.class, args);
    }
}
""", encoding="ascii")
    classes = recipe.directory / "classes"
    process.run(["javac", "-nowarn", "-parameters", "-cp", f"{jars}/*", "-d", classes, code], 120)
    shutil.copy(recipe.file("application.properties"), classes)
    recipe.produce(source, "orders", ORDERS)
    app = recipe.start(["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", f"{classes}:{jars}/*", "shop.Orders"])
    assert sorted(json.loads(v)["ITEM"] for v in recipe.values(source, "items", len(ORDERS), app)) == ITEMS
    app.kill()


def test_every_recipe_has_its_test():
    named = {name for name, _ in BLOCKS} - {"connect"}
    there = {mark.args[0] for function in globals().values() for mark in getattr(function, "pytestmark", []) if getattr(mark, "name", "") == "recipe"}
    assert named == there and named
