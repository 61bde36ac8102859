#!/usr/bin/env python3
"""A real CQL server for tests: Apache Cassandra, out of Maven Central.

`fetch` fills the cache; `run` becomes one node. Whoever calls `run` owns the process by its id and
tells by itself when the node answers. Nothing here knows of tests or of other nodes' processes.

The cache is $PARLANCE_CQL_CACHE, or parlance-cql in $XDG_CACHE_HOME or ~/.cache.
"""

import argparse
import ctypes
import fcntl
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as xml

POM = pathlib.Path(__file__).resolve().with_name("pom.xml")
JAVA_MAJOR = 17
TOKENS_PER_NODE = 16
# Of the one node that `fetch` starts and stops; a slow machine needs a minute.
FIRST_START_SECONDS = 180
UNAVAILABLE = 69

PR_CAPBSET_DROP = 24
CAP_IPC_LOCK = 14


class Unavailable(Exception):
    """Something outside of this program is missing; the text says what to do."""


# === settings of a node ===


def settings(directory, addresses, index, ports, options):
    """cassandra.yaml as a mapping; a value is YAML."""
    address = addresses[index]
    native_port, storage_port = ports
    chosen = {
        "cluster_name": "parlance-tests",
        "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
        "num_tokens": TOKENS_PER_NODE,
        "initial_token": tokens(index, len(addresses)),
        # All nodes are seeds with tokens known beforehand, so they may start at the same time.
        "auto_bootstrap": "false",
        "seed_provider": "[{class_name: org.apache.cassandra.locator.SimpleSeedProvider, "
        f'parameters: [{{seeds: "{",".join(addresses)}"}}]}}]',
        "endpoint_snitch": "SimpleSnitch",
        "dynamic_snitch": "false",
        "listen_address": address,
        "rpc_address": address,
        "storage_port": storage_port,
        "native_transport_port": native_port,
        "data_file_directories": f"[{directory}/data]",
        "commitlog_directory": f"{directory}/commitlog",
        "saved_caches_directory": f"{directory}/caches",
        "hints_directory": f"{directory}/hints",
        "cdc_raw_directory": f"{directory}/cdc",
        # With the usual `periodic`, a kill loses what was acknowledged a moment before.
        "commitlog_sync": "batch",
        "commitlog_segment_size": "4MiB",
        "commitlog_total_space": "64MiB",
        "disk_access_mode": "mmap_index_only",
        "memtable_heap_space": "96MiB",
        "memtable_offheap_space": "96MiB",
        "memtable_flush_writers": 1,
        "file_cache_size": "32MiB",
        "key_cache_size": "4MiB",
        "concurrent_reads": 8,
        "concurrent_writes": 8,
        "concurrent_counter_writes": 4,
        "concurrent_compactors": 1,
        "auto_snapshot": "false",
        "read_request_timeout": "2s",
        "write_request_timeout": "2s",
        "cas_contention_timeout": "2s",
    }
    if options.password:
        chosen["authenticator"] = "PasswordAuthenticator"
    if options.tls:
        # Both on the one port, so that whoever watches the node needs no TLS.
        chosen["client_encryption_options"] = (
            "{enabled: true, optional: true, require_client_auth: false, "
            f'keystore: "{options.tls}", ssl_context_factory: {{class_name: '
            "org.apache.cassandra.security.PEMBasedSslContextFactory}}"
        )
    chosen.update(options.set)
    return chosen


def tokens(index, nodes):
    """The places of a node on the ring: evenly spread, and those of the nodes take turns."""
    width = 2**64 // (TOKENS_PER_NODE * nodes)
    places = (index + turn * nodes for turn in range(TOKENS_PER_NODE))
    return ",".join(str(place * width - 2**63 + 1) for place in places)


LOGBACK = """\
<configuration>
  <appender name="stdout" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d{HH:mm:ss.SSS} %-5level %logger{0}: %msg%n</pattern></encoder>
  </appender>
  <!-- All of its settings, in one line. -->
  <logger name="org.apache.cassandra.config.Config" level="WARN"/>
  <root level="INFO"><appender-ref ref="stdout"/></root>
</configuration>
"""

