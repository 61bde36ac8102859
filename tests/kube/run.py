#!/usr/bin/env -S python3 -B
"""Installs, upgrades, breaks, rolls back and removes the chart on a real Kubernetes API server.

    run.py TARGET_DIRECTORY HELM GO

`make test-kube` calls it. Every step is a sentence that has to hold. They come in one order, because each
goes on from where the one before ended, and the first that does not hold ends the run.

What it cannot show: nodes are simulated, so no program runs. Probes, drains and conversations are
tested with real processes elsewhere; who may reach whom is only checked for being well-formed.
"""

import contextlib
import json
import pathlib
import re
import signal
import subprocess
import sys
import time

from cluster import Cluster, Unavailable, call, programs, say

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CHART = ROOT / "helm" / "parlance"
GUIDE = ROOT / "docs" / "kubernetes.md"
VALUES = HERE / "values.yaml"
NAMESPACE = "chat"
RELEASE = "parlance"
GATEWAYS = f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component=gateway"
PERSISTERS = f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component=persister"
# Of the values.
REPLICAS = 4
SCALED = (
    "--set",
    "gateway.autoscaling.enabled=true",
    "--set",
    f"gateway.autoscaling.minReplicas={REPLICAS + 1}",
    "--set",
    f"gateway.autoscaling.maxReplicas={REPLICAS + 2}",
)
# Ends what hangs. Nothing is judged by how long it takes.
SECONDS = 180
# A rollout that cannot succeed is given up after this.
GIVE_UP = "20s"
UNAVAILABLE = 69

RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
SECRETS = {"auth": "hmac-secret", "redis": "urls", "store": "password"}
# What is in every namespace, whoever is installed there.
ALWAYS_THERE = {"configmap/kube-root-ca.crt", "serviceaccount/default"}
# Kept on purpose for an hour: they tell what happened.
NOT_LISTED = {"events", "events.events.k8s.io"}


class Release:
    """The chart in one namespace of a cluster, by `helm` and `kubectl`."""

    def __init__(self, cluster, helm, namespace=NAMESPACE):
        self.cluster, self.helm_program, self.namespace = cluster, helm, namespace

    def helm(self, *arguments, **options):
        own = {
            f"HELM_{kind}_HOME": str(self.cluster.directory / "helm" / kind)
            for kind in ("CACHE", "CONFIG", "DATA")
        }
        environment = self.cluster.environment() | own
        return call([self.helm_program, *arguments, "--namespace", self.namespace], environment, **options)

    def upgrade(self, *settings, **options):
        """To the values with `settings`, and waits until it is rolled out."""
        return self.helm(
            "upgrade",
            RELEASE,
            CHART,
            "--values",
            VALUES,
            *settings,
            "--wait",
            "--timeout",
            f"{SECONDS}s",
            seconds=SECONDS,
            **options,
        )

    def kubectl(self, *arguments, **options):
        return self.cluster.kubectl("--namespace", self.namespace, *arguments, **options)

    def get(self, *arguments):
        return self.cluster.get("--namespace", self.namespace, *arguments)

    def create_namespace(self):
        labels = RESTRICTED | {"kubernetes.io/metadata.name": self.namespace}
        self.create(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace, "labels": labels}}
        )
        self.cluster.wait(
            "the service account of the namespace",
            lambda: self.cluster.answers("--namespace", self.namespace, "serviceaccount", "default"),
        )

    def create(self, manifest, **options):
        return self.kubectl("create", "--filename", "-", feed=json.dumps(manifest), **options)

    def deployment(self, selector):
        found = self.get("deployment", "--selector", selector)
        assert len(found) == 1, f"{len(found)} deployments have {selector}"
        return found[0]

    def pods(self, selector):
        """Those that stay, by their unique ids."""
        found = self.get("pod", "--selector", selector)
        return {pod["metadata"]["uid"]: pod for pod in found if "deletionTimestamp" not in pod["metadata"]}

    def images(self, selector):
        return {
            container["image"]
            for pod in self.pods(selector).values()
            for container in pod["spec"]["containers"]
        }

    def all_available(self, selector, replicas):
        def holds():
            status = self.deployment(selector)["status"]
            return (
                status.get("availableReplicas", 0)
                == status.get("updatedReplicas", 0)
                == status["replicas"]
                == replicas
            )

        self.cluster.wait(f"{replicas} pods of {selector} are available", holds)

    def revision(self):
        return json.loads(self.helm("status", RELEASE, "--output", "json").out)

    def everything(self):
        """`kind/name` of all that is in the namespace."""
        kinds = self.kubectl("api-resources", "--namespaced", "--verbs=list", "--output=name").out.split()
        listed = ",".join(kind for kind in kinds if kind not in NOT_LISTED)
        return {f"{item['kind'].lower()}/{item['metadata']['name']}" for item in self.get(listed)}


