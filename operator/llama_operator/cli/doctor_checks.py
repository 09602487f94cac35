"""What `kubectl llama doctor` looks for, check after check. Pure: facts in, findings out.

check        looks for
cluster      a Kubernetes that knows the CRD's rules
crd          the resource is there, and has the fields that this version writes
operator     one runs, leads, and is of this version
rights       its account may do what its code does
clock        this machine and the nodes agree on the time
gpus         in `doctor_gpus`
storage      a volume for the head, claims that are bound
prometheus   it is named, answers, and scrapes each serving pod once
deployments  what is not as it should be, to be asked for with `why`
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import median

from llama_operator import __version__
from llama_operator.api.field_paths import field_paths
from llama_operator.api.field_paths_v1alpha1 import FIELD_PATHS
from llama_operator.cli.doctor_facts import Facts, Object, Samples, setting, where
from llama_operator.cli.doctor_gpus import gpus
from llama_operator.cli.findings import Finding, Unread, ok, unread
from llama_operator.lifecycle.observed import timestamp
from llama_operator.rendering import names

OLDEST = (1, 30)
"""Kubernetes that docs/install.md asks for: the CRD's rules are CEL."""
SKEW_SECONDS = 5.0
"""Between two clocks, from which on it is said: times of the status, of backing off and of samples are compared between machines."""
NODE_LEASE_SECONDS = 40.0
"""A kubelet renews its Lease every 10 s, and the node controller gives it 40 s
(https://kubernetes.io/docs/concepts/architecture/leases/#node-heart-beats)."""
RIGHTS = (
    ("llama-operator.dev", "llamadeployments", ("list", "watch", "patch")),
    ("llama-operator.dev", "llamadeployments/status", ("patch",)),
    ("", "pods", ("list", "watch", "create", "patch", "delete")),
    ("", "services", ("list", "watch", "create", "patch", "delete")),
    ("", "persistentvolumeclaims", ("list", "watch", "create", "patch", "delete")),
    ("", "secrets", ("create",)),
    ("", "events", ("create", "patch")),
    ("apps", "controllerrevisions", ("list", "watch", "create", "patch", "delete")),
    ("policy", "poddisruptionbudgets", ("list", "watch", "create", "patch", "delete")),
    ("networking.k8s.io", "networkpolicies", ("list", "watch", "create", "patch", "delete")),
)
"""Group, resource and verbs that the operator cannot do without, as the chart grants them."""


def cluster(facts: Facts) -> Iterator[Finding]:
    """The API server's version."""
    if isinstance(facts.version, Unread):
        yield unread("cluster", "the API server's version", facts.version)
        return
    text = str(facts.version.get("gitVersion", "?"))
    # A cloud's minor may be 34+.
    found = tuple(int("0" + "".join(filter(str.isdigit, str(facts.version.get(key, ""))))) for key in ("major", "minor"))
    if found >= OLDEST:
        yield ok("cluster", f"Kubernetes {text}")
        return
    remedy = "Upgrade the cluster: older API servers do not know all of the CRD's rules."
    yield Finding(check="cluster", severity="error", message=f"Kubernetes {text} is older than 1.{OLDEST[1]}", remedy=remedy)


def crd(facts: Facts) -> Iterator[Finding]:
    """The resource, against the fields that this version knows."""
    if isinstance(facts.crd, Unread):
        yield unread("crd", "the CustomResourceDefinition", facts.crd)
        return
    apply = "Apply it: helm show crds CHART | kubectl apply --server-side --force-conflicts -f - (docs/install.md, Upgrade)."
    if facts.crd is None:
        yield Finding(check="crd", severity="error", message=f"the cluster knows no {names.KIND}", remedy=apply)
        return
    version, versions = names.API_VERSION.rpartition("/")[2], (facts.crd.get("spec") or {}).get("versions") or []
    serving = [item for item in versions if item["name"] == version and item.get("served")]
    if not serving:
        yield Finding(check="crd", severity="error", message=f"the CRD does not serve {names.API_VERSION}", remedy=apply)
        return
    here = field_paths(serving[0]["schema"]["openAPIV3Schema"])
    older, newer = sorted(FIELD_PATHS - here), sorted(here - FIELD_PATHS)
    if older:
        message = f"the CRD is older than this version ({__version__}): it lacks {_some(older)}"
        yield Finding(check="crd", severity="warning", message=message, remedy=apply)
    elif newer:
        message = f"the CRD is newer than this version ({__version__}): it also has {_some(newer)}"
        yield Finding(check="crd", severity="note", message=message, remedy="Use the kubectl llama of the operator's version.")
    else:
        yield ok("crd", f"{names.API_VERSION}, with every field of version {__version__}")


