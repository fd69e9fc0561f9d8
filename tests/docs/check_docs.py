#!/usr/bin/env python3
"""Checks what the documents say against what is there.

    check_docs.py ROOT TUNNEL-CLIENT TUNNEL-SERVER           every fault as path:line: sentence; exit code 1 if there is one
    check_docs.py --prove ROOT TUNNEL-CLIENT TUNNEL-SERVER   breaks each rule in a copy and looks that it is noticed

The rules:
  links      a link between documents leads to a file or directory that exists, and to a heading in it
  paths      a source file that a document names exists
  options    an option, in a command line or in the text, is one of the program's (of the command's, behind `run`, `wait`, `token`, ...), and
             so is a TUNNEL_ variable
  commands   a block of commands in README.md or docs/ is run by a test (<!-- test: NAME --> before it, and NAME in a test), or starts
             nothing but the two programs (then its options are checked), or has <!-- not run: REASON --> before it
  width      a line of prose has at most 160 columns; rows of tables may have more
  events     docs/events.md names events that the programs log, and every one that is logged as a warning or an error
  doctor     docs/troubleshooting.md has the doctor's layers and exit codes
"""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

PROGRAMS = ("tunnel-client", "tunnel-server")
COMMANDS_OF = {"tunnel-client": {"run", "wait", "doctor", "hosts"}, "tunnel-server": {"audit", "token"}}
# Where a line of a block is looked at as a command; everything in a ```sh block is.
COMMANDS = {"tunnel-client", "tunnel-server", "openssl", "kcat", "curl", "docker", "meson", "ninja", "apt-get", "dpkg", "snow", "scripts",
            "build", "export", "umask", "pip", "brew", "systemctl", "kubectl", "examples", "dpkg-buildpackage", "launchctl", "sudo", "bench"}
# What a person cannot do without and no test needs to show: these two are the tests, or are run by them.
THEMSELVES = ("./demo", "./test")
# Options of other programs that are in the text.
OTHERS = {
    "--name", "--no-name",  # docs/configuration.md speaks of options in general
    "--platform", "--build-arg",  # docker build
    "--env-file",  # docker run
    "--omit",  # npm install
}
# (document, heading): commands that a script takes from there and runs.
RUN_BY = {
    ("docs/install.md", "From source"): "scripts/check-deb",
    ("docs/install.md", "Debian packages"): "scripts/check-deb",
    ("docs/install.md", "Checksums"): "scripts/check-deb",
}
# Variables that are no options: made by `run`, the place of the file, or Kubernetes' of a Service.
VARIABLES = re.compile(r"TUNNEL_(CONFIG|SERVER_SERVICE_HOST|SERVER_PORT_8080_TCP|[A-Z0-9_]*NAME[A-Z0-9_]*|[A-Z0-9_]+_ADDRESS|[A-Z0-9_]+_BOOTSTRAP_SERVERS)?$")
NOT_RUN = object()  # in place of a test's name

WIDTH = 160

LINK = re.compile(r"(?<!!)\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]+)\)")
SPAN = re.compile(r"``(.+?)``|`([^`\n]+)`")
HEADING = re.compile(r"^(#{1,6})\s+(.*?)\s*#*\s*$")
OPTION = re.compile(r"(?<![\w-])--(?:\[no-\])?([a-z][a-z-]*[a-z])")
FILE = re.compile(r"^(?:[\w.-]+/)+[\w.-]+\.(?:c|h|py|md|sql|yaml|yml|pml|toml|json)\b")
LOGGED = re.compile(r"\b(?:log_(error|warning|info|debug|event|always)|say_why_not_run)\s*\(")  # say_why_not_run: tunnel-client/run/run.c
PICTURE = re.compile("[\u2500-\u257f]")