@contextlib.contextmanager
def never_fewer_than(release, replicas):
    """Holds if no moment of the block had fewer gateways available."""
    name = release.deployment(GATEWAYS)["metadata"]["name"]
    seen = release.cluster.directory / "available"
    command = [
        release.cluster.controlplane,
        "kubectl",
        "--namespace",
        release.namespace,
        "get",
        "deployment",
        name,
        "--watch",
        "--output",
        'jsonpath={.status.availableReplicas} {.spec.replicas}{"\\n"}',
    ]
    with open(seen, "wb") as output:
        watch = subprocess.Popen(
            command, env=release.cluster.environment(), stdin=subprocess.DEVNULL, stdout=output
        )
        try:
            release.cluster.wait("the watch of gateways", lambda: seen.stat().st_size > 0)
            yield
        finally:
            watch.terminate()
            watch.wait()
    moments = [line.split() for line in seen.read_text().splitlines()]
    fewest = min(int(moment[0]) if len(moment) == 2 else 0 for moment in moments)
    assert fewest >= replicas, (
        f"{fewest} gateways were available at one time, which should be {replicas}: {moments}"
    )
    say(f"never fewer than {fewest} gateways in {len(moments)} moments")


# === what the server accepts ===


def a_pod_that_is_not_restricted_is_refused(release):
    """Shows that the namespace judges pods; all that follows relies on it."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "open"},
        "spec": {"containers": [{"name": "open", "image": "parlance:1"}]},
    }
    refused = release.create(pod, fails=True)
    assert 'violates PodSecurity "restricted' in refused.err, refused.err


def a_mistyped_field_is_refused(release):
    manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "mistyped"},
        "spec": {
            "replica": 1,
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}},
        },
    }
    refused = server_judges(release, json.dumps(manifest), fails=True)
    assert 'unknown field "spec.replica"' in refused.err, refused.err


def a_template_that_is_not_restricted_is_refused(release):
    """The server only warns of templates of pods, so a warning has to count."""
    pod = {
        "metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "open", "image": "parlance:1"}]},
    }
    manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "open"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": pod},
    }
    warnings = warnings_of(server_judges(release, json.dumps(manifest)))
    assert any("would violate PodSecurity" in warning for warning in warnings), warnings


def every_set_of_values_is_accepted(release):
    judged = Release(release.cluster, release.helm_program, "judged")
    judged.create_namespace()
    found = sorted([*CHART.glob("ci/*-values.yaml"), CHART / "values-dev.yaml", VALUES])
    assert len(found) > 2, f"no values in {CHART}/ci"
    for values in found:
        accept(judged, values.relative_to(ROOT), "--values", values)


def the_examples_of_the_guide_are_accepted(release):
    """Those of values, on top of the first, which is whole."""
    blocks = re.findall(r"^```yaml\n(.*?)^```$", GUIDE.read_text(), re.M | re.S)
    whole, *parts = [block for block in blocks if not block.startswith("apiVersion:")]
    assert parts, f"{GUIDE} has no examples"
    judged = Release(release.cluster, release.helm_program, "examples")
    judged.create_namespace()
    written = [release.cluster.directory / f"example-{number}.yaml" for number in range(len(parts) + 1)]
    for path, block in zip(written, [whole, *parts], strict=True):
        path.write_text(block)
    for path in written:
        accept(judged, path.name, "--values", written[0], "--values", path)


def accept(judged, shown, *values):
    render = ("template", RELEASE, CHART, *values)
    # A pod is judged together with its account, which has to be there.
    accounts = judged.helm(*render, "--show-only", "templates/serviceaccount.yaml").out
    judged.kubectl("apply", "--filename", "-", feed=accounts)
    answer = server_judges(judged, judged.helm(*render).out)
    accepted, warnings = answer.out.splitlines(), warnings_of(answer)
    assert accepted, f"{shown} renders nothing"
    assert not warnings, f"of {shown} the server says: {warnings}"
    say(f"{shown}: {len(accepted)} objects")


def server_judges(release, manifests, **options):
    return release.kubectl(
        "apply", "--dry-run=server", "--validate=strict", "--filename", "-", feed=manifests, **options
    )


def warnings_of(answer):
    return [line for line in answer.err.splitlines() if line.startswith("Warning:")]


# === installing ===


def it_is_installed(release):
    for name, key in SECRETS.items():
        release.kubectl(
            "create", "secret", "generic", name, f"--from-literal={key}=only-in-this-test-and-read-by-nobody"
        )
    before = release.everything()
    release.helm(
        "install", RELEASE, CHART, "--values", VALUES, "--wait", "--timeout", f"{SECONDS}s", seconds=SECONDS
    )
    release.all_available(GATEWAYS, REPLICAS)
    release.all_available(PERSISTERS, 2)
    say(f"{len(release.everything() - before)} objects, with those that controllers made")


def pods_are_spread_over_hosts_and_zones(release):
    nodes = {node["metadata"]["name"]: node["metadata"]["labels"] for node in release.cluster.get("nodes")}
    hosts = [pod["spec"]["nodeName"] for pod in release.pods(GATEWAYS).values()]
    zones = {nodes[host]["topology.kubernetes.io/zone"] for host in hosts}
    assert len(set(hosts)) == REPLICAS, f"two gateways share a host: {hosts}"
    assert len(zones) == 3, f"gateways are in {zones} only"


def services_lead_to_all_gateways(release):
    """By the endpoints that the controllers found through the selectors."""
    addresses = {pod["status"]["podIP"] for pod in release.pods(GATEWAYS).values()}
    services = [service for service in release.get("service") if selects_gateways(service)]
    assert len(services) >= 2, f"{len(services)} services select gateways"
    for service in services:
        name = service["metadata"]["name"]
        ports = {port["port"] for port in service["spec"]["ports"]}
        release.cluster.wait(
            f"endpoints of {name} are {addresses}",
            lambda name=name: ready_addresses(release, name) == addresses,
        )
        say(f"{name}, port {', '.join(map(str, sorted(ports)))}: {len(addresses)} endpoints")


def selects_gateways(service):
    return service["spec"].get("selector", {}).get("app.kubernetes.io/component") == "gateway"


def ready_addresses(release, service):
    slices = release.get("endpointslice", "--selector", f"kubernetes.io/service-name={service}")
    assert all(part["ports"] for part in slices), f"{service} has a port that no container has"
    return {
        address
        for part in slices
        for endpoint in part["endpoints"] or []
        if endpoint["conditions"]["ready"]
        for address in endpoint["addresses"]
    }


def no_pod_has_a_token(release):
    for pod in [*release.pods(GATEWAYS).values(), *release.pods(PERSISTERS).values()]:
        sources = [
            source
            for volume in pod["spec"].get("volumes", [])
            for source in volume.get("projected", {}).get("sources", [])
        ]
        assert not any("serviceAccountToken" in source for source in sources), (
            f"{pod['metadata']['name']} mounts a token"
        )


def helm_test_passes(release):
    out = release.helm("test", RELEASE, "--timeout", f"{SECONDS}s", seconds=SECONDS).out
    assert "Succeeded" in out, out


# === changing ===


def a_change_of_settings_replaces_every_gateway(release):
    before = release.pods(GATEWAYS)
    with never_fewer_than(release, REPLICAS):
        release.upgrade("--set", "config.limits.connections_per_user=7")
    after = release.pods(GATEWAYS)
    assert len(after) == REPLICAS and not before.keys() & after.keys(), "a gateway has the settings of before"


def the_same_again_replaces_none(release):
    before = release.pods(GATEWAYS), release.pods(PERSISTERS)
    release.upgrade("--set", "config.limits.connections_per_user=7")
    after = release.pods(GATEWAYS), release.pods(PERSISTERS)
    assert [side.keys() for side in before] == [side.keys() for side in after], (
        "pods were replaced for nothing"
    )


def more_replicas_replace_none(release):
    before = release.pods(GATEWAYS)
    release.upgrade(
        "--set", "config.limits.connections_per_user=7", "--set", f"gateway.replicas={REPLICAS + 2}"
    )
    release.all_available(GATEWAYS, REPLICAS + 2)
    assert before.keys() <= release.pods(GATEWAYS).keys(), "a gateway was replaced for nothing"
    release.upgrade()
    release.all_available(GATEWAYS, REPLICAS)


def a_failed_test_is_told(release):
    """Shows that `helm test` can fail."""
    release.upgrade("--set-string", "image.tag=1-failing", "--set", "migration.enabled=false")
    failed = release.helm("test", RELEASE, "--timeout", f"{SECONDS}s", seconds=SECONDS, fails=True)
    assert "failed" in (failed.out + failed.err).lower(), failed.err
    release.upgrade()
    # Helm leaves the pod of a failed test, to be looked at, until the next test.
    helm_test_passes(release)


def a_migration_that_fails_stops_the_upgrade(release):
    before = release.pods(GATEWAYS)
    failed = release.upgrade("--set-string", "image.tag=2-failing", fails=True)
    assert "pre-upgrade" in failed.err, failed.err
    assert release.pods(GATEWAYS).keys() == before.keys(), "gateways were touched"


def a_version_that_does_not_start_is_rolled_back(release):
    before = release.pods(GATEWAYS)
    with never_fewer_than(release, REPLICAS):
        failed = release.helm(
            "upgrade",
            RELEASE,
            CHART,
            "--values",
            VALUES,
            "--set-string",
            "image.tag=2-broken",
            "--rollback-on-failure",
            "--timeout",
            GIVE_UP,
            seconds=SECONDS,
            fails=True,
        )
        release.all_available(GATEWAYS, REPLICAS)
    assert "rolled back" in failed.err or "rollback" in failed.err, failed.err
    assert release.revision()["info"]["status"] == "deployed"
    after = release.pods(GATEWAYS)
    assert after.keys() == before.keys(), "the roll back replaced gateways that were fine"


def a_version_that_starts_replaces_all(release):
    with never_fewer_than(release, REPLICAS):
        release.upgrade("--set-string", "image.tag=3")
    release.all_available(PERSISTERS, 2)
    assert all(image.endswith(":3") for image in release.images(GATEWAYS) | release.images(PERSISTERS))


def a_roll_back_brings_the_version_before(release):
    before = str(release.revision()["version"] - 1)
    with never_fewer_than(release, REPLICAS):
        release.helm("rollback", RELEASE, before, "--wait", "--timeout", f"{SECONDS}s", seconds=SECONDS)
        release.all_available(GATEWAYS, REPLICAS)
    assert all(image.endswith(":1") for image in release.images(GATEWAYS) | release.images(PERSISTERS))


# === what a cluster does by itself ===


def a_drained_host_gives_its_gateway_away(release):
    host = hosts_of_gateways(release)[0]
    drain(release, host)
    release.all_available(GATEWAYS, REPLICAS)
    assert host not in hosts_of_gateways(release)
    release.cluster.kubectl("uncordon", host)


def a_second_gateway_is_not_evicted_while_one_is_missing(release):
    nodes = [node["metadata"]["name"] for node in release.cluster.get("nodes")]
    first, second, *_ = hosts_of_gateways(release)
    # Nowhere is room for a new one.
    release.cluster.kubectl("cordon", *nodes)
    drain(release, first)
    refused = release.cluster.kubectl(
        "drain",
        second,
        "--ignore-daemonsets",
        "--delete-emptydir-data",
        "--timeout=6s",
        "--pod-selector",
        GATEWAYS,
        fails=True,
    )
    assert "disruption budget" in refused.err, refused.err
    assert second in hosts_of_gateways(release), "the gateway was evicted all the same"
    release.cluster.kubectl("uncordon", *nodes)
    release.all_available(GATEWAYS, REPLICAS)


def hosts_of_gateways(release):
    return sorted(
        {pod["spec"]["nodeName"] for pod in release.pods(GATEWAYS).values() if "nodeName" in pod["spec"]}
    )


def drain(release, host):
    release.cluster.kubectl(
        "drain",
        host,
        "--ignore-daemonsets",
        "--delete-emptydir-data",
        f"--timeout={SECONDS}s",
        "--pod-selector",
        GATEWAYS,
        seconds=SECONDS,
    )


def an_autoscaler_takes_over(release):
    """It has no metrics here, but scales to its least number without any."""
    with never_fewer_than(release, REPLICAS):
        release.upgrade(*SCALED)
        release.cluster.wait("the autoscaler can scale", lambda: condition(release, "AbleToScale") == "True")
        release.all_available(GATEWAYS, REPLICAS + 1)


def what_the_autoscaler_chose_outlasts_an_upgrade(release):
    name = release.deployment(GATEWAYS)["metadata"]["name"]
    release.kubectl("scale", "deployment", name, f"--replicas={REPLICAS + 3}")
    # More than it may have: so it is the autoscaler that sets the number.
    release.all_available(GATEWAYS, REPLICAS + 2)
    with never_fewer_than(release, REPLICAS + 2):
        release.upgrade(*SCALED, "--set", "config.limits.connections_per_user=9")
    release.all_available(GATEWAYS, REPLICAS + 2)


def the_autoscaler_is_switched_off(release):
    """The number is the autoscaler's until it is taken from it."""
    refused = release.upgrade(fails=True)
    assert "conflict" in refused.err and ".spec.replicas" in refused.err, refused.err
    release.upgrade("--force-conflicts")
    release.all_available(GATEWAYS, REPLICAS)


