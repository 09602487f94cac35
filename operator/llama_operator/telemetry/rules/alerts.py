"""The alerts on what the engines do, and on what the operator sees and decides. Each has a page in docs/runbooks.

None fires because metrics vanish: an alert needs a number that says that something is wrong. That nothing can be seen is what
LlamaAutoscalerBlind says, and of the operator's own metrics LlamaOperatorDown.
"""

from __future__ import annotations

from llama_operator.telemetry import names, recorded
from llama_operator.telemetry import operator_metrics as own
from llama_operator.telemetry.rules import burn
from llama_operator.telemetry.rules.expressions import SERVERS, by, ours, summed
from llama_operator.telemetry.rules.rule import Alert, Group, Pace

WHERE = "{{ $labels.namespace }}/{{ $labels.llama_operator_dev_deployment }}"

KV_FULL = 0.95
"""Above this the engine preempts requests, and computes them twice (scaling/votes.py)."""
REJECTED_SHARE = 0.01
PLAN_DEVIATION = 0.05
"""As in lifecycle/plan_view.py: what the event PlanDeviation says, too."""
FLAPPING = 2.5
"""Restarts within half an hour, of those that can be seen: the first of each cause makes its series, and is not. Two are no flapping, and
`increase`, which extrapolates to the whole window, makes a little more of them."""
NO_PROGRESS_SECONDS = 600
"""405B in FP8 is read within minutes from a shared disk; one percent of it, whatever the disk, in less than this."""
SLOW_START_SECONDS = 900
"""Pulling a 20 GB image is not part of it: that is `Pending`."""
HELD_SECONDS = 900
"""From zero, requests are held for as long as a replica loads: 405B takes minutes."""
GONE_SECONDS = 3600
"""For so long is a release of the operator missed that vanished beside another: nothing tells that it was uninstalled."""
ENGINES_END_SECONDS = 600
"""After the head was lost: Ray's nodes wait no longer for it (`llama_serving/agent/raystart.py`). Whoever is woken needs half of it."""
STUCK_END_SECONDS = 600
"""A drain has 300 s, and a pod's end 30 more (lifecycle/revision.py)."""


def groups(pace: Pace) -> list[Group]:
    """Every alert."""
    return [
        Group(name="llama-burn-rates", interval=60, rules=burn.alerts(pace)),
        Group(name="llama-serving", interval=30, rules=serving(pace)),
        Group(name="llama-operator", interval=30, rules=operating(pace)),
    ]


def _state(label: str, value: str) -> str:
    """Which LlamaDeployments are in that state. Without the other labels of it, whose changes would start the `for` anew."""
    return f'max by {by(label)} ({recorded.STATE.name}{{{label}="{value}"}})'


