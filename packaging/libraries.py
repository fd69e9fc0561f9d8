"""The compiler for a target, and the libraries for it: static, from the sources that sources.toml pins, with only what the
programs use. Kept in the cache under the hash of all that they are made from."""
import dataclasses
import hashlib
import inspect
import os
import pathlib
import platform
import shutil
import subprocess
import sys

import sources


@dataclasses.dataclass(frozen=True)
class Target:
    """What the programs are built for."""
    name: str       # as in the names of artefacts
    system: str     # linux, macos
    cpu: str        # as meson and zig spell it
    openssl: str    # as OpenSSL's Configure spells it
    programs: tuple[str, ...]

    @property
    def triple(self):
        return f"{self.cpu}-linux-musl" if self.system == "linux" else f"{self.cpu}-macos.{MACOS_VERSION}"

    @property
    def host(self):
        """As autoconf spells it."""
        return f"{self.cpu}-linux-musl" if self.system == "linux" else f"{self.cpu}-apple-darwin"


# The first macOS on Apple Silicon.
MACOS_VERSION = "11.0"
TARGETS = {target.name: target for target in (
    Target("linux-amd64", "linux", "x86_64", "linux-x86_64", ("tunnel-client", "tunnel-server")),
    Target("linux-arm64", "linux", "aarch64", "linux-aarch64", ("tunnel-client", "tunnel-server")),
    Target("macos-arm64", "macos", "aarch64", "darwin64-arm64-cc", ("tunnel-client",)),
    Target("macos-amd64", "macos", "x86_64", "darwin64-x86_64-cc", ("tunnel-client",)),
)}

# What both programs use of OpenSSL is TLS 1.2 and 1.3, X.509, PEM and RSA signatures. DES stays: Snowflake's own instructions
# encrypt a private key with it. openssldir is where most systems have their CAs; common/tls knows the other places.
OPENSSL_OPTIONS = """
    no-shared no-module no-apps no-tests no-docs no-legacy no-engine no-dso no-autoload-config
    no-quic no-dtls no-srtp no-ssl3 no-tls1 no-tls1_1 no-comp no-psk no-srp no-nextprotoneg
    no-cmp no-cms no-ct no-ts no-http no-ocsp no-gost no-sm2 no-sm3 no-sm4 no-aria no-bf no-blake2 no-camellia no-cast no-dsa
    no-idea no-md4 no-mdc2 no-rc2 no-rc4 no-rmd160 no-seed no-siphash no-whirlpool no-slh-dsa no-scrypt no-ui-console
    --openssldir=/etc/ssl
""".split()


def machine():
    """This one's processor, as meson and zig spell it."""
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())


def run(command, directory, environment, log):
    with open(log, "ab") as file:
        file.write(f"+ {' '.join(map(str, command))}\n".encode())
        file.flush()
        if subprocess.run(command, cwd=directory, env=environment, stdout=file, stderr=subprocess.STDOUT).returncode:
            break_off(command, log)


def break_off(command, log):
    tail = pathlib.Path(log).read_text(errors="replace").splitlines()[-30:]
    sys.exit("\n".join([*tail, f"release: {command[0]} failed: {log}"]))


def compiler(target, directory):
    """The environment in which cc, ar and ranlib are those for the target, and paths of this machine do not come into files.
    The wrappers have no directory in their names: OpenSSL writes the compiler's name into the library."""
    zig = sources.zig()
    tools = directory / "tools"
    tools.mkdir(parents=True, exist_ok=True)
    cache = sources.CACHE / "zig-cache"
    flags = f"-target {target.triple} -g0 -fno-sanitize=all -Wno-unused-command-line-argument " \
            f"-ffile-prefix-map={directory}=. -ffile-prefix-map={zig}=zig"
    if target.system == "linux":
        flags += " -Wl,--build-id=none"
    for name, command in {"cc": f"cc {flags}", "ar": "ar", "ranlib": "ranlib"}.items():
        wrapper = tools / name
        wrapper.write_text(f'#!/bin/sh\nexec "{zig}/zig" {command} "$@"\n')
        wrapper.chmod(0o755)
    environment = {key: value for key, value in os.environ.items() if key in ("HOME", "SOURCE_DATE_EPOCH", "TERM", "TMPDIR")}
    return environment | {
        "PATH": f"{tools}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8", "TZ": "UTC", "ZERO_AR_DATE": "1",
        "CC": "cc", "AR": "ar", "RANLIB": "ranlib",
        "ZIG_GLOBAL_CACHE_DIR": str(cache), "ZIG_LOCAL_CACHE_DIR": str(cache)}


