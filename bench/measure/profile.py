"""A profile: how to start one kind of tunnel. bench/README.md describes the file format."""

import dataclasses
import pathlib
import re
import shlex
import shutil
import tomllib

from measure.system import Failed

OURS = "kafka-tunnel"
PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


@dataclasses.dataclass
class End:
    command: list
    files: dict

    def with_flags(self, flags):
        return dataclasses.replace(self, command=[*self.command, *flags])

    def of_build(self, build):
        return dataclasses.replace(self, command=[part.replace("{build}", str(build)) for part in self.command])


@dataclasses.dataclass
class Profile:
    name: str
    about: str
    server: End | None  # both None: no tunnel, straight to the target
    client: End | None
    is_ours: bool = False

    def with_flags(self, name, client, server):
        """The same under another name, with more arguments."""
        return dataclasses.replace(self, name=name, client=self.client.with_flags(client),
                                   server=self.server.with_flags(server))

    def of_build(self, name, build):
        """The same under another name, with the programs of another build directory."""
        return dataclasses.replace(self, name=name, client=self.client.of_build(build),
                                   server=self.server.of_build(build))

    def missing_program(self, build):
        """The first program that is not there, or None."""
        for end in (self.server, self.client):
            if end is not None:
                program = fill(end.command[0], {"build": build}, partly=True)
                if shutil.which(program) is None:
                    return program
        return None


DIRECT = Profile("direct", "no tunnel", None, None)


def fill(text, values, partly=False):
    """Replaces {name} by values[name]. A name that is not there is an error, unless partly is set."""
    def replacement(match):
        if match[1] not in values:
            if partly:
                return match[0]
            raise Failed(f"unknown placeholder {match[0]} in: {text}")
        return str(values[match[1]])
    return PLACEHOLDER.sub(replacement, text)


def _end(table, path, which):
    if which not in table or "command" not in table[which]:
        raise Failed(f"{path}: [{which}] with a command is missing")
    unknown = set(table[which]) - {"command", "files"}
    if unknown:
        raise Failed(f"{path}: [{which}] has unknown keys: {', '.join(sorted(unknown))}")
    return End(table[which]["command"], table[which].get("files", {}))


def load(path):
    path = pathlib.Path(path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise Failed(f"{path}: {error}") from None
    return Profile(path.stem, table.get("about", ""), _end(table, path, "server"),
                   _end(table, path, "client"), path.stem == OURS)


def variants(ours, named):
    """named: pairs of a name, and the client's flags; behind a ; the server's."""
    for name, flags in named:
        client, _, server = flags.partition(";")
        yield ours.with_flags(name, shlex.split(client), shlex.split(server))


def find(names, directory):
    """The profiles named (a name in the directory, or a path); all of the directory without names."""
    if not names:
        return [DIRECT] + [load(path) for path in sorted(directory.glob("*.toml"))]
    return [DIRECT if name == "direct" else
            load(name if name.endswith(".toml") else directory / f"{name}.toml") for name in names]