def serving(pace: Pace) -> list[Alert]:
    """Is it serving, and is it slow?"""
    window = pace.duration(300)
    ended = f"rate({ours(names.SERVE_REQUESTS, SERVERS)}[{window}])"
    long = pace.duration(HELD_SECONDS)
    held = f"(min_over_time({recorded.HELD.name}[{long}]) > 0) and on {by()} ({recorded.HELD.name} offset {long} > 0)"
    tokens = f"rate({ours(names.VLLM_OUTPUT_TOKENS)}[{window}])"
    return [
        Alert(
            name="LlamaNoTokens",
            expr=f"(({recorded.IN_FLIGHT.name} > 0) and on {by()} ({recorded.GENERATION_RATE.name} == 0)"
            f" unless on {by()} ({summed(ended)} > 0))\n"
            f"or ({held} and on {by()} ({recorded.READY.name} == 0))",
            hold=180,
            severity="critical",
            summary=f"{WHERE}: {{{{ $value }}}} requests are open and no token comes out",
            description="For five minutes no replica has given a token and no request has ended, although clients wait; or requests "
            "have been held for a quarter of an hour and no replica serves.",
        ),
        Alert(
            name="LlamaEngineStalled",
            expr=f"(({summed(ours(names.REQUESTS_IN_FLIGHT), 'pod')} > 0) and on {by('pod')} ({summed(tokens, 'pod')} == 0)"
            f" unless on {by('pod')} ({summed(ended, 'pod')} > 0))",
            hold=120,
            severity="critical",
            summary=f"{WHERE}: pod {{{{ $labels.pod }}}} has {{{{ $value }}}} requests open and gives no token",
            description="The engine's process lives, and its health check answers, but it makes no step. Its requests will not end.",
        ),
        Alert(
            name="LlamaKvCacheSaturated",
            expr=f"({recorded.KV_USE_MAX.name} > {KV_FULL}) and on {by()} ({recorded.WAITING.name} > 0)",
            hold=600,
            severity="warning",
            summary=f"{WHERE}: {{{{ $value | humanizePercentage }}}} of the KV cache is in use, and requests wait",
            description="The fullest replica has no room for another sequence: requests wait for it, and some are computed twice.",
        ),
        Alert(
            name="LlamaQueueRejected",
            expr=f'{summed(recorded.REQUEST_RATE.name + """{status_code=~"429|503"}""")} / ({summed(recorded.REQUEST_RATE.name)} > 0)'
            f" > {REJECTED_SHARE}",
            hold=300,
            severity="warning",
            summary=f"{WHERE}: {{{{ $value | humanizePercentage }}}} of requests are turned away with 429 or 503",
            description="A queue is full, or no replica takes requests.",
        ),
        Alert(
            name="LlamaStreamsCut",
            expr=f"{summed(recorded.STREAMS_CUT.name, 'cause')} > 0",
            hold=0,
            severity="warning",
            summary=f'{WHERE}: about {{{{ $value | printf "%.0f" }}}} requests were cut within 30 minutes ({{{{ $labels.cause }}}})',
            description="Requests were open in a replica when it was lost, or when its drain deadline was over. Their clients saw a broken "
            "stream.",
        ),
        Alert(
            name="LlamaIdleGpus",
            expr=f"({recorded.GPUS_HELD.name} > 0) and on {by()} ({recorded.IN_FLIGHT.name} == 0)"
            f" unless on {by()} ({summed(recorded.REQUEST_RATE.name)} > 0)",
            hold=7200,
            severity="info",
            summary=f"{WHERE}: {{{{ $value }}}} GPUs have served nobody for two hours",
            description="No request came. The GPUs are held all the same.",
        ),
    ]