def cmake_toolchain(target, tools, path):
    path.write_text(f"""set(CMAKE_SYSTEM_NAME {"Linux" if target.system == "linux" else "Darwin"})
set(CMAKE_SYSTEM_PROCESSOR {target.cpu})
set(CMAKE_C_COMPILER {tools}/cc)
set(CMAKE_AR {tools}/ar)
set(CMAKE_RANLIB {tools}/ranlib)
set(CMAKE_OSX_SYSROOT "")
set(CMAKE_OSX_DEPLOYMENT_TARGET "")
set(CMAKE_OSX_ARCHITECTURES "")
""")
    return path


def build_openssl(target, source, destination, environment, jobs, log):
    run(["perl", "Configure", target.openssl, "--prefix=/usr", "--libdir=lib", *OPENSSL_OPTIONS, "-ffunction-sections",
         "-fdata-sections"], source, environment, log)
    run(["make", f"-j{jobs}", "build_libs"], source, environment, log)
    run(["make", f"DESTDIR={destination}", "install_dev"], source, environment, log)


def build_libevent(target, source, destination, environment, jobs, log):
    known = {}
    if target.system == "macos":
        # What configure cannot try on another machine, or finds in a newer macOS alone.
        known = {"ac_cv_func_pipe2": "no", "ac_cv_func_accept4": "no"}
    run(["./configure", f"--host={target.host}", "--prefix=/usr", "--disable-shared", "--disable-samples", "--disable-openssl",
         "--disable-libevent-regress", "--disable-debug-mode", "CFLAGS=-O2 -fPIC -ffunction-sections -fdata-sections",
         *(f"{name}={value}" for name, value in known.items())], source, environment, log)
    if target.system == "macos":
        config = source / "config.h"
        text = config.read_text()
        unset = "/* #undef HAVE_WORKING_KQUEUE */"
        if unset not in text:
            sys.exit(f"release: {config} does not have {unset}")
        config.write_text(text.replace(unset, "#define HAVE_WORKING_KQUEUE 1"))
    run(["make", f"-j{jobs}", f"DESTDIR={destination}", "install"], source, environment, log)


def build_jansson(target, source, destination, environment, jobs, log):
    toolchain = cmake_toolchain(target, shutil.which("cc", path=environment["PATH"]).removesuffix("/cc"), source / "toolchain.cmake")
    run(["cmake", "-S", ".", "-B", "b", f"-DCMAKE_TOOLCHAIN_FILE={toolchain}", "-DCMAKE_INSTALL_PREFIX=/usr", "-DCMAKE_INSTALL_LIBDIR=lib",
         "-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_POSITION_INDEPENDENT_CODE=ON", "-DCMAKE_C_FLAGS=-ffunction-sections -fdata-sections",
         "-DJANSSON_BUILD_DOCS=OFF",
         "-DJANSSON_WITHOUT_TESTS=ON", "-DJANSSON_EXAMPLES=OFF"], source, environment, log)
    run(["cmake", "--build", "b", f"-j{jobs}", "--target", "install"], source,
        environment | {"DESTDIR": str(destination)}, log)


BUILDERS = {"openssl": build_openssl, "libevent": build_libevent, "jansson": build_jansson}


def key(name, target):
    """Changes with every fact that goes into the library."""
    code = [inspect.getsource(function) for function in (compiler, cmake_toolchain, BUILDERS[name])]
    pins = [sources.load()[one] for one in (name, "zig")]
    return hashlib.sha256(repr([pins, code, OPENSSL_OPTIONS, target]).encode()).hexdigest()[:12]


def build(target, work, jobs, fresh=False):
    """The prefixes with the libraries for the target. fresh builds them anew, whatever the cache has."""
    return [_build_one(name, target, work, jobs, fresh) for name in BUILDERS]


def _build_one(name, target, work, jobs, fresh):
    prefix = sources.CACHE / "libraries" / f"{target.name}-{name}-{key(name, target)}"
    if prefix.exists() and not fresh:
        return prefix
    made = work / f"{name}-{target.name}"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    source = sources.unpack(sources.load()[name], made / "source")
    # Installed for /usr, wherever it is: OpenSSL writes its own place into the library. pkg-config finds the files from where its own
    # are (--define-prefix).
    BUILDERS[name](target, source, made / "destination", compiler(target, made), jobs, made / "log")
    shutil.rmtree(prefix, ignore_errors=True)
    prefix.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(made / "destination/usr", prefix)
    shutil.rmtree(made)
    return prefix