def so_it_is_where_helm_patches_by_itself(release):
    """As Helm 3 always does. It goes by what it said last, and unsets a number that it says no more."""
    patched = Release(release.cluster, release.helm_program, "patched")
    patched.create_namespace()
    patched.helm(
        "install",
        RELEASE,
        CHART,
        "--values",
        VALUES,
        "--server-side=false",
        "--wait",
        "--timeout",
        f"{SECONDS}s",
        seconds=SECONDS,
    )
    an_autoscaler_takes_over(patched)
    what_the_autoscaler_chose_outlasts_an_upgrade(patched)
    patched.helm("uninstall", RELEASE, "--wait", "--timeout", f"{SECONDS}s", seconds=SECONDS)


def so_it_is_where_the_chart_is_only_rendered(release):
    """As by tools for GitOps, which know of no cluster. Somebody else says the number, as docs/kubernetes.md has it."""
    rendered = Release(release.cluster, release.helm_program, "rendered")
    rendered.create_namespace()
    parts = ("serviceaccount", "configmap", "gateway-deployment")
    apply_rendered(rendered, parts)
    rendered.all_available(GATEWAYS, REPLICAS)
    with never_fewer_than(rendered, REPLICAS):
        replicas = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": rendered.deployment(GATEWAYS)["metadata"]["name"]},
            "spec": {"replicas": REPLICAS},
        }
        # Not a whole Deployment, which is the point.
        apply_as(rendered, "handover", json.dumps(replicas), "--validate=false")
        apply_rendered(rendered, (*parts, "autoscaling"), *SCALED)
        rendered.all_available(GATEWAYS, REPLICAS + 1)
    rendered.kubectl("delete", "horizontalpodautoscaler,deployment", "--all")