# Packages of the JDK that Cassandra reaches into.
EXPORTS = """
    java.base/java.lang.ref java.base/jdk.internal.misc java.base/sun.nio.ch
    java.management.rmi/com.sun.jmx.remote.internal.rmi java.rmi/sun.rmi.registry
    java.rmi/sun.rmi.server java.sql/java.sql jdk.unsupported/sun.misc
""".split()
OPENS = """
    java.base/java.io java.base/java.lang java.base/java.lang.module
    java.base/java.lang.reflect java.base/java.nio java.base/java.util
    java.base/jdk.internal.loader java.base/jdk.internal.math java.base/jdk.internal.module
    java.base/jdk.internal.ref java.base/jdk.internal.reflect java.base/jdk.internal.util.jar
    java.base/sun.nio.ch java.management.rmi/com.sun.jmx.remote.internal.rmi
    jdk.management/com.sun.management.internal
""".split()

# Small and quick to start; a node serves a test, not a load.
JVM = """
    -Xms128M -Xmx512M -Xss512k -XX:MaxDirectMemorySize=256M
    -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:+PerfDisableSharedMem
    -XX:+ExitOnOutOfMemoryError -Xshare:auto
    -Djava.net.preferIPv4Stack=true -Djava.awt.headless=true
    -Djdk.attach.allowAttachSelf=true -Dio.netty.tryReflectionSetAccessible=true
    -Djava.security.egd=file:/dev/urandom
""".split()

# Each is `-Dcassandra.…`.
PROPERTIES = {
    # Nothing is waited for that other nodes of a real ring would need.
    "skip_wait_for_gossip_to_settle": "0",
    "gossip_settle_min_wait_ms": "0",
    "ring_delay_ms": "500",
    "superuser_setup_delay_ms": "0",
    "shutdown_announce_in_ms": "0",
    "consistent.rangemovement": "false",
    # Nodes of a ring that start together would otherwise compare their schemas once a minute.
    "schema_pull_interval_ms": "1000",
    "migration_delay_ms": "0",
    # A node that a test paused must not take itself for broken.
    "max_local_pause_in_ms": "600000",
    # What the process wrote survives its kill without; tests do not cut the power.
    "skip_sync": "true",
    # Measuring it takes two seconds of each start.
    "memtable.row_overhead_size": "180",
    "auth_bcrypt_gensalt_log2_rounds": "4",
}


def command(java, cache, directory, extra):
    own = {
        "config": f"file://{directory}/cassandra.yaml",
        "storagedir": directory,
        "logdir": directory,
    }
    return [
        java,
        *JVM,
        *(f"-Dcassandra.{name}={value}" for name, value in (PROPERTIES | own).items()),
        "-Dcassandra-foreground=yes",
        f"-Dlogback.configurationFile={directory}/logback.xml",
        *(f"--add-exports={package}=ALL-UNNAMED" for package in EXPORTS),
        *(f"--add-opens={package}=ALL-UNNAMED" for package in OPENS),
        # Native libraries are unpacked there; a killed node would leave them behind elsewhere.
        f"-Djava.io.tmpdir={directory}",
        f"-Djna.tmpdir={directory}",
        *extra,
        "-cp",
        ":".join(sorted(str(jar) for jar in cache.jars.glob("*.jar"))),
        "org.apache.cassandra.service.CassandraDaemon",
    ]


def write_settings(directory, chosen):
    directory.mkdir(parents=True, exist_ok=True)
    lines = "".join(f"{name}: {value}\n" for name, value in chosen.items())
    (directory / "cassandra.yaml").write_text(lines)
    (directory / "logback.xml").write_text(LOGBACK)


def forbid_locked_memory():
    """Cassandra would keep all its heap in memory, also what it never touched, if it could."""
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
    # Only whoever has the capability can lock beyond the limit, and may drop it: others fail here.
    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_IPC_LOCK, 0, 0, 0)


# === run ===


def run(options):
    cache = Cache.from_environment()
    if not cache.is_filled():
        raise Unavailable(f"there is no server in {cache.directory}: run {sys.argv[0]} fetch")
    java = find_java()
    directory = options.dir.resolve()
    ports = (options.port, options.storage_port)
    write_settings(
        directory, settings(directory, options.addresses, options.index, ports, options)
    )
    archive = [f"-XX:SharedArchiveFile={cache.archive}"] if cache.archive.exists() else []
    if options.until_stdin_ends:
        kill_when_stdin_ends()
    forbid_locked_memory()
    os.chdir(directory)
    node = command(java, cache, directory, archive)
    os.execv(node[0], node)