class Document:
    """Lines apart from blocks of code."""

    def __init__(self, root, path):
        self.root, self.path, self.name = root, path, str(path.relative_to(root))
        self.lines = path.read_text(encoding="utf-8").splitlines()
        self.text = {}  # number -> line outside of blocks
        self.blocks = []  # (number of the first line, language or None, [lines], test name, NOT_RUN or None)
        self._split()

    def _split(self):
        fence, block, indented, test = None, None, None, None
        blank = True
        for number, line in enumerate(self.lines, 1):
            mark = re.match(r"^ {0,6}(```+|~~~+)\s*([\w-]*)", line)
            if fence:
                if mark and mark[1].startswith(fence) and not mark[2]:
                    fence = None
                else:
                    block[2].append(line)
                continue
            if mark:
                fence, block, indented = mark[1], (number, mark[2], [], test), None
                self.blocks.append(block)
                test = None
                continue
            if line.startswith("    ") and (blank or indented) and line.strip():
                if not indented:
                    indented = (number, None, [], test)
                    self.blocks.append(indented)
                    test = None
                indented[2].append(line.strip())
                blank = False
                continue
            found = re.match(r"^ *<!-- (?:test: ([\w-]+)|not run: \S.*) -->$", line)
            if found:
                test = found[1] or NOT_RUN
            elif line.strip():
                test = None
                indented = None
            blank = not line.strip()
            self.text[number] = line

    def heading(self, number):
        """The heading that this line stands below."""
        first = max([n for n in self.text if n <= number and HEADING.match(self.text[n])], default=0)
        return HEADING.match(self.text[first])[2] if first else ""

    def anchors(self):
        found = []
        for line in self.text.values():
            heading = HEADING.match(line)
            if heading:
                text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[2]).lower()
                slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
                again = sum(1 for f in found if f == slug or re.fullmatch(re.escape(slug) + r"-\d+", f))
                found.append(f"{slug}-{again}" if again else slug)
        return found


def commands_of(lines):
    """Logical lines: continued ones joined, comments gone."""
    joined = []
    for line in re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines():
        line = re.sub(r"(^|\s)#( .*)?$", "", line).strip()
        if line:
            joined.append(line)
    return joined


def words_of(command):
    """The simple commands of a line, each as words; good enough for documents."""
    plain = re.sub(r"'[^']*'|\"[^\"]*\"|\$\([^)]*\)", "QUOTED", command)
    for part in re.split(r"&&|\|\||[;|&()]|\bdo\b|\bthen\b", plain):
        words = part.split()
        while words and (re.match(r"^[A-Za-z_]\w*=", words[0]) or words[0] in ("if", "until", "while", "sudo", "exec", "time")):
            words.pop(0)
        if words:
            yield words


def arguments_of(text, start):
    """The arguments of a C call whose parenthesis opens before start, the first three of them."""
    found, depth, argument = [], 0, ""
    for piece in re.finditer(r'"(?:\\.|[^"\\])*"|.', text[start:start + 1000], re.S):
        piece = piece[0]
        if piece in "([{":
            depth += 1
        elif piece in ")]}":
            depth -= 1
        if depth < 0 or (piece == "," and depth == 0):
            found.append(argument)
            argument = ""
            if depth < 0 or len(found) == 3:
                break
        else:
            argument += piece
    return found


def events_of(text):
    """(level, event) of each call of the log whose event stands there as a word."""
    for call in LOGGED.finditer(text):
        arguments = arguments_of(text, call.end())
        place = 2 if call[1] == "event" else 1
        if len(arguments) > place:
            for name in re.findall(r'"([a-z_]+)"', arguments[place]):
                level = "info" if call[1] == "always" else call[1] or "error"
                levels = re.findall(r"LOG_LEVEL_([A-Z]+)", arguments[1]) if place == 2 else [level]
                for level in levels or ["unknown"]:
                    yield level.lower(), name


