"""npm packages with tunnel-client inside: one for each platform, of which npm installs the one that fits (os, cpu), and one small one
that people name, whose program starts it."""
import json
import pathlib

import files
import project

# As process.platform and process.arch spell them.
PLATFORMS = {
    "linux-amd64": ("linux", "x64"),
    "linux-arm64": ("linux", "arm64"),
    "macos-arm64": ("darwin", "arm64"),
    "macos-amd64": ("darwin", "x64"),
}
STARTER = pathlib.Path(__file__).with_name("npm-starter.js")


def platform_package(target):
    return f"{project.FACTS['npm_scope']}/client-{'-'.join(PLATFORMS[target])}"


def _common(name, version):
    return {"name": name, "version": version, "description": project.FACTS["summary"], "license": project.FACTS["licence"],
            "homepage": project.HOMEPAGE, "repository": {"type": "git", "url": f"git+{project.HOMEPAGE}.git"}}


def _pack(package, entries, epoch):
    content = (json.dumps(package, indent=2) + "\n").encode()
    tar = files.tar_bytes([("package/package.json", 0o644, content), *((f"package/{name}", mode, data) for name, mode, data in entries)],
                          epoch)
    # npm pack's own naming: @scope/name is scope-name.
    return f"{package['name'].lstrip('@').replace('/', '-')}-{package['version']}.tgz", files.gzipped(tar)


def build_platform(target, version, program, licences, epoch):
    """(file name, bytes) of the package with the program for a target."""
    system, cpu = PLATFORMS[target]
    # preferUnplugged: Yarn keeps it unpacked, since a program in a zip file cannot be started.
    package = _common(platform_package(target), version) | {"os": [system], "cpu": [cpu], "preferUnplugged": True}
    return _pack(package, [("bin/tunnel-client", 0o755, program),
                           *((f"licenses/{name}", 0o644, text.encode()) for name, text in licences)], epoch)


def build_main(targets, version, licences, readme, epoch):
    """(file name, bytes) of the package that people install."""
    package = _common(project.FACTS["name"], version) | {
        "bin": {"tunnel-client": "tunnel-client.js"}, "engines": {"node": ">=14"},
        "optionalDependencies": {platform_package(target): version for target in targets}}
    starter = STARTER.read_text(encoding="utf-8").replace("@SCOPE@", project.FACTS["npm_scope"])
    own = [(name, text) for name, text in licences if name == "LICENSE"]
    return _pack(package, [("tunnel-client.js", 0o755, starter.encode()), ("README.md", 0o644, readme.encode()),
                           *((name, 0o644, text.encode()) for name, text in own)], epoch)