def kill_when_stdin_ends():
    """Leaves a child behind that outlives nothing: it ends this process when the caller is gone.

    A signal on the parent's death is no way to do it: it comes when the thread ends that started
    the node.
    """
    node = os.getpid()
    if os.fork() != 0:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        return
    # An interrupt at the terminal is for the caller.
    os.setsid()
    while os.read(0, 4096):
        pass
    # If the node is gone, its child has another parent, and the id may be anybody's.
    if os.getppid() == node:
        os.kill(node, signal.SIGKILL)
    os._exit(0)


# === fetch ===


class Cache:
    """What is kept for all runs. Whatever has its final name is whole."""

    def __init__(self, root):
        self.root = root
        self.directory = root / version()
        self.jars = self.directory / "lib"
        self.archive = self.directory / "classes.jsa"
        self.archive_maker = self.directory / "classes.java"

    @classmethod
    def from_environment(cls):
        root = os.environ.get("PARLANCE_CQL_CACHE")
        if not root:
            caches = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
            root = pathlib.Path(caches) / "parlance-cql"
        return cls(pathlib.Path(root).resolve())

    def is_filled(self):
        return self.jars.is_dir()

    def has_archive_of(self, java_version):
        """An archive is of use only to the Java that made it."""
        made_by = self.archive_maker.read_text() if self.archive_maker.exists() else ""
        return self.archive.exists() and made_by == java_version


def version():
    """Of Cassandra, as the pom has it."""
    names = {"m": "http://maven.apache.org/POM/4.0.0"}
    return xml.parse(POM).getroot().findtext("m:dependencies/m:dependency/m:version", "", names)


def fetch(_options):
    cache = Cache.from_environment()
    java = find_java()
    java_version = version_of(java)
    cache.directory.mkdir(parents=True, exist_ok=True)
    with open(cache.directory / "lock", "w") as lock:
        wait_for(lock)
        if not cache.is_filled():
            download(cache)
        if not cache.has_archive_of(java_version):
            make_archive(cache, java)
            cache.archive_maker.write_text(java_version)
    say(f"Cassandra {version()} is in {cache.directory}")


def check(_options):
    find_java()
    if not Cache.from_environment().is_filled():
        find_maven()


def wait_for(lock):
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("waiting for another process that fetches the same")
        fcntl.flock(lock, fcntl.LOCK_EX)


def download(cache):
    maven = find_maven()
    say(f"downloading Cassandra {version()} (about 70 MB)")
    with tempfile.TemporaryDirectory(dir=cache.directory) as scratch:
        jars = pathlib.Path(scratch) / "lib"
        order = [maven, "--batch-mode", "--quiet", "--strict-checksums", "-Dstyle.color=never"]
        order += ["--file", POM, "dependency:copy-dependencies", f"-DoutputDirectory={jars}"]
        done = subprocess.run(order, stdin=subprocess.DEVNULL)
        if done.returncode != 0 or not any(jars.glob("cassandra-all-*.jar")):
            raise Unavailable(
                "the download failed, see above; Maven needs repo.maven.apache.org or, in\n"
                f"~/.m2/settings.xml, a mirror. Or copy {cache.directory} from a machine that has it."
            )
        jars.rename(cache.jars)


def make_archive(cache, java):
    """Starts a node once: at its end Java writes down which classes it had loaded, and how."""
    say("preparing fast starts")
    with tempfile.TemporaryDirectory(dir=cache.directory) as scratch:
        directory = pathlib.Path(scratch) / "node"
        made = pathlib.Path(scratch) / "classes.jsa"
        native, storage = free_port(), free_port()
        plain = argparse.Namespace(password=False, tls=None, set={})
        write_settings(
            directory, settings(directory, ["127.0.0.1"], 0, (native, storage), plain)
        )
        node = command(java, cache, directory, [f"-XX:ArchiveClassesAtExit={made}"])
        log = directory / "log"
        with open(log, "wb") as output:
            process = subprocess.Popen(
                node,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=forbid_locked_memory,
            )
        try:
            wait_for_listener(process, native, log)
            process.terminate()
            process.wait(FIRST_START_SECONDS)
        except subprocess.TimeoutExpired:
            fail_with_log("Cassandra does not end", log)
        finally:
            process.kill()
            process.wait()
        if not made.exists():
            fail_with_log("Java has made no archive of the classes", log)
        made.replace(cache.archive)