def apply_rendered(release, parts, *settings):
    shown = [f"--show-only=templates/{part}.yaml" for part in parts]
    manifests = release.helm("template", RELEASE, CHART, "--values", VALUES, *settings, *shown).out
    apply_as(release, "renderer", manifests)


def apply_as(release, manager, manifests, *options):
    release.kubectl(
        "apply", "--server-side", f"--field-manager={manager}", *options, "--filename", "-", feed=manifests
    )


def condition(release, kind):
    (scaler,) = release.get("horizontalpodautoscaler")
    return next(
        (
            found["status"]
            for found in scaler.get("status", {}).get("conditions", [])
            if found["type"] == kind
        ),
        None,
    )


# === removing ===


def it_is_removed_without_a_trace(release):
    release.helm("uninstall", RELEASE, "--wait", "--timeout", f"{SECONDS}s", seconds=SECONDS)
    nothing_is_left_but(release, ALWAYS_THERE | {f"secret/{name}" for name in SECRETS})
    for kind in ("clusterrole", "clusterrolebinding", "customresourcedefinition", "priorityclass"):
        left = release.cluster.get(kind, "--selector", f"app.kubernetes.io/instance={RELEASE}")
        assert not left, f"{kind} {[item['metadata']['name'] for item in left]} is left"