def operator(facts: Facts) -> Iterator[Finding]:
    """The operators that are installed: running, leading, of this version."""
    if isinstance(facts.operators, Unread):
        yield unread("operator", "the operator's Deployment", facts.operators)
        return
    if not facts.operators:
        yield Finding(check="operator", severity="error", message="no operator is installed", remedy="Install the chart (docs/install.md).")
        return
    for found in facts.operators:
        yield from _one_operator(found, facts)


def _one_operator(found: Object, facts: Facts) -> Iterator[Finding]:
    place, status = where(found), found.get("status") or {}
    ready, wanted = int(status.get("readyReplicas") or 0), int(found["spec"].get("replicas") or 0)
    version = str((found["metadata"].get("labels") or {}).get("app.kubernetes.io/version", "?"))
    if ready:
        yield ok("operator", f"{place} {version}: {ready} of {wanted} pods ready")
    else:
        remedy = f"See kubectl -n {found['metadata']['namespace']} describe pods -l app.kubernetes.io/name=llama-operator."
        yield Finding(check="operator", severity="error", message=f"{place}: 0 of {wanted} pods are ready", remedy=remedy)
    if version != __version__:
        message = f"{place} is version {version}, this command {__version__}: what it says of plans may differ"
        yield Finding(check="operator", severity="note", message=message, remedy="Use the kubectl llama of the operator's version.")
    if isinstance(facts.leases, Unread):
        yield unread("operator", "its Lease", facts.leases)
        return
    name = setting(found, "LEASE_NAME") or "llama-operator"
    lease = next((item for item in facts.leases if where(item) == f"{found['metadata']['namespace']}/{name}"), None)
    spec = (lease or {}).get("spec") or {}
    renewed, lasts = timestamp(spec.get("renewTime")), float(spec.get("leaseDurationSeconds") or 15)
    if renewed is None or not spec.get("holderIdentity"):
        remedy = "See kubectl llama support-bundle, or the operator's log: it acts on nothing until it leads."
        yield Finding(check="operator", severity="error", message=f"{place}: nobody holds the Lease {name}", remedy=remedy)
    elif (age := _cluster_now(facts) - renewed) > 2 * lasts + SKEW_SECONDS:
        message = f"{place}: the Lease {name} was renewed {age:.0f} s ago, it lasts {lasts:.0f} s"
        yield Finding(check="operator", severity="error", message=message, remedy="Look at the operator's log.")
    else:
        yield ok("operator", f"{spec['holderIdentity'].partition('_')[0]} leads")


def _cluster_now(facts: Facts) -> float:
    """The time by the cluster's own clocks, as the youngest Lease of a node tells it within 10 s; this machine's where none may be read."""
    leases = () if isinstance(facts.node_leases, Unread) else facts.node_leases
    return max((when for item in leases if (when := timestamp((item.get("spec") or {}).get("renewTime"))) is not None), default=facts.now)


def rights(facts: Facts) -> Iterator[Finding]:
    """What the operator's account may do where a deployment is."""
    if facts.rights is None:
        return
    if isinstance(facts.rights, Unread):
        yield unread("rights", "what the operator's account may do", facts.rights)
        return
    lacking = [
        f"{verb} {resource}"
        for group, resource, verbs in RIGHTS
        for verb in verbs
        if not any(_grants(rule, group, resource, verb) for rule in facts.rights)
    ]
    if lacking:
        message = f"the operator's account may not {_some(lacking)}"
        remedy = "Install the chart with rbac.create: true, or give the account the chart's rules (templates/_rules.tpl)."
        yield Finding(check="rights", severity="error", message=message, remedy=remedy)
    else:
        yield ok("rights", "the operator's account may do what its code does")


def _grants(rule: Object, group: str, resource: str, verb: str) -> bool:
    def has(key: str, wanted: str) -> bool:
        given = rule.get(key) or []
        return wanted in given or "*" in given

    return has("apiGroups", group) and has("resources", resource) and has("verbs", verb) and not rule.get("resourceNames")