def wait_for_listener(process, port, log):
    give_up = time.monotonic() + FIRST_START_SECONDS
    while time.monotonic() < give_up:
        if process.poll() is not None:
            fail_with_log(f"Cassandra ended with {process.returncode}", log)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    fail_with_log(f"Cassandra does not listen after {FIRST_START_SECONDS} s", log)


def fail_with_log(what, log):
    newest = log.read_text(errors="replace").splitlines()[-30:]
    raise Unavailable("\n".join([f"{what}; the end of its log:", *newest]))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# === java and maven ===


def find_maven():
    maven = shutil.which("mvn")
    if not maven:
        raise Unavailable(
            "mvn is missing: install Maven, on Debian and Ubuntu by\n"
            "    sudo apt-get install maven"
        )
    return maven


def find_java():
    """The first of the usual places that has the right version."""
    home = os.environ.get("JAVA_HOME")
    places = [pathlib.Path(home) / "bin" / "java"] if home else []
    in_path = shutil.which("java")
    places += [pathlib.Path(in_path)] if in_path else []
    places += sorted(pathlib.Path("/usr/lib/jvm").glob(f"*{JAVA_MAJOR}*/bin/java"))
    for place in places:
        if re.search(rf'version "{JAVA_MAJOR}\.', version_of(place)):
            return str(place)
    found = ", ".join(map(str, places)) or "none"
    raise Unavailable(
        f"Java {JAVA_MAJOR} is missing (found: {found}): install it, on Debian and Ubuntu by\n"
        f"    sudo apt-get install openjdk-{JAVA_MAJOR}-jre-headless\n"
        "or let JAVA_HOME name one"
    )


def version_of(java):
    """What it says of itself; nothing, if it cannot be run."""
    try:
        return subprocess.run([java, "-version"], capture_output=True, text=True).stderr
    except OSError:
        return ""


# === command line ===


def say(text):
    print(f"cql: {text}", file=sys.stderr, flush=True)


def setting(text):
    name, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text} is not NAME=VALUE")
    return name, value


def parser():
    top = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = top.add_subparsers(dest="command", required=True)
    fetching = commands.add_parser("fetch", help="fill the cache, unless it is")
    fetching.set_defaults(act=fetch)
    checking = commands.add_parser("check", help="say what `fetch` and `run` lack")
    checking.set_defaults(act=check)
    running = commands.add_parser(
        "run", help="become one node", description="Becomes one node; its log goes to stdout."
    )
    running.set_defaults(act=run)
    add = running.add_argument
    add("--dir", type=pathlib.Path, required=True, help="its settings and data; may have some")
    add(
        "--addresses",
        type=lambda text: text.split(","),
        required=True,
        metavar="A,B,…",
        help="where each node of the ring listens",
    )
    add("--index", type=int, default=0, help="which of them this is, from 0 (default: 0)")
    add("--port", type=int, required=True, help="for clients, the same on all nodes")
    add("--storage-port", type=int, required=True, help="for nodes, the same on all nodes")
    add(
        "--set",
        type=setting,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="one more line of cassandra.yaml, or another value of one; may be repeated",
    )
    add("--password", action="store_true", help="clients log in; user and password: cassandra")
    add(
        "--tls",
        type=lambda text: pathlib.Path(text).resolve(),
        metavar="PEM",
        help="clients may use TLS; a file with the private key (PKCS #8) and its certificate",
    )
    add(
        "--until-stdin-ends",
        action="store_true",
        help="be killed when stdin ends, so that the node does not outlive who holds it",
    )
    return top


def main():
    options = parser().parse_args()
    if options.command == "run":
        options.set = dict(options.set)
        if not 0 <= options.index < len(options.addresses):
            parser().error(f"--index {options.index}: there are {len(options.addresses)} nodes")
    try:
        options.act(options)
    except Unavailable as missing:
        say(str(missing))
        sys.exit(UNAVAILABLE)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


main()
