"""Facts of the project that artefacts state: release.toml, and the version, which is meson.build's."""
import pathlib
import re
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
FACTS = tomllib.loads(pathlib.Path(__file__).with_name("release.toml").read_text(encoding="utf-8"))
HOMEPAGE = f"https://github.com/{FACTS['repository']}"


def version(root=ROOT):
    return re.search(r"^ *version: '([^']+)'", (root / "meson.build").read_text(encoding="utf-8"), re.MULTILINE)[1]


def download(name, version):
    """The address of an artefact."""
    return f"{HOMEPAGE}/releases/download/v{version}/{name}"