class Programs:
    def __init__(self, paths):
        self.options, self.variables, self.layers = {}, set(), {}
        for name, path in zip(PROGRAMS, paths):
            text = self._help(path)
            for command in {None} | COMMANDS_OF[name]:
                said = text if command is None else self._help(path, command)
                self.options[name, command] = {m for m in re.findall(r"^  --(?:\[no-\])?([a-z-]+)", said, re.M)} | {"help", "help-all", "version"}
                self.options[name, command] |= {f"no-{m}" for m in re.findall(r"^  --\[no-\]([a-z-]+)", said, re.M)}
                self.variables |= set(re.findall(r"Environment: (TUNNEL_[A-Z0-9_]+)", said))
            if name == "tunnel-client":
                doctor = " ".join(self._help(path, "doctor").split())
                self.layers = dict((layer, code) for code, layer in re.findall(r"\b([12]\d) ([a-z]+)\b", doctor))
        self.every = set().union(*self.options.values())

    @staticmethod
    def _help(path, *command):
        done = subprocess.run([path, *command, "--help-all"], capture_output=True, text=True, timeout=60, check=True)
        return done.stdout


class Check:
    def __init__(self, root, programs):
        self.root, self.programs, self.faults = root, programs, []
        names = [p for p in sorted(root.rglob("*.md")) if not any(part.startswith((".", "build")) for part in p.relative_to(root).parts)]
        self.documents = {p: Document(root, p) for p in names}

    def fault(self, document, number, sentence):
        self.faults.append(f"{document.name}:{number}: {sentence}")

    def of_users(self):
        """The documents that people who use the programs read."""
        for path, document in self.documents.items():
            parts = path.relative_to(self.root).parts
            if document.name == "README.md" or parts[0] == "docs" or parts[0] == "examples":
                yield document

    # -- links and paths

    def links(self):
        for path, document in self.documents.items():
            for number, line in document.text.items():
                for target in LINK.findall(SPAN.sub("", line)):
                    self.link(path, document, number, target)
                for found in SPAN.finditer(line):
                    self.path(path, document, number, found[1] or found[2])

    def link(self, path, document, number, target):
        if re.match(r"^[a-z]+:", target):
            return
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        if not file.exists():
            self.fault(document, number, f"the link leads to {target}, which is not there")
        elif anchor and file in self.documents and anchor not in self.documents[file].anchors():
            self.fault(document, number, f"the link leads to {target}; that file has no such heading")

    def path(self, path, document, number, span):
        found = FILE.match(span)
        if not found or document.name.startswith("examples/") or "NAME" in span or "TARGET" in span:
            return
        name = found[0]
        if not any((base / name).exists() for base in (self.root, self.root / "common", path.parent, self.root / "tests" / "e2e")) \
                and not name.startswith(("path/", ".github/")):
            self.fault(document, number, f"there is no file {name}")

    def width(self):
        for document in self.documents.values():
            for number, line in document.text.items():
                if len(line) > WIDTH and not line.lstrip().startswith(("|", "<!--")):
                    self.fault(document, number, f"the line has {len(line)} columns, more than {WIDTH}")

    # -- options and commands

    def option_lists(self, words):
        """(program, command, its options) of each program that a line of words starts."""
        program = next((i for i, w in enumerate(words) if w.rsplit("/", 1)[-1] in PROGRAMS), None)
        if program is None:
            return None
        name = words[program].rsplit("/", 1)[-1]
        rest = words[program + 1:]
        rest = rest[:rest.index("--")] if "--" in rest else rest
        # Behind an option stands its value: --token-file token.
        command = next((w for i, w in enumerate(rest) if w in COMMANDS_OF[name] and not (i and rest[i - 1].startswith("--"))), None)
        used = [m[1] for w in rest for m in [re.match(r"^--([a-z][a-z-]*)", w)] if m]
        return name, command, used

    def options(self):
        for document in self.of_users():
            for number, language, lines, _ in document.blocks:
                if language in ("yaml", "ini", "mermaid", "json", "sql", "xml", "properties"):
                    continue
                for line in commands_of(lines):
                    for words in words_of(line):
                        self.command_line(document, number, words)
                for variable in re.findall(r"\bTUNNEL_[A-Z0-9_]*", "\n".join(lines)):
                    self.variable(document, number, variable)
            for number, line in document.text.items():
                for found in SPAN.finditer(line):
                    span = found[1] or found[2]
                    if "tunnel-" in span and " " in span:
                        self.command_line(document, number, span.split())
                    elif not document.name.startswith("examples/") and not self.of_another(span):
                        for option in OPTION.findall(span):
                            self.option(document, number, option)
                    for variable in re.findall(r"\bTUNNEL_[A-Z0-9_]*", span):
                        self.variable(document, number, variable)

    @staticmethod
    def of_another(span):
        """A command line of another program, or one of its options by name."""
        return not span.startswith("--") and span.split()[0].split("/")[-1] not in PROGRAMS and "--" in span

    def command_line(self, document, number, words):
        found = self.option_lists(words)
        if not found:
            return
        program, command, used = found
        for option in used:
            known = self.programs.options[program, command]
            if option not in known:
                self.fault(document, number, f"{program}{' ' + command if command else ''} has no option --{option}")

    def option(self, document, number, option):
        if option not in self.programs.every and f"--{option}" not in OTHERS:
            self.fault(document, number, f"neither program has an option --{option}")

    def variable(self, document, number, variable):
        if variable not in self.programs.variables and not VARIABLES.match(variable):
            self.fault(document, number, f"no option is set by {variable}")

    def commands(self):
        tests = "\n".join(p.read_text(encoding="utf-8") for p in sorted((self.root / "tests").rglob("*.py")) if p.name != "check_docs.py")
        for document in self.of_users():
            if document.name.startswith("examples/"):
                continue
            for number, language, lines, test in document.blocks:
                if test is NOT_RUN:
                    continue
                if test:
                    if not re.search(rf"[\"']{test}[\"']|test: {test}\b", tests):
                        self.fault(document, number, f"no test runs the block {test}")
                    continue
                if PICTURE.search("".join(lines)):
                    continue
                lines = commands_of(lines)
                shell = language in ("sh", "bash", "console")
                if language and not shell or not lines:
                    continue
                starts = [words[0] for line in lines for words in words_of(line)]
                first = starts[0].split("/")[0] if starts else ""
                if not shell and not (first in COMMANDS or starts and starts[0] in THEMSELVES):
                    continue  # output, a picture
                if all(s.rsplit("/", 1)[-1] in (*PROGRAMS, "export", "integration-tests", "use-it") or s in THEMSELVES for s in starts):
                    continue
                heading = document.heading(number)
                script = RUN_BY.get((document.name, heading))
                if script and document.name in (self.root / script).read_text(encoding="utf-8"):
                    continue
                self.fault(document, number, f"nobody runs these commands ({starts[0]} ...): give the block a test, or <!-- not run: REASON -->")

    # -- events and the doctor

    def events(self):
        logged = {}
        for room in ("common", *PROGRAMS):
            for path in sorted((self.root / room).rglob("*.c")):
                for level, name in events_of(path.read_text(encoding="utf-8")):
                    logged.setdefault(name, set()).add(level)
        path = self.root / "docs" / "events.md"
        document = self.documents.get(path)
        if not document:
            return
        named = set()
        inside = False
        for number, line in document.text.items():
            heading = HEADING.match(line)
            if heading:
                inside = heading[2].startswith("Events")
            first = line.split("|")[1] if inside and line.startswith("|") and line.count("|") > 2 else ""
            for event in re.findall(r"`([a-z_]+)`", first):
                named.add(event)
                if event not in logged:
                    self.fault(document, number, f"no program logs an event {event}")
        for event, levels in sorted(logged.items()):
            if levels & {"error", "warning"} and event not in named:
                self.fault(document, 1, f"the event {event}, a warning or an error, is in none of the tables")

    def doctor(self):
        document = self.documents.get(self.root / "docs" / "troubleshooting.md")
        if not document:
            return
        rows = [(n, m[2], m[1]) for n, line in document.text.items() for m in [re.match(r"^\| (\d\d) \| `([a-z]+)` \|", line)] if m]
        for number, layer, code in rows:
            if self.programs.layers.get(layer) != code:
                self.fault(document, number, f"the doctor has no layer {layer} with exit code {code}")
        for layer in sorted(self.programs.layers.keys() - {layer for _, layer, _ in rows}):
            self.fault(document, 1, f"the doctor's layer {layer} is not in the table")

    def all(self):
        for rule in (self.links, self.width, self.options, self.commands, self.events, self.doctor):
            rule()
        return self.faults


