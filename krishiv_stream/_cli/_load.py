"""Finding the pipeline that a command names: ``module:name`` or ``path/to/file.py:name``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from krishiv_guarantees import KrishivError
from krishiv_stream._errors import PipelineNotFound

if TYPE_CHECKING:
    from types import ModuleType

    from krishiv_stream._plan.pipeline import Pipeline

__all__ = ["load_pipeline"]

_DEFAULT_NAME = "pipeline"
_HOW = "write module:name or path/to/file.py:name; without a name, 'pipeline' is looked for"


def load_pipeline(target: str) -> Pipeline:
    """Import what `target` names and return the pipeline in it.

    The name may be a pipeline, or a function without parameters that returns one. Modules are looked for in the
    working folder first.

    Raises
    ------
    PipelineNotFound
        If the module, the name or a pipeline under it is not there, or the module does not import.
    """
    place, _, name = target.rpartition(":") if ":" in target else (target, "", _DEFAULT_NAME)
    module = _import_file(Path(place), target) if place.endswith(".py") else _import_module(place, target)
    return _pipeline_in(module, name, target)


def _import_module(name: str, target: str) -> ModuleType:
    _look_first_in(Path.cwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _broken(target, error) from error
        raise _not_found(target, f"there is no module {error.name!r}") from None
    except KrishivError:
        raise
    except Exception as error:
        raise _broken(target, error) from error


def _import_file(path: Path, target: str) -> ModuleType:
    if not path.is_file():
        raise _not_found(target, f"there is no file {path}")
    _look_first_in(path.resolve().parent)
    # Under a name of its own: a file called json.py must not stand in for the library's.
    name = f"krishiv_pipeline_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise _not_found(target, f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except KrishivError:
        raise
    except Exception as error:
        raise _broken(target, error) from error
    return module


def _pipeline_in(module: ModuleType, name: str, target: str) -> Pipeline:
    from krishiv_stream._plan.pipeline import Pipeline

    found = getattr(module, name, None)
    if callable(found) and not isinstance(found, Pipeline):
        found = found()
    if isinstance(found, Pipeline):
        return found
    pipelines = [key for key, value in vars(module).items() if isinstance(value, Pipeline)]
    what = "has nothing called" if found is None else "has no pipeline called"
    listed = f"it has: {', '.join(pipelines)}" if pipelines else "a pipeline is what stream.write(sink) returns"
    raise PipelineNotFound(f"{target.rpartition(':')[0] or target} {what} {name!r}", hint=listed, target=target)


def _look_first_in(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _looked_in() -> list[str]:
    return [folder for folder in sys.path[:1] if folder]


def _not_found(target: str, message: str) -> PipelineNotFound:
    return PipelineNotFound(message, hint=_HOW, target=target)


def _broken(target: str, error: Exception) -> PipelineNotFound:
    frames = traceback.extract_tb(error.__traceback__)
    # The innermost line of the user's own, which may be above many of a library's.
    own = [frame for frame in frames if any(Path(frame.filename).is_relative_to(folder) for folder in _looked_in())]
    line = (own or frames)[-1]
    return PipelineNotFound(
        f"importing {target!r} failed: {type(error).__name__}: {error}",
        hint=f"raised at {line.filename}:{line.lineno}; --debug shows the whole traceback",
        target=target,
    )
