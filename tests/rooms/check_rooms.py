#!/usr/bin/env python3
"""Checks that the rooms keep to themselves (docs/architecture.md).

    check_rooms.py ROOT           every broken rule as path:line: sentence; exit code 1 if there is one
    check_rooms.py --prove ROOT   breaks each rule in a copy and looks that it is noticed

Read are the #include lines of common/ and of the two programs; tests, examples and bench may use what they like.
"""
import pathlib
import re
import shutil
import sys
import tempfile

# What a room may include of the others, from the bottom up.
ROOMS = {
    "base": set(),
    "config": {"base"},
    "kafka": {"base"},
    "metrics": {"base"},
    "mux": {"base"},
    "ws": {"base"},
    "sasl": {"base"},
    "tls": {"base", "config"},
    "io": {"base", "config", "tls"},
    "http": {"base", "config", "io", "metrics", "tls"},
    "tunnel": {"base", "io", "kafka", "mux", "tls", "ws"},
    "program": {"base", "config", "io"},
    "monitoring": {"base", "config", "http", "io", "kafka", "metrics", "mux", "tunnel"},
}
# What a program's files may include of the rooms, and its own rooms of each other; "" is its directory itself.
PROGRAM_ROOMS = set(ROOMS) - {"ws"}
PROGRAMS = {
    "tunnel-client": {
        "listeners": set(),
        "credentials": {""},
        "run": {"", "listeners"},
        "doctor": {"", "listeners"},
        "status": {"", "listeners"},
        "": {"credentials", "doctor", "listeners", "run", "status"},
    },
    "tunnel-server": {
        "oidc": {""},
        "authentication": {"", "oidc"},
        "audit": {""},
        "broker_login": {""},
        "peers": {""},
        "authorization": {""},
        "tenants": {"", "authentication", "authorization"},
        "brokers": {"", "audit", "authorization", "broker_login", "tenants"},
        "": {"audit", "authentication", "authorization", "broker_login", "brokers", "oidc", "peers", "tenants"},
    },
}

# Sans-I/O: memory, text and numbers. Notably not sys/socket.h, netinet/*, poll.h, unistd.h, time.h (clock_gettime),
# pthread.h, event2/*, openssl/*.
SANS_IO = {"kafka", "metrics", "mux", "ws"}
# The files of a room that are so, though the room is not. They use base/, each other, and what only takes text apart.
SANS_IO_FILES = {
    "http": {"answer", "field", "hop", "refusal", "request", "response", "retry_after", "socks5"},
    "tunnel": {"frame_limit", "pace"},
}
SANS_IO_MAY_USE = {"config/url.h"}
SANS_IO_HEADERS = {
    "assert.h", "ctype.h", "inttypes.h", "limits.h", "stdarg.h", "stdbool.h", "stddef.h", "stdint.h", "stdio.h",
    "stdlib.h", "string.h", "strings.h", "sys/uio.h",
}
# Bytes come in and go out by calls, also from and to the terminal: stdio.h is there for snprintf.
SANS_IO_CALLS = re.compile(
    r"(?<!format\()\b(printf|fprintf|vprintf|puts|putchar|fopen|fputs|fwrite|fread|getenv|system|rand|stderr|stdout|errno)\b")

# What threads share has a lock: the log's lines are whole.
LOCKED = {("base", "log", "pthread.h")}
# base and config are not sans-I/O (the log writes, config reads files), but know no network either.
NETWORK = re.compile(r"^(sys/socket\.h|sys/un\.h|netinet/|netdb\.h|event2/|event\.h|openssl/|pthread\.h)")
# Others wait by io/timer.h and io/watch.h, and run the loop by io/worker.h.
LIBEVENT = re.compile(r"^(event2/|event\.h|evutil\.h)")
LOG_USERS = {"base", "http", "io", "monitoring", "program", "tunnel"} | set(PROGRAMS)  # other rooms return sentences instead

# Only these headers of a room are for others.
DOORS = {
    "kafka": {"filter.h", "addresses.h", "sniff.h", "bootstrap.h", "login.h", "catalog.h", "guard.h", "peek.h"},
    "mux": {"session.h", "link.h", "stream.h", "types.h", "handshake.h", "message.h", "protocol.h"},
    "tunnel": {"link.h", "relay.h", "relay_kafka.h", "frame_limit.h"},
}

# What a room may include, but only these of its files.
ONLY = {("tunnel", "kafka"): {"relay_kafka"}}

# Files of a room that stand on each other, from the bottom up; the room's other files are below them all.
LAYERS = {
    "mux": [
        {"session_core"},
        {"session_control"},
        {"stream", "stream_internal"},
        {"scheduler"},
        {"session_receive"},
        {"session", "link", "link_pull", "link_receive", "link_timers"},
    ],
}

