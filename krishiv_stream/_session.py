"""The session: settings, checked once; pipelines are explained, resolved and run through it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

from krishiv_guarantees import ConfigurationError, Guarantee
from krishiv_guarantees import require as require_level
from krishiv_stream._admission import check_settings, require_build
from krishiv_stream._block_on import block_on
from krishiv_stream._config import resolve_settings
from krishiv_stream._errors import NotAvailable
from krishiv_stream._job import JobHandle
from krishiv_stream._places import JobPlaces
from krishiv_stream._sql import BatchSql

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import FrameType, TracebackType

    import pyarrow as pa

    from krishiv_checkpoint import CheckpointEvent, CheckpointStore
    from krishiv_connectors import Source
    from krishiv_guarantees import GuaranteeReport
    from krishiv_stream._config import ResolvedSettings
    from krishiv_stream._job import JobResult
    from krishiv_stream._modes import Runtime
    from krishiv_stream._plan.pipeline import Pipeline
    from krishiv_stream._runtime.submission import Submission
    from krishiv_stream._session_options import RunOptions, SessionOptions
    from krishiv_stream._settings import Settings

__all__ = ["Session"]

_log = logging.getLogger("krishiv_stream")
_JOB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


class Session:
    """Runs pipelines.

    Settings come from the arguments, then ``KRISHIV_*`` variables, then `krishiv.toml`, then defaults; they are
    checked here, before any work starts. As a context manager, leaving it cancels the jobs that still run.

    Parameters
    ----------
    **options
        Any setting (see `Settings`): `mode`, `profile`, `data_dir`, `parallelism`, `checkpoint_interval` and so on.

    Raises
    ------
    ConfigurationError
        If a setting is unknown, cannot be used, or does not go with the others; the hint names what to change.
    """

    def __init__(self, **options: Unpack[SessionOptions]) -> None:
        resolved = resolve_settings(options, os.environ, Path.cwd())
        self._setup(resolved, check_settings(resolved.settings))

    @classmethod
    def from_env(cls, **options: Unpack[SessionOptions]) -> Self:
        """Return the session that the environment and `krishiv.toml` describe.

        With a coordinator and no mode, the coordinator states its mode; a mode that was set and differs is an error.
        """
        from krishiv_stream._modes import runtime_from_env

        resolved = resolve_settings(options, os.environ, Path.cwd())
        settings = resolved.settings
        runtime = runtime_from_env(
            settings.mode if resolved.is_set("mode") else None, settings.placement, settings.coordinator, _ask_mode
        )
        session = cls.__new__(cls)
        session._setup(resolved, check_settings(settings, runtime))
        return session

    def _setup(self, resolved: ResolvedSettings, runtime: Runtime) -> None:
        require_build(resolved.settings, runtime)
        self._resolved = resolved
        self._places = JobPlaces(resolved.settings)
        self._sql = BatchSql()
        self._handles: list[JobHandle] = []

    @property
    def settings(self) -> Settings:
        """The settings that hold."""
        return self._resolved.settings

    # --- what a pipeline is and guarantees

    def explain(self, pipeline: Pipeline) -> str:
        """Return the plan as text: operators, then the guarantee of every part and the limiting one."""
        from krishiv_stream._plan.explain import explain

        return f"{explain(pipeline)}\n\n{self.guarantee(pipeline)}"

    async def explain_async(self, pipeline: Pipeline) -> str:
        """Like `explain`, awaited."""
        return await asyncio.to_thread(self.explain, pipeline)

    def guarantee(self, pipeline: Pipeline) -> GuaranteeReport:
        """Resolve what `pipeline` guarantees in this session; nothing is started."""
        return self._guarantee(pipeline, self._places.store(_job_name(pipeline, None)))

    async def guarantee_async(self, pipeline: Pipeline) -> GuaranteeReport:
        """Like `guarantee`, awaited."""
        return await asyncio.to_thread(self.guarantee, pipeline)

    # --- running

    def run(self, pipeline: Pipeline, **options: Unpack[RunOptions]) -> JobResult:
        """Run `pipeline` until it finishes or is stopped, and return how it ended.

        In the main thread, Ctrl-C and SIGTERM stop it with a final checkpoint, open windows kept.

        Raises
        ------
        GuaranteeError
            If `require` asks for more than the pipeline gives; the error holds the report. Nothing was started.
        KrishivError
            Whatever ended the job.
        """
        return block_on(self.run_async(pipeline, **options))

    async def run_async(self, pipeline: Pipeline, **options: Unpack[RunOptions]) -> JobResult:
        """Like `run`, awaited."""
        handle = await self.start_async(pipeline, **options)
        with _stopping_on_signals(handle):
            return await handle.wait_async()

    def start(self, pipeline: Pipeline, **options: Unpack[RunOptions]) -> JobHandle:
        """Start `pipeline` and return its handle at once."""
        return block_on(self.start_async(pipeline, **options))

    async def start_async(self, pipeline: Pipeline, **options: Unpack[RunOptions]) -> JobHandle:
        """Like `start`, awaited."""
        return await self.accept_plan_async(pipeline, **options)

    def accept_plan(self, plan: Pipeline, **options: Unpack[RunOptions]) -> JobHandle:
        """Hand a plan to the runtime; `start` and `run` are built on this."""
        return block_on(self.accept_plan_async(plan, **options))

    async def accept_plan_async(self, plan: Pipeline, **options: Unpack[RunOptions]) -> JobHandle:
        """Like `accept_plan`, awaited."""
        return await asyncio.to_thread(self._accept, plan, (), options)

    def start_with(
        self, plan: Pipeline, listeners: tuple[Callable[[CheckpointEvent], None], ...], options: RunOptions
    ) -> JobHandle:
        """Start with listeners that hear of every checkpoint: what the command line shows progress with."""
        return self._accept(plan, listeners, options)

    def start_in(self, store: CheckpointStore, plan: Pipeline, **options: Unpack[RunOptions]) -> JobHandle:
        """Start with the checkpoints in `store`: what tests of pipelines crash and restart with."""
        return self._accept(plan, (), options, store)

    def _accept(
        self,
        plan: Pipeline,
        listeners: tuple[Callable[[CheckpointEvent], None], ...],
        options: RunOptions,
        store: CheckpointStore | None = None,
    ) -> JobHandle:
        from krishiv_stream._runtime.embedded import EmbeddedJob

        submission = self._submission(plan, listeners, options, store)
        required = options.get("require")
        if required is not None:
            require_level(submission.report, Guarantee.parse(required))
        _log.info("job %s: %s", submission.job, submission.report.summary)
        job = EmbeddedJob(submission)
        job.start()
        handle = JobHandle(job)
        self._handles = [each for each in self._handles if not each.done]  # ended ones would keep their checkpoints
        self._handles.append(handle)
        return handle

    def _submission(
        self,
        plan: Pipeline,
        listeners: tuple[Callable[[CheckpointEvent], None], ...],
        options: RunOptions,
        store: CheckpointStore | None,
    ) -> Submission:
        from krishiv_stream._plan.identity import fingerprint, operator_ids, required_columns
        from krishiv_stream._runtime.submission import Submission

        for node in plan.sinks:
            node.sink.check(node.schema)
        name = _job_name(plan, options.get("job"))
        on_sink_ahead = options.get("on_sink_ahead", "refuse")
        own = self._places.store(name)
        return Submission(
            job=name,
            nodes=plan.nodes,
            ids=operator_ids(plan),
            columns=required_columns(plan),
            fingerprint=fingerprint(plan, self.settings.max_key_groups),
            settings=self.settings,
            report=self._guarantee(plan, own, duplicate_overlap=on_sink_ahead == "duplicate"),
            store=own if store is None else store,
            directory=self._places.local(name),
            restore=options.get("restore", "latest"),
            on_sink_ahead=on_sink_ahead,
            take_over=options.get("take_over", False),
            state_map=options.get("state_map", {}),
            drop_state=tuple(options.get("drop_state", ())),
            listeners=listeners,
        )

    def _guarantee(self, plan: Pipeline, store: CheckpointStore, *, duplicate_overlap: bool = False) -> GuaranteeReport:
        from krishiv_stream._guarantee_parts import guarantee_of
        from krishiv_stream._plan.identity import operator_ids

        return guarantee_of(plan.nodes, operator_ids(plan), self.settings, store, duplicate_overlap=duplicate_overlap)

    # --- batch SQL

    def register(self, name: str, table_or_source: pa.Table | pa.RecordBatch | Source[Any]) -> None:
        """Make a table, or the rows of a bounded source, known to SQL as `name`."""
        self._sql.register(name, table_or_source)

    def collect_batch_sql(self, text: str) -> pa.Table:
        """Run one batch query over the registered tables and return its rows."""
        return block_on(self.collect_batch_sql_async(text))

    async def collect_batch_sql_async(self, text: str) -> pa.Table:
        """Like `collect_batch_sql`, awaited."""
        return await self._sql.collect(text)

    def sql(self, text: str) -> Any:
        """Plan a streaming query.

        Raises
        ------
        NotAvailable
            Always: this build has batch SQL only.
        """
        raise NotAvailable(
            "streaming SQL is not available in this build",
            hint="use collect_batch_sql() for batch queries, or write the pipeline with ks.read(...)",
        )

    # --- life

    def close(self) -> None:
        """Cancel every job that still runs."""
        for handle in self._handles:
            if not handle.done:
                handle.cancel()
        self._handles.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _job_name(plan: Pipeline, given: str | None) -> str:
    name = given if given is not None else plan.name
    if not _JOB_NAME.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} cannot be a job's name",
            hint="letters, digits, '_', '.' and '-', beginning with a letter or digit, at most 100",
        )
    return name


def _ask_mode(coordinator: str) -> Any:
    raise NotAvailable(
        f"the coordinator at {coordinator} cannot be asked: this build has the embedded mode only",
        hint="unset KRISHIV_COORDINATOR to run embedded",
    )


@contextlib.contextmanager
def _stopping_on_signals(handle: JobHandle) -> Generator[None]:
    """While inside, Ctrl-C and SIGTERM stop the job; a second one has its usual effect."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous: dict[int, Any] = {}

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(number, previous[number])
        threading.Thread(target=handle.request_stop, name="ks-stop").start()

    for each in (signal.SIGINT, signal.SIGTERM):
        previous[each] = signal.signal(each, stop)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
