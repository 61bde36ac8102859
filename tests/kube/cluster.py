"""A real Kubernetes control plane on loopback, with simulated nodes, for as long as a `with` lasts.

`run.py` uses it. etcd, API server, controllers and scheduler are those of Kubernetes, built from
source by `programs()`, because no package that machines can be expected to have brings them. The
nodes are kwok's: their pods get a status and no container, as `stages.yaml` says.

Each server is a child of this process, ended by its id, and by the kernel if this process dies without
having done so. All state is in one temporary directory. Nothing listens beyond 127.0.0.1.
"""

import ctypes
import hashlib
import json
import os
import pathlib
import random
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
MODULE = HERE / "controlplane"
# Where the definitions of custom resources come from, and which of them. They lie in the archives of
# the Go modules, so the checksum database vouches for them.
DEFINITIONS = {
    "sigs.k8s.io/gateway-api@v1.6.3": ["config/crd/standard"],
    "github.com/prometheus-operator/prometheus-operator@v0.88.0": [
        f"example/prometheus-operator-crd/monitoring.coreos.com_{name}.yaml"
        for name in ("servicemonitors", "podmonitors", "prometheusrules")
    ],
    "github.com/kedacore/keda/v2@v2.18.0": [
        f"config/crd/bases/keda.sh_{name}.yaml" for name in ("scaledobjects", "triggerauthentications")
    ],
}
ZONES = ("zone-a", "zone-b", "zone-c")
NODES_PER_ZONE = 2

UP_SECONDS = 180
STOP_SECONDS = 20
# Below the ports that connections get by themselves, so that none of them takes one meanwhile.
PORTS = range(20_000, 32_000)
PR_SET_PDEATHSIG = 1


class Unavailable(Exception):
    """Something outside of this program is missing; the text says what to do."""


# === programs ===


def programs(target, go):
    """The directory with `controlplane` and `kwok`, built by `go` if it is not there."""
    directory = target / "kube" / digest_of_module()
    if (directory / "kwok").exists():
        return directory
    say("building Kubernetes; the first time takes 8 to 16 minutes of a machine's cores, and 5 GB of cache")
    with tempfile.TemporaryDirectory(dir=made(directory.parent), prefix="building-") as scratch:
        built = pathlib.Path(scratch) / "programs"
        build(go, "-ldflags", f"-s -w {version_flags()}", "-o", f"{built}/controlplane", ".")
        build(go, "-ldflags", "-s -w", "-o", f"{built}/kwok", "sigs.k8s.io/kwok/cmd/kwok")
        try:
            built.rename(directory)
        except OSError:
            # Another run was faster; what it built is the same.
            if not directory.exists():
                raise
    return directory


def digest_of_module():
    """Another one whenever something else would be built."""
    digest = hashlib.sha256()
    for name in ("go.mod", "go.sum", "main.go"):
        digest.update((MODULE / name).read_bytes())
    return digest.hexdigest()[:16]


def version_flags():
    """What the servers say of themselves; Helm compares it with what the chart asks for."""
    version = re.search(r"^\tk8s\.io/kubernetes (v(\d+)\.(\d+)\.\d+)$", (MODULE / "go.mod").read_text(), re.M)
    names = zip(("gitVersion", "gitMajor", "gitMinor"), version.groups(), strict=True)
    return " ".join(f"-X k8s.io/component-base/version.{name}={value}" for name, value in names)


