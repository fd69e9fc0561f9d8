"""The programs for a target, from a source tree, linked statically with the libraries of libraries.py."""
import dataclasses
import pathlib
import shutil

import libraries
import sources


@dataclasses.dataclass
class Built:
    """What one target's build gives."""
    programs: dict[str, bytes]
    texts: dict[str, bytes]    # path below share/ -> manual pages and completions; nothing if this machine cannot run the programs


def _runs_here(target):
    return target.system == "linux" and target.cpu == libraries.machine()


def _cross_file(target, prefixes, path):
    static = target.system == "linux"
    path.write_text(f"""[binaries]
c = 'cc'
ar = 'ar'
pkg-config = ['pkg-config', '--define-prefix']
[properties]
pkg_config_libdir = [{', '.join(f"'{prefix}/lib/pkgconfig'" for prefix in prefixes)}]
needs_exe_wrapper = {str(not _runs_here(target)).lower()}
[built-in options]
prefer_static = true
# zig defines NDEBUG whenever it optimizes.
c_args = ['-UNDEBUG', '-ffunction-sections', '-fdata-sections']
c_link_args = [{"'-static', " if static else ""}'-Wl,{"--gc-sections" if static else "-dead_strip"}', '-s']
[host_machine]
system = '{"linux" if static else "darwin"}'
cpu_family = '{target.cpu}'
cpu = '{target.cpu}'
endian = 'little'
""")


def build(target, source, prefixes, work, jobs):
    directory = work / f"programs-{target.name}"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    environment = libraries.compiler(target, directory)
    log = work / f"programs-{target.name}.log"
    log.unlink(missing_ok=True)
    cross = directory / "cross.ini"
    _cross_file(target, prefixes, cross)
    tree = directory / "build"
    meson = sources.meson()
    libraries.run([*meson, "setup", tree, source, "--cross-file", cross, "--prefix", "/usr", "--werror", "-Doptimization=2",
                   "-Ddebug=false", "-Db_pie=true", "-Dsystemd_unit_dir=", "-Dtests=false", f"-Dserver={str('tunnel-server' in target.programs).lower()}"],
                  directory, environment, log)
    wanted = [f"{program}/{program}" for program in target.programs]
    if _runs_here(target):
        wanted += [f"docs/{path}" for program in target.programs
                   for path in (f"{program}.1", f"completion/{program}", f"completion/_{program}")]
    libraries.run(["ninja", "-C", tree, f"-j{jobs}", *wanted], directory, environment, log)
    complain = [line for line in log.read_text(errors="replace").splitlines() if "warning:" in line]
    if complain:
        libraries.break_off(["ninja"], log)
    destination = directory / "destination"
    libraries.run([*meson, "install", "-C", tree, "--destdir", destination, "--no-rebuild", "--tags", "runtime,man"], directory,
                  environment, log)
    share = destination / "usr/share"
    texts = {str(path.relative_to(share)): path.read_bytes() for path in sorted(share.rglob("*")) if path.is_file()}
    return Built({name: (destination / "usr/bin" / name).read_bytes() for name in target.programs}, texts)
