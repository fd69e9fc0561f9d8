"""What is in examples/: its files, the command lines in them, and whether the programs take these.

A command line is shown to be right by starting the program with it, in a network namespace of its own, where its ports are free and
nothing is reached. Files that it names are stood in for.
"""

import os
import plistlib
import re
import shlex

import yaml

from harness import cache, process

ROOT = cache.ROOT / "examples"
PROGRAMS = ("tunnel-client", "tunnel-server")


def parsed(path):
    """Every document of a YAML file."""
    return [d for d in yaml.safe_load_all((ROOT / path).read_text(encoding="utf-8")) if d is not None]


def isolated(argv):
    """argv in a network of its own, with nothing but loopback in it."""
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    return ["unshare", *as_root, "--net", "--", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", *argv]


class StandIns:
    """Files for the options that name one."""

    def __init__(self, binaries, pki, directory):
        self.binaries = binaries
        token, secret = directory / "token", directory / "secret"
        token.write_text("stand-in-token-0123456789abcdef\n", encoding="ascii")
        secret.write_text("stand-in-secret-0123456789abcdef0123456789abcdef\n", encoding="ascii")
        rsa = directory / "rsa.p8"
        process.run(["openssl", "genpkey", "-quiet", "-algorithm", "RSA", "-out", rsa], 30)
        self.files = {"tls-cert": pki.server[0], "tls-key": pki.server[1], "ca": pki.ca, "client-ca": pki.ca, "kafka-ca": pki.ca,
                      "cert": pki.client[0], "key": pki.client[1], "kafka-cert": pki.client[0], "kafka-key": pki.client[1],
                      "token-file": token, "peer-secret-file": secret, "private-key-file": rsa}

    def options(self, program):
        """Those whose value is a file."""
        binary = getattr(self.binaries, program.removeprefix("tunnel-"))
        return set(re.findall(r"^  --([a-z-]+) FILE$", process.run([binary, "--help-all"], 10).stdout, re.M)) - {"config"}

    def instead(self, option):
        assert option in self.files, f"no stand-in for the file of --{option}"
        return str(self.files[option])

    def command(self, argv):
        """argv with the built program and with files that exist."""
        program, options = os.path.basename(argv[0]), self.options(os.path.basename(argv[0]))
        result, rest = [str(getattr(self.binaries, program.removeprefix("tunnel-")))], [str(a) for a in argv[1:]]
        while rest:
            word = rest.pop(0)
            if word == "--":
                return [*result, word, *rest]
            name, equals, _ = word.removeprefix("--").partition("=")
            if word.startswith("--") and name in options:
                result += [f"--{name}", self.instead(name)]
                if not equals:
                    rest.pop(0)
            else:
                result.append(word)
        return result

    def environment(self, program, variables):
        names = {"TUNNEL_" + o.upper().replace("-", "_"): o for o in self.options(program)}
        return {k: self.instead(names[k]) if k in names else v for k, v in variables.items()}


def containers(document):
    spec = document.get("spec", {})
    pod = spec.get("template", {}).get("spec", spec)
    for container in pod.get("initContainers", []) + pod.get("containers", []):
        yield container


def container_commands(container):
    """Its own command line, and those of its probes."""
    own = container.get("command", []) + container.get("args", [])
    if own and own[0] in PROGRAMS:
        environment = container.get("env", {})
        if isinstance(environment, list):
            environment = {e["name"]: e.get("value", "") for e in environment}
        yield own, environment
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        command = container.get(probe, {}).get("exec", {}).get("command", [])
        if command:
            yield command, {}


def markdown_commands(path):
    """Lines of indented or fenced code that begin with one of the programs, continued lines joined."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ").replace("INGRESS_URL", "x.snowflakecomputing.app")
    for line in text.splitlines():
        if re.match(r"^ {4,}tunnel-(client|server) ", line):
            words = shlex.split(line)
            if "..." not in words:
                yield words, {}


def systemd_commands(program):
    """The unit's program, with its environment file as it is when every line is taken."""
    lines = (ROOT / "systemd" / f"{program}.env").read_text(encoding="utf-8").splitlines()
    yield [program], dict(line.removeprefix("#").split("=", 1) for line in lines if re.match(r"#?TUNNEL_", line))


def commands():
    """{where it stands: (words, environment)} of every command line in examples/."""
    found = {}

    def add(where, pairs):
        for words, environment in pairs:
            found[f"{where}: {' '.join(words[:2])} {len(found)}"] = (words, environment)

    for path in sorted(ROOT.glob("**/*.y*ml")):
        for document in parsed(path):
            if isinstance(document, dict):
                for container in containers(document):
                    add(path.relative_to(ROOT), container_commands(container))
                for service in (document.get("services") or {}).values() if "compose" in path.name else ():
                    add(path.relative_to(ROOT), container_commands(service))
    for program in PROGRAMS:
        add("systemd", systemd_commands(program))
    for path in sorted(ROOT.glob("**/*.md")):
        add(path.relative_to(ROOT), markdown_commands(path))
    for path in sorted(ROOT.glob("**/*.plist")):
        add(path.relative_to(ROOT), [(plistlib.loads(path.read_bytes())["ProgramArguments"], {})])
    return found