def operating(pace: Pace) -> list[Alert]:
    """What does the operator wait for, and can it see?"""
    age = f"time() - {recorded.REPLICA_PHASE.name}"
    replica = by("revision", "gang")
    moved = f"changes({recorded.REPLICA_PROGRESS.name}[{pace.duration(NO_PROGRESS_SECONDS)}]) > 0"
    leads = f"max({own.LEADING.name}) == 1"
    led = f"max by ({names.LABEL_NAMESPACE}) (max_over_time({own.LEADING.name}[{pace.duration(GONE_SECONDS)}]))"
    leading = f"(max by ({names.LABEL_NAMESPACE}) ({own.LEADING.name}) == 1)"
    missing = f"({recorded.DESIRED.name} - {recorded.READY.name} > 0)"
    return [
        Alert(
            name="LlamaLoadStalled",
            expr=f'((({age}{{phase=~"Downloading|LoadingWeights"}}) > {pace.seconds(NO_PROGRESS_SECONDS)}) unless on {replica} ({moved}))\n'
            f'or (({age}{{phase=~"Starting|WarmingUp"}}) > {pace.seconds(SLOW_START_SECONDS)})',
            hold=60,
            severity="warning",
            summary=f"{WHERE}: replica {{{{ $labels.gang }}}} has been {{{{ $labels.phase }}}} for {{{{ $value | humanizeDuration }}}} "
            "without progress",
            description="A replica is neither coming nor failing: its share of the weights has not grown.",
        ),
        Alert(
            name="LlamaRetriesExhausted",
            expr=f"{missing} and on {by()} {_state('progressing', 'RetriesExhausted')}",
            hold=60,
            severity="critical",
            summary=f"{WHERE}: {{{{ $value }}}} replicas are missing, and the operator tries no more",
            description="Loading failed as often as is allowed. Nothing more is tried until the spec changes.",
        ),
        Alert(
            name="LlamaReplicaFlapping",
            expr=f"{summed(recorded.RESTARTS.name)} > {FLAPPING}",
            hold=0,
            severity="warning",
            summary=f'{WHERE}: replicas were lost or failed about {{{{ $value | printf "%.0f" }}}} times within 30 minutes',
            description="Replicas come and go: each time a model is loaded, and its requests are lost.",
        ),
        Alert(
            name="LlamaGangIncomplete",
            expr=f'(({age}{{phase="Broken"}}) > {pace.seconds(120)})\n'
            f'or (({age}{{phase="Terminating"}}) > {pace.seconds(STUCK_END_SECONDS)})',
            hold=0,
            severity="warning",
            summary=f"{WHERE}: the pods of replica {{{{ $labels.gang }}}} have been {{{{ $labels.phase }}}} for "
            "{{ $value | humanizeDuration }}",
            description="A gang that lost a pod is replaced whole, at once. This one is not: its pods cannot be ended, and hold GPUs.",
        ),
        Alert(
            name="LlamaPlacementBlocked",
            expr=f"({missing} and on {by()} {_state('progressing', 'WaitingForGpus')})\n"
            f"or ((ceil({recorded.EXPECTED.name}) - {recorded.READY.name} > 0) and on {by()} {_state('scaling', 'NoRoom')})",
            hold=300,
            severity="warning",
            summary=f"{WHERE}: {{{{ $value }}}} replicas find no node",
            description="No node has as many free GPUs as a replica's pod needs. It starts by itself when they come free.",
        ),
        Alert(
            name="LlamaHeadDown",
            expr=f"{_state('degraded', 'HeadLost')} > 0",
            hold=120,
            severity="warning",
            summary=f"{WHERE}: the Ray head is gone or does not answer",
            description="Requests are served, for ten minutes at most. Nothing is scaled or replaced until the head is back.",
        ),
        Alert(
            name="LlamaHeadStaysDown",
            expr=f"{_state('degraded', 'HeadLost')} > 0",
            hold=ENGINES_END_SECONDS / 2,
            severity="critical",
            summary=f"{WHERE}: the Ray head has been down for five minutes: after ten every engine ends",
            description="Requests are served. Ten minutes after the head was lost Ray's nodes end, and the engines with them; a head on a "
            "dead node is replaced only when somebody says that the node is off.",
        ),
        Alert(
            name="LlamaAutoscalerBlind",
            expr=f'(max by {by("metrics")} ({recorded.STATE.name}{{metrics!="",metrics!="Fresh"}}) > 0)\n'
            f"or (({recorded.READY.name} > 0) unless on {by()} {recorded.IN_FLIGHT.name})",
            hold=300,
            severity="warning",
            summary=f'{WHERE}: nobody can see the load ({{{{ or $labels.metrics "no series of any replica" }}}})',
            description="The autoscaler holds the number of replicas, or Prometheus has no series of the replicas. No other alert on the "
            "engines can fire meanwhile.",
        ),
        Alert(
            name="LlamaAtMaxReplicas",
            expr=f"{recorded.MAXIMUM.name} and on {by()} {_state('scaling', 'AtMaximum')}",
            hold=900,
            severity="warning",
            summary=f"{WHERE}: demand asks for more than maxReplicas, which is {{{{ $value }}}}",
            description="The autoscaler would add replicas and may not.",
        ),
        Alert(
            name="LlamaPlanDeviation",
            expr=f"abs({recorded.PLAN_RATIO.name} - 1) > {PLAN_DEVIATION}",
            hold=600,
            severity="info",
            summary=f"{WHERE}: {{{{ $labels.quantity }}}} differs from the plan by {{{{ $value | humanizePercentage }}}}",
            description="The engine has other room than was planned: the GPUs have another memory, or something else holds a part of it.",
        ),
        Alert(
            name="LlamaOperatorDown",
            expr=f"absent({leads})\nor (({led} unless on ({names.LABEL_NAMESPACE}) {leading}) and on () ({leads}))",
            hold=120,
            severity="critical",
            summary="no llama-operator{{ with $labels.namespace }} of namespace {{ . }}{{ end }} holds the Lease, or Prometheus does not "
            "see one",
            description="Models go on serving. Nothing is scaled, repaired or rolled out, and no alert on the operator's view can fire.",
        ),
    ]