def clock(facts: Facts) -> Iterator[Finding]:
    """Leases carry the clock of who renewed them: the kubelets', the operator's."""
    if isinstance(facts.node_leases, Unread):
        yield unread("clock", "the nodes' Leases", facts.node_leases)
        return
    ready = set() if isinstance(facts.nodes, Unread) else {node["metadata"]["name"] for node in facts.nodes if _is_ready(node)}
    renewed = {item["metadata"]["name"]: timestamp((item.get("spec") or {}).get("renewTime")) for item in facts.node_leases}
    times = {name: when for name, when in renewed.items() if when is not None and name in ready}
    if not times:
        yield Finding(check="clock", severity="note", message="no ready node renewed a Lease: clocks were not compared")
        return
    middle = median(times.values())
    late = sorted(name for name, when in times.items() if when - middle > SKEW_SECONDS or middle - when > NODE_LEASE_SECONDS)
    ahead = max(times.values()) - facts.now
    behind = facts.now - max(times.values())
    sync = "Synchronise the clocks (NTP)."
    if late:
        message = f"the clocks of {_some(late)} differ from the other nodes' by seconds"
        yield Finding(check="clock", severity="warning", message=message, remedy=sync)
    if ahead > SKEW_SECONDS or behind > NODE_LEASE_SECONDS:
        message = f"this machine's clock is {max(ahead, behind):.0f} s {'behind' if ahead > 0 else 'ahead of'} the cluster's"
        yield Finding(check="clock", severity="warning", message=message, remedy=f"{sync} Until then ages shown here are wrong.")
    elif not late:
        yield ok("clock", f"{len(times)} nodes and this machine agree on the time")


def _is_ready(node: Object) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or []
    return any(item.get("type") == "Ready" and item.get("status") == "True" for item in conditions)


def storage(facts: Facts) -> Iterator[Finding]:
    """A volume for the head's store, and claims that are bound."""
    wants = [] if isinstance(facts.operators, Unread) else [item for item in facts.operators if setting(item, "HEAD_STORAGE") != "emptyDir"]
    if wants:
        yield from _class_for(wants[0], facts)
    elif not isinstance(facts.operators, Unread) and facts.operators:
        message = "heads keep their state in an emptyDir: losing a head pod reloads every replica"
        yield Finding(check="storage", severity="warning", message=message, remedy="Set head.storage.type: pvc in the chart.")
    if isinstance(facts.claims, Unread):
        yield unread("storage", "the claims", facts.claims)
        return
    pending = sorted(where(claim) for claim in facts.claims if (claim.get("status") or {}).get("phase") != "Bound")
    if pending:
        remedy = f"See kubectl -n {pending[0].partition('/')[0]} describe pvc {pending[0].partition('/')[2]}."
        yield Finding(check="storage", severity="error", message=f"not bound: {_some(pending)}", remedy=remedy)
    elif facts.claims:
        yield ok("storage", f"{len(facts.claims)} claims of heads are bound")


def _class_for(found: Object, facts: Facts) -> Iterator[Finding]:
    if isinstance(facts.storage_classes, Unread):
        yield unread("storage", "the StorageClasses", facts.storage_classes)
        return
    named = setting(found, "HEAD_STORAGE_CLASS")
    key = "storageclass.kubernetes.io/is-default-class"
    known = {item["metadata"]["name"]: (item["metadata"].get("annotations") or {}).get(key) == "true" for item in facts.storage_classes}
    bound = not isinstance(facts.claims, Unread) and any((item.get("status") or {}).get("phase") == "Bound" for item in facts.claims)
    chosen = named or next((name for name, default in known.items() if default), None)
    if chosen in known:
        yield ok("storage", f"heads keep their state on volumes of class {chosen}")
    elif bound:
        yield ok("storage", "heads keep their state on volumes that were made beforehand")
    elif named:
        message = f"head.storage.className is {named}, and the cluster has {_some(sorted(known)) or 'no StorageClass'}"
        yield Finding(check="storage", severity="error", message=message, remedy="Name one of the cluster's in the chart.")
    else:
        remedy = "Set head.storage.className in the chart, make one the default, or provide volumes yourself."
        yield Finding(check="storage", severity="error", message="no StorageClass is the default, and the chart names none", remedy=remedy)