# Headers that the build makes.
GENERATED = {("tunnel-client", "status-files.h"), ("tunnel-server", "status-files.h")}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)
TEXT = re.compile(r'"(\\.|[^"\\\n])*"')


def includes(path):
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        match = INCLUDE.match(line)
        if match:
            yield number, match[1] == '"', match[2]


def is_sans_io(room, path):
    return room in SANS_IO or path.stem in SANS_IO_FILES.get(room, ())


def check_system(room, path, name):
    """A sentence about an include of a library's or the system's, or None."""
    if is_sans_io(room, path) and name not in SANS_IO_HEADERS:
        return f"{room}/{path.name if room in SANS_IO_FILES else ''} is sans-I/O and may not use <{name}>"
    if room in {"base", "config"} and NETWORK.match(name) and (room, path.stem, name) not in LOCKED:
        return f"{room}/ knows no network and may not use <{name}>"
    if room != "io" and LIBEVENT.match(name):
        return f"only io/ knows libevent: {room}/ has io/timer.h and io/watch.h instead of <{name}>"
    return None


def check_program(root, program, path, name):
    """The same of a program's file: an include of the program's own files, or None if it is no such."""
    mine = path.relative_to(root / program).parent.as_posix().removeprefix(".")
    other, _, _ = name.rpartition("/")
    if other in ROOMS and not (root / program / name).is_file():
        return None
    if (program, name) in GENERATED:
        return ""
    if not (root / program / name).is_file() or other not in PROGRAMS[program]:
        return f'"{name}" is no file of {program}/' if "/" not in name else f'"{name}" is no file of a room'
    if other != mine and other not in PROGRAMS[program][mine]:
        return f"{program}/{mine}/ may not use {other or program}/ ({name})"
    return ""


def check_own(root, room, path, name):
    """A sentence about an include in quotes, or None."""
    if room in PROGRAMS:
        problem = check_program(root, room, path, name)
        if problem is not None:
            return problem or None
    allowed = ROOMS[room] if room in ROOMS else PROGRAM_ROOMS
    if "/" not in name:
        return f'write "{room}/{name}": the include root is common/'
    other, _, rest = name.partition("/")
    if other not in ROOMS:
        return f'"{name}" is no file of a room'
    if not (root / "common" / name).is_file():
        return f'"{name}" does not exist'
    if other != room and other not in allowed:
        return f"{room}/ may not use {other}/ ({name})"
    if path.stem not in ONLY.get((room, other), {path.stem}):
        return f"{room}/{path.name} may not use {other}/ ({name})"
    if is_sans_io(room, path) and other != "base" and name not in SANS_IO_MAY_USE and not is_sans_io(other, pathlib.Path(rest)):
        return f"{room}/{path.name} is sans-I/O and may not use {name}"
    if name == "base/log.h" and (room not in LOG_USERS or is_sans_io(room, path)):
        return f"{room}/ does not log: it returns what there is to say ({name})"
    if other != room and rest not in DOORS.get(other, {rest}):
        return f"{name} is not one of the headers that {other}/ has for others: {', '.join(sorted(DOORS[other]))}"
    return None


def layer(room, stem):
    return next((number for number, files in enumerate(LAYERS.get(room, ()), 1) if stem in files), 0)


def check_layers(room, path, name):
    """A sentence about an include of a file that is above this one, or None."""
    other, _, rest = name.partition("/")
    if other != room or layer(room, pathlib.Path(rest).stem) <= layer(room, path.stem):
        return None
    return f"{name} is above {room}/{path.name}"


def check_file(root, room, path):
    problems = []
    for number, quoted, name in includes(path):
        problem = check_own(root, room, path, name) if quoted else check_system(room, path, name)
        problem = problem or check_layers(room, path, name)
        if problem:
            problems.append(f"{path.relative_to(root)}:{number}: {problem}")
    text = path.read_text(encoding="utf-8")
    if is_sans_io(room, path):
        # Comments and strings are blanked, so that what is left are calls and line numbers stay.
        code = TEXT.sub('""', COMMENT.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), text))
        for match in SANS_IO_CALLS.finditer(code):
            line = code.count("\n", 0, match.start()) + 1
            problems.append(f"{path.relative_to(root)}:{line}: {room}/ is sans-I/O and may not use {match[0]}")
    if path.suffix == ".h":
        if not text.startswith("/*"):
            problems.append(f"{path.relative_to(root)}:1: a header begins with a comment that says what it is for")
        if "#pragma once" not in text:
            problems.append(f"{path.relative_to(root)}:1: #pragma once is missing")
    return problems


