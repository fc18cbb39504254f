"""``krishiv-stream explain`` and ``check``: what a pipeline is, and what it guarantees, without running it."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from krishiv_guarantees import require as require_level
from krishiv_stream._cli._load import load_pipeline
from krishiv_stream._cli._options import Settings, given
from krishiv_stream._cli._output import Json, plain, print_json
from krishiv_stream._session import Session

__all__ = ["Require", "Target", "check", "explain"]

Target = Annotated[str, Parameter(help="module:name or path/to/file.py:name of the pipeline.")]
Require = Annotated[
    str | None,
    Parameter(help="Refuse unless the pipeline guarantees this: at_least_once, effectively_once or exactly_once."),
]


def explain(target: Target, *, json: Json = False, settings: Settings | None = None) -> None:
    """Show a pipeline's plan, the guarantee of every part, and the part that limits it."""
    pipeline = load_pipeline(target)
    with Session(**given(settings)) as session:
        if json:
            report = session.guarantee(pipeline)
            print_json({"plan": session.explain(pipeline).splitlines(), "guarantee": report.to_dict()})
        else:
            print(session.explain(pipeline))


def check(target: Target, *, require: Require = None, json: Json = False, settings: Settings | None = None) -> None:
    """Check a pipeline and the settings, and that it reaches a guarantee, without running it."""
    pipeline = load_pipeline(target)
    with Session(**given(settings)) as session:
        for sink in pipeline.sinks:
            sink.sink.check(sink.schema)
        report = session.guarantee(pipeline)
    if require is not None:
        require_level(report, require)
    if json:
        print_json({"pipeline": pipeline.name, "guarantee": plain(report.to_dict())})
        return
    print(f"{pipeline.name}: {report.summary}")
    for warning in report.warnings:
        print(f"  warning: {warning}")