def build(go, *arguments):
    environment = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-trimpath -buildvcs=false -mod=readonly"}
    done = subprocess.run(
        [go, "build", *arguments], cwd=MODULE, env=environment, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode != 0:
        raise Unavailable(
            "Kubernetes could not be built, see above; it needs the module proxy, "
            f"or a module cache that has all of {MODULE / 'go.sum'}"
        )


def definitions(go):
    """Files and directories with the definitions of all custom resources that the chart may use."""
    for module, names in DEFINITIONS.items():
        # Not in the module's directory: there it would become a part of what is built.
        done = subprocess.run(
            [go, "mod", "download", "-json", module],
            cwd="/",
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        answer = json.loads(done.stdout or "{}")
        if done.returncode != 0:
            raise Unavailable(f"cannot download {module}: {answer.get('Error', 'see above')}")
        yield from (pathlib.Path(answer["Dir"]) / name for name in names)


# === the cluster ===


class Cluster:
    """`with Cluster(directory, go) as cluster:` is a cluster with ready nodes and the custom resources."""

    def __init__(self, directory_of_programs, go):
        self.controlplane = directory_of_programs / "controlplane"
        self.kwok = directory_of_programs / "kwok"
        self.go = go
        self.servers = []
        self.directory = None
        self.kubeconfig = None

    def __enter__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="parlance-kube-"))
        self.kubeconfig = self.directory / "kubeconfig"
        try:
            self.start_servers()
            self.add_nodes()
            self.add_definitions()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def kubectl(self, *arguments, **options):
        """What it prints; `feed`, `fails` and `seconds` as for `call`."""
        return call([self.controlplane, "kubectl", *arguments], self.environment(), **options)

    def environment(self):
        return os.environ | {"KUBECONFIG": str(self.kubeconfig)}

    def get(self, *arguments):
        """The object, or the list of objects, that `kubectl get` finds."""
        found = json.loads(self.kubectl("get", "--output", "json", *arguments).out)
        return found["items"] if found["kind"] == "List" else found

    # --- starting and stopping ---

    def start_servers(self):
        etcd, peers, secure = free_ports(3)
        etcd_url, peers_url = (f"http://127.0.0.1:{port}" for port in (etcd, peers))
        own = self.directory
        key = own / "service-accounts.key"
        key.write_text(call([self.controlplane, "service-account-key"], os.environ).out)
        token = secrets.token_hex(32)
        (own / "tokens.csv").write_text(f"{token},admin,admin,system:masters\n")
        self.write_kubeconfig(f"https://127.0.0.1:{secure}", token)

        self.start(
            "etcd",
            self.controlplane,
            "etcd",
            {
                "data-dir": own / "etcd",
                "listen-client-urls": etcd_url,
                "advertise-client-urls": etcd_url,
                "listen-peer-urls": peers_url,
                "initial-advertise-peer-urls": peers_url,
                "initial-cluster": f"default={peers_url}",
                # What a power cut would lose is of no use to anybody.
                "unsafe-no-fsync": "true",
                "log-level": "warn",
            },
        )
        self.start(
            "kube-apiserver",
            self.controlplane,
            "kube-apiserver",
            {
                "bind-address": "127.0.0.1",
                "advertise-address": "127.0.0.1",
                "secure-port": secure,
                # It makes itself a certificate there.
                "cert-dir": own / "certificates",
                "etcd-servers": etcd_url,
                "service-cluster-ip-range": "10.96.0.0/16",
                "authorization-mode": "RBAC",
                "token-auth-file": own / "tokens.csv",
                "service-account-issuer": "https://kubernetes.default.svc",
                "service-account-key-file": key,
                "service-account-signing-key-file": key,
                # An address of loopback is none that it could publish as an endpoint.
                "endpoint-reconciler-type": "none",
            },
        )
        self.wait("the API server", lambda: self.answers("--raw", "/readyz"))
        self.start(
            "kube-controller-manager",
            self.controlplane,
            "kube-controller-manager",
            {
                "kubeconfig": self.kubeconfig,
                "secure-port": 0,
                "leader-elect": "false",
                "root-ca-file": own / "certificates" / "apiserver.crt",
                "service-account-private-key-file": key,
            },
        )
        self.start(
            "kube-scheduler",
            self.controlplane,
            "kube-scheduler",
            {
                "kubeconfig": self.kubeconfig,
                "secure-port": 0,
                "leader-elect": "false",
            },
        )
        self.start(
            "kwok",
            self.kwok,
            None,
            {
                "kubeconfig": self.kubeconfig,
                "manage-all-nodes": "true",
                "node-ip": "127.0.0.1",
                # Without leases, nodes count as lost after forty seconds.
                "node-lease-duration-seconds": 40,
                "config": HERE / "stages.yaml",
            },
        )

    def write_kubeconfig(self, server, token):
        self.kubeconfig.touch(mode=0o600)
        # JSON is YAML.
        self.kubeconfig.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "loopback",
                    "clusters": [
                        {
                            "name": "loopback",
                            "cluster": {
                                "server": server,
                                "certificate-authority": str(
                                    self.directory / "certificates" / "apiserver.crt"
                                ),
                            },
                        }
                    ],
                    "users": [{"name": "admin", "user": {"token": token}}],
                    "contexts": [{"name": "loopback", "context": {"cluster": "loopback", "user": "admin"}}],
                }
            )
        )

    def start(self, name, program, part, flags):
        command = [
            program,
            *([part] if part else []),
            *(f"--{flag}={value}" for flag, value in flags.items()),
        ]
        with open(self.directory / f"{name}.log", "wb") as log:
            # A session of its own: an interrupt at the terminal is for us, who stop it in order.
            server = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        self.servers.append((name, server))

    def stop(self):
        """The last first, so that none complains of one that is gone. A second Ctrl-C does not hinder it."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for _, server in reversed(self.servers):
            server.terminate()
            try:
                server.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
        self.servers.clear()
        shutil.rmtree(self.directory, ignore_errors=True)

    def check_servers(self):
        """Fails with the end of its log if one of them has ended."""
        for name, server in self.servers:
            if server.poll() is not None:
                log = (self.directory / f"{name}.log").read_text(errors="replace").splitlines()[-20:]
                raise AssertionError(
                    "\n".join([f"{name} ended with {server.returncode}; the end of its log:", *log])
                )

    def wait(self, what, holds, seconds=UP_SECONDS):
        """Until `holds()` is true; what it returned then."""
        give_up = time.monotonic() + seconds
        while not (found := holds()):
            self.check_servers()
            if time.monotonic() > give_up:
                raise AssertionError(f"{what}: not so after {seconds} s")
            time.sleep(0.1)
        return found

    def answers(self, *arguments):
        return self.kubectl("get", *arguments, fails=None).code == 0

    # --- what is in it ---

    def add_nodes(self):
        names = [f"{zone}-{number}" for zone in ZONES for number in range(1, NODES_PER_ZONE + 1)]
        room = {"cpu": "16", "memory": "64Gi", "pods": "110"}
        nodes = [
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {
                    "name": name,
                    "labels": {
                        "kubernetes.io/hostname": name,
                        "kubernetes.io/os": "linux",
                        "kubernetes.io/arch": "amd64",
                        "topology.kubernetes.io/zone": name.rpartition("-")[0],
                    },
                },
                "status": {"allocatable": room, "capacity": room},
            }
            for name in names
        ]
        self.kubectl(
            "create", "--filename", "-", feed=json.dumps({"apiVersion": "v1", "kind": "List", "items": nodes})
        )
        self.kubectl(
            "wait", "--for=condition=Ready", "node", "--all", f"--timeout={UP_SECONDS}s", seconds=UP_SECONDS
        )

    def add_definitions(self):
        files = [word for path in definitions(self.go) for word in ("--filename", path)]
        # On the server: some are larger than what `apply` notes down in an annotation.
        self.kubectl("apply", "--server-side", *files)
        self.kubectl(
            "wait",
            "--for=condition=Established",
            "crd",
            "--all",
            f"--timeout={UP_SECONDS}s",
            seconds=UP_SECONDS,
        )


# === processes ===


class Done:
    """How a command ended."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err


def call(command, environment, feed=None, fails=False, seconds=120):
    """Runs it. It has to succeed, with `fails=True` to fail, with `fails=None` either."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words,
        env=environment,
        input=feed,
        stdin=None if feed else subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds + 30,
        check=False,
    )
    if fails is not None and (done.returncode != 0) != fails:
        shown = " ".join([pathlib.Path(words[0]).name, *words[1:]])
        raise AssertionError(
            f"{shown}\nended with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        )
    return Done(done.returncode, done.stdout, done.stderr)


def die_with_parent():
    """Runs in the child. All are started by the main thread, whose end the kernel takes for the parent's."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def free_ports(count):
    found = []
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise Unavailable(f"no {count} ports are free on 127.0.0.1 between {PORTS.start} and {PORTS.stop}")


def made(directory):
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def say(what):
    print(f"    {what}", flush=True)