# What must be noticed: (file, what is replaced, by what, a part of the sentence). "": appended.
BREAKAGES = [
    ("README.md", "(docs/guide.md)", "(docs/guidance.md)", "is not there"),
    ("docs/troubleshooting.md", "(#the-doctor)", "(#the-physician)", "no such heading"),
    ("docs/events.md", "architecture.md#what-bounds-what", "architecture.md#what-binds-what", "no such heading"),
    ("docs/security.md", "`tunnel-server/authentication/access.c`", "`tunnel-server/excess.c`", "no file tunnel-server/excess.c"),
    ("README.md", "--token-file token --kafka 127", "--token-fil token --kafka 127", "tunnel-client run has no option --token-fil"),
    ("docs/guide.md", "--kafka-tls --kafka-ca", "--kafka-tls --kafka-cafe", "tunnel-server has no option --kafka-cafe"),
    ("docs/limits.md", "`--max-streams`", "`--most-streams`", "neither program has an option --most-streams"),
    ("docs/guide.md", "`TUNNEL_TOKEN`", "`TUNNEL_TOKENS`", "no option is set by TUNNEL_TOKENS"),
    ("docs/security.md", "", "\n## More\n\n    curl --cacert server.pem https://server.example.com:8443/readyz\n", "nobody runs these commands"),
    ("docs/security.md", "", "\n## More\n\n```sh\nmake coffee\n```\n", "nobody runs these commands"),
    ("docs/security.md", "", "\n## More\n\n<!-- not run: no kettle -->\nThe text:\n\n```sh\nmake coffee\n```\n", "nobody runs these commands"),
    ("docs/security.md", "", "\n## More\n\n<!-- test: nobody-has-this -->\n```sh\nmake coffee\n```\n", "no test runs the block"),
    ("docs/security.md", "", "\n" + "long " * 33 + "\n", "columns"),
    ("docs/events.md", "| `link_lost` |", "| `link_last` |", "no program logs an event link_last"),
    ("docs/events.md", "| `link_lost` |", "| `link_up` |", "the event link_lost, a warning or an error"),
    ("docs/troubleshooting.md", "| 14 | `tls` |", "| 15 | `tls` |", "no layer tls with exit code 15"),
    ("docs/troubleshooting.md", "| 17 | `upgrade` |", "| | `upgrade` |", "layer upgrade is not in the table"),
]


def prove(root, programs):
    failures = []
    with tempfile.TemporaryDirectory() as name:
        copy = pathlib.Path(name).resolve() / "copy"
        ignored = shutil.ignore_patterns("build*", ".*", "__pycache__")
        shutil.copytree(root, copy, ignore=ignored, symlinks=True)
        before = Check(copy, programs).all()
        if before:
            return before
        for file, old, new, sentence in BREAKAGES:
            path = copy / file
            text = path.read_text(encoding="utf-8")
            if old and old not in text:
                failures.append(f"{file}: there is no {old!r} to break")
                continue
            path.write_text(text.replace(old, new, 1) if old else text + new, encoding="utf-8")
            faults = Check(copy, programs).all()
            if not any(sentence in f for f in faults):
                failures.append(f"{file}: {new!r} instead of {old!r} was not noticed ({sentence})")
            path.write_text(text, encoding="utf-8")
    return failures


def main():
    arguments = sys.argv[1:]
    proving = arguments[0] == "--prove"
    root, *paths = arguments[1:] if proving else arguments
    root, programs = pathlib.Path(root).resolve(), Programs(paths)
    faults = prove(root, programs) if proving else Check(root, programs).all()
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