def check(root):
    problems = []
    for room in [*ROOMS, *PROGRAMS]:
        directory = root / "common" / room if room in ROOMS else root / room
        files = sorted(p for p in directory.rglob("*") if p.suffix in {".c", ".h"})
        if not files:
            problems.append(f"{room}: no source files in {directory}")
        for path in files:
            problems += check_file(root, room, path)
        if room in ROOMS and not any(f"The room {room}/" in re.sub(r"\s*\n \* ?", " ", p.read_text(encoding="utf-8"))
                                     for p in files if p.suffix == ".h"):
            problems.append(f'common/{room}: no header says what "The room {room}/" is for')
    problems += check_names(root)
    problems += [f"{' and '.join(circle)} include each other" for circle in circles(modules(root))]
    for path in (root / "common").iterdir():
        if path.is_dir() and path.name not in ROOMS:
            problems.append(f"common/{path.name}: a room that tests/rooms/check_rooms.py does not know")
    return problems


# From the line of its name to the brace that ends it; a definition's first lines begin in the first column.
FUNCTION = re.compile(r"^(?P<head>\w[^\n;{}=]*\([^;{}=]*\))\n\{\n(?P<body>.*?)^\}", re.M | re.S)
NAME = re.compile(r"(\w+)\(")


def functions(text):
    """(name, whether it is static, lines) of each function that is defined."""
    for match in FUNCTION.finditer(text):
        head = re.sub(r"__attribute__\(\(.*?\)\)\)?|STACK_OF\(\w+\)", "", match["head"], flags=re.S)
        name = NAME.search(head)
        if name:
            yield name[1], "static" in match["head"].split(name[1])[0], match[0].count("\n") + 1


def check_names(root):
    """A breakpoint, a profile and a search find one function by its name, though it be static."""
    places = {}
    for top in ["common", *PROGRAMS]:
        for path in sorted((root / top).rglob("*.c")):
            for name, static, _ in functions(path.read_text(encoding="utf-8")):
                if static:
                    places.setdefault(name, []).append(path.relative_to(root).as_posix())
    return [f"{name}() is there more than once: {' '.join(at)}" for name, at in sorted(places.items()) if len(at) > 1]


def modules(root):
    """What each x.c with its x.h includes of other such pairs."""
    graph = {}
    for top in ["common", *PROGRAMS]:
        for path in (root / top).rglob("*.[ch]"):
            pair = path.relative_to(root).with_suffix("").as_posix()
            for _, quoted, name in includes(path):
                for place in ("common", top):
                    if quoted and (root / place / name).is_file():
                        graph.setdefault(pair, set()).add(f"{place}/{name}".rpartition(".")[0])
                        break
    return graph


def circles(graph):
    """The sets of modules that include each other, directly or not (Tarjan's algorithm)."""
    number, low, stack, found = {}, {}, [], []

    def visit(module):
        number[module] = low[module] = len(number)
        stack.append(module)
        for other in sorted(graph.get(module, set()) - {module}):
            if other not in number:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], number[other])
        if low[module] == number[module]:
            at = stack.index(module)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for module in sorted(graph):
        if module not in number:
            visit(module)
    return found