def prometheus(facts: Facts) -> Iterator[Finding]:
    """Named, answering, scraping: each serving pod once."""
    if isinstance(facts.operators, Unread) or not facts.operators:
        return
    if facts.samples is None:
        remedy = "Set prometheus.url in the chart; autoscaled deployments hold their number until then."
        yield Finding(check="prometheus", severity="warning", message="the operator was given no Prometheus", remedy=remedy)
        return
    if isinstance(facts.samples, Unread):
        message = f"Prometheus was not asked from here: {facts.samples.why}"
        yield Finding(
            check="prometheus",
            severity="note",
            message=message,
            remedy="Trust the condition MetricsAvailable, which is the operator's view.",
        )
    else:
        yield from _scraped(facts.samples, facts)
    if isinstance(facts.deployments, Unread):
        return
    for item in facts.deployments:
        for condition in (item.get("status") or {}).get("conditions") or []:
            if condition["type"] == "MetricsAvailable" and condition["status"] == "False" and (item.get("spec") or {}).get("autoscaling"):
                remedy = "See docs/operations.md, MetricsAvailable."
                message = f"{where(item)}: the autoscaler is blind ({condition['reason']}): {condition['message']}"
                yield Finding(check="prometheus", severity="error", message=message, remedy=remedy)


def _scraped(samples: Samples, facts: Facts) -> Iterator[Finding]:
    serving = {} if isinstance(facts.deployments, Unread) else {where(item): _ready_pods(item) for item in facts.deployments}
    expected = {pod for pods in serving.values() for pod in pods}
    missing, double = sorted(expected - set(samples.pods)), sorted(pod for pod, count in samples.pods.items() if count > 1)
    if missing:
        monitors = "The chart's PodMonitors need labels that your Prometheus selects (monitoring.podMonitors.labels)."
        bare = "Let it scrape pods by their prometheus.io annotations, with the labels of docs/contracts.md."
        remedy = monitors if facts.pod_monitors is True else bare
        yield Finding(check="prometheus", severity="error", message=f"not scraped: {_some(missing)}", remedy=remedy)
    if double:
        remedy = "Let it use PodMonitors or annotations, not both: the autoscaler sees twice the load."
        yield Finding(check="prometheus", severity="error", message=f"scraped twice: {_some(double)}", remedy=remedy)
    if not missing and not double:
        yield ok("prometheus", f"it answers, and scrapes {len(expected)} of {len(expected)} serving pods once")


def _ready_pods(deployment: Object) -> list[str]:
    namespace = deployment["metadata"].get("namespace", "")
    ready = [entry for entry in (deployment.get("status") or {}).get("replicas") or [] if entry.get("phase") == "Ready"]
    return [f"{namespace}/{entry['pods'][0]}" for entry in ready if entry.get("pods")]


def deployments(facts: Facts) -> Iterator[Finding]:
    """Those that somebody should look at."""
    if isinstance(facts.deployments, Unread):
        yield unread("deployments", "the LlamaDeployments", facts.deployments)
        return
    well = 0
    for item in facts.deployments:
        status = item.get("status") or {}
        phase, name, namespace = status.get("phase"), item["metadata"]["name"], item["metadata"].get("namespace", "")
        if phase in {"Failed", "Invalid", "Degraded"} or phase is None:
            state = f"is {phase} ({status.get('reason')})" if phase else "has no status: no operator looks at it"
            remedy = f"Ask kubectl llama why {name} -n {namespace}."
            yield Finding(
                check="deployments", severity="error" if phase != "Degraded" else "warning", message=f"{where(item)} {state}", remedy=remedy
            )
        else:
            well += 1
    yield ok("deployments", f"{well} of {len(facts.deployments)} need nobody")


def _some(texts: Sequence[str]) -> str:
    more = len(texts) - 5
    return ", ".join(texts[:5]) + (f" and {more} more" if more > 0 else "")


def look(facts: Facts) -> list[Finding]:
    """All findings, in the order of the checks."""
    checks: Sequence[Callable[[Facts], Iterator[Finding]]] = (cluster, crd, operator, rights, clock, gpus, storage, prometheus, deployments)
    return [finding for check in checks for finding in check(facts)]