def nothing_is_left_but(release, expected):
    """Soon: pods that end outlast the release, and what belongs to them goes after them."""
    with contextlib.suppress(AssertionError):
        release.cluster.wait("nothing is left", lambda: release.everything() <= expected, seconds=60)
    left = release.everything() - expected
    assert not left, f"{', '.join(sorted(left))} is left"


def the_trial_with_its_own_servers_comes_and_goes(release):
    trial = Release(release.cluster, release.helm_program, "trial")
    trial.create_namespace()
    trial.helm(
        "install",
        RELEASE,
        CHART,
        "--values",
        CHART / "values-dev.yaml",
        "--wait",
        "--timeout",
        f"{SECONDS}s",
        seconds=SECONDS,
    )
    assert "Succeeded" in trial.helm("test", RELEASE, "--timeout", f"{SECONDS}s", seconds=SECONDS).out
    trial.helm("uninstall", RELEASE, "--wait", "--timeout", f"{SECONDS}s", seconds=SECONDS)
    nothing_is_left_but(trial, ALWAYS_THERE)


STEPS = [
    a_pod_that_is_not_restricted_is_refused,
    a_template_that_is_not_restricted_is_refused,
    a_mistyped_field_is_refused,
    every_set_of_values_is_accepted,
    the_examples_of_the_guide_are_accepted,
    it_is_installed,
    pods_are_spread_over_hosts_and_zones,
    services_lead_to_all_gateways,
    no_pod_has_a_token,
    helm_test_passes,
    a_change_of_settings_replaces_every_gateway,
    the_same_again_replaces_none,
    more_replicas_replace_none,
    a_failed_test_is_told,
    a_migration_that_fails_stops_the_upgrade,
    a_version_that_does_not_start_is_rolled_back,
    a_version_that_starts_replaces_all,
    a_roll_back_brings_the_version_before,
    a_drained_host_gives_its_gateway_away,
    a_second_gateway_is_not_evicted_while_one_is_missing,
    an_autoscaler_takes_over,
    what_the_autoscaler_chose_outlasts_an_upgrade,
    the_autoscaler_is_switched_off,
    so_it_is_where_helm_patches_by_itself,
    so_it_is_where_the_chart_is_only_rendered,
    it_is_removed_without_a_trace,
    the_trial_with_its_own_servers_comes_and_goes,
]


# === running ===


def run(target, helm, go):
    took = []
    directory = timed(took, "programs are built", lambda: programs(target, go))
    with contextlib.ExitStack() as ends:
        cluster = timed(took, "a control plane is up", lambda: ends.enter_context(Cluster(directory, go)))
        release = Release(cluster, helm)
        release.create_namespace()
        for step in STEPS:
            timed(took, step.__name__.replace("_", " "), lambda step=step: step(release))
            cluster.check_servers()
    say(f"{len(STEPS)} steps held, in {sum(took):.0f} s")


def timed(took, name, act):
    begun = time.monotonic()
    try:
        return act()
    except (AssertionError, subprocess.TimeoutExpired) as fault:
        sys.exit(f"FAILED: {name}\n{fault}")
    finally:
        took.append(time.monotonic() - begun)
        if sys.exc_info()[0] is None:
            print(f"{took[-1]:6.1f} s  {name}", flush=True)


def main():
    target, helm, go = map(pathlib.Path, sys.argv[1:])
    # As for Ctrl-C: the cluster ends with us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        run(target.resolve(), helm.resolve(), go)
    except Unavailable as missing:
        print(missing, file=sys.stderr)
        sys.exit(UNAVAILABLE)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


if __name__ == "__main__":
    main()