# For each rule: the file that gets a line at its end, the line, and what must be said.
BREAKS = [
    ("common/base/list.h", '#include "mux/window.h"', "base/ may not use mux/"),
    ("common/base/chunk.c", "#include <sys/socket.h>", "base/ knows no network"),
    ("common/config/url.c", '#include "io/socket.h"', "config/ may not use io/"),
    ("common/config/url.c", '#include "base/log.h"', "config/ does not log"),
    ("common/http/response.c", '#include "ws/frame.h"', "http/ may not use ws/"),
    ("common/http/response.c", "#include <sys/socket.h>", "http/response.c is sans-I/O"),
    ("common/kafka/wire.c", '#include "mux/frame.h"', "kafka/ may not use mux/"),
    ("common/kafka/wire.c", '#include "ws/frame.h"', "kafka/ may not use ws/"),
    ("common/kafka/wire.c", '#include "base/log.h"', "kafka/ does not log"),
    ("common/kafka/wire.c", "int x(void) { return printf(\"\"); }", "may not use printf"),
    ("common/metrics/table.c", '#include "mux/message.h"', "metrics/ may not use mux/"),
    ("common/metrics/metrics.c", "#include <time.h>", "metrics/ is sans-I/O"),
    ("common/metrics/metrics.c", '#include "base/log.h"', "metrics/ does not log"),
    ("common/mux/session.c", '#include "metrics/metrics.h"', "mux/ may not use metrics/"),
    ("common/mux/session.c", '#include "kafka/filter.h"', "mux/ may not use kafka/"),
    ("common/mux/session.c", '#include "io/clock.h"', "mux/ may not use io/"),
    ("common/mux/session.c", "#include <time.h>", "mux/ is sans-I/O"),
    ("common/mux/session.c", "#include <event2/event.h>", "mux/ is sans-I/O"),
    ("common/ws/mask.c", "#include <netinet/in.h>", "ws/ is sans-I/O"),
    ("common/ws/mask.c", "#include <openssl/rand.h>", "ws/ is sans-I/O"),
    ("common/ws/mask.c", "#include <event2/event.h>", "ws/ is sans-I/O"),
    ("common/ws/mask.c", '#include "mask.h"', 'write "ws/mask.h"'),
    ("common/mux/session_core.h", '#include "mux/session_control.h"', "is above mux/session_core.h"),
    ("common/mux/session_control.c", '#include "mux/stream.h"', "is above mux/session_control.c"),
    ("common/mux/stream.c", '#include "mux/session.h"', "is above mux/stream.c"),
    ("common/mux/window.c", '#include "mux/session_core.h"', "is above mux/window.c"),
    ("common/tunnel/relay.c", '#include "mux/session_core.h"', "not one of the headers that mux/ has for others"),
    ("common/tunnel/relay_kafka.c", '#include "kafka/wire.h"', "not one of the headers that kafka/ has for others"),
    ("common/tunnel/relay.c", '#include "kafka/filter.h"', "tunnel/relay.c may not use kafka/"),
    ("tunnel-server/brokers/broker_stream.c", '#include "tunnel/relay_filter.h"', "not one of the headers that tunnel/ has for others"),
    ("common/tunnel/relay.c", '#include "../../tunnel-server/server.h"', "no file of a room"),
    ("tunnel-client/main.c", '#include "../tunnel-server/server.h"', "no file of a room"),
    ("common/http/response.c", '#include "io/socket.h"', "response.c is sans-I/O and may not use io/socket.h"),
    ("common/tunnel/pace.c", "#include <sys/socket.h>", "tunnel/pace.c is sans-I/O"),
    ("common/http/response.c", '#include "base/log.h"', "http/ does not log"),
    ("common/base/text.h", '#include "base/json.h"', "common/base/json and common/base/text include each other"),
    ("common/base/text.c", "static void find_child(void)\n{\n}", "find_child() is there more than once"),
    ("common/tls/tls.c", '#include "io/worker.h"', "tls/ may not use io/"),
    ("common/io/worker.c", '#include "monitoring/telemetry.h"', "io/ may not use monitoring/"),
    ("common/tunnel/link.c", "#include <event2/event.h>", "only io/ knows libevent"),
    ("common/program/signals.c", "#include <event2/event.h>", "only io/ knows libevent"),
    ("common/monitoring/pages.c", "#include <event2/http.h>", "only io/ knows libevent"),
    ("tunnel-client/client.c", "#include <event2/event_struct.h>", "only io/ knows libevent"),
    ("tunnel-server/session.c", "#include <event.h>", "only io/ knows libevent"),
    ("common/program/program.c", '#include "http/server.h"', "program/ may not use http/"),
    ("tunnel-client/listeners/ports.c", '#include "client.h"', "tunnel-client/listeners/ may not use tunnel-client/"),
    ("tunnel-client/run/run.c", '#include "doctor/doctor.h"', "tunnel-client/run/ may not use doctor/"),
    ("tunnel-client/main.c", '#include "cluster.h"', "no file of tunnel-client/"),
    ("tunnel-client/main.c", '#include "ws/frame.h"', "tunnel-client/ may not use ws/"),
    ("tunnel-server/main.c", '#include "io/nothing.h"', "does not exist"),
    ("common/mux/new.h", "#pragma once", "begins with a comment"),
    ("common/mux/new.h", "/* A header. */", "#pragma once is missing"),
    ("common/cellar/new.h", "/* A room. */", "does not know"),
]


def prove(root):
    missed = 0
    with tempfile.TemporaryDirectory() as scratch:
        copy = pathlib.Path(scratch)
        for name in ("common", *PROGRAMS):
            shutil.copytree(root / name, copy / name)
        for name, line, wanted in BREAKS:
            path = copy / name
            before = path.read_text(encoding="utf-8") if path.exists() else None
            path.parent.mkdir(exist_ok=True)
            path.write_text((before or "") + line + "\n", encoding="utf-8")
            problems = check(copy)
            if not any(wanted in problem for problem in problems):
                print(f"{name}: {line!r} was not noticed ({wanted!r} expected, got {problems})")
                missed += 1
            if before is None:
                path.unlink()
                if not any(path.parent.iterdir()):
                    path.parent.rmdir()
            else:
                path.write_text(before, encoding="utf-8")
        left = check(copy)
        if left:
            print("the copy should be in order again:", *left, sep="\n")
            missed += 1
    print(f"{len(BREAKS)} broken rules, {missed} missed")
    return missed == 0


def main(arguments):
    proving = arguments[:1] == ["--prove"]
    if len(arguments) != 1 + proving:
        sys.exit(__doc__)
    root = pathlib.Path(arguments[-1]).resolve()
    if proving:
        return 0 if prove(root) else 1
    problems = check(root)
    print(*problems, sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
