"""The command line: ``krishiv-stream``, also ``python -m krishiv_stream``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_DEBUG = "--debug"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code of the process.

    Parameters
    ----------
    arguments : sequence of str, optional
        What follows the program's name; None: what the process was started with.
    """
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    debug = _DEBUG in tokens
    return _dispatch([token for token in tokens if token != _DEBUG], debug=debug)


def _dispatch(tokens: list[str], *, debug: bool) -> int:
    from cyclopts import CycloptsError, CycloptsPanel

    from krishiv_guarantees import KrishivError
    from krishiv_stream._cli._app import build_app
    from krishiv_stream._cli._exits import Exit, exit_of
    from krishiv_stream._cli._output import console, print_error, print_trace

    try:
        result = build_app()(tokens)
    except CycloptsError as error:
        console(stderr=True).print(CycloptsPanel(error))
        return Exit.USAGE
    except KrishivError as error:
        if debug:
            print_trace(error)
        print_error(error, as_json="--json" in tokens)
        return exit_of(error)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has gone; nothing may be flushed into the pipe at exit.
        sys.stdout = None
        return Exit.OK
    except Exception as error:
        if debug:
            raise
        _print_defect(error)
        return Exit.DEFECT
    return result if isinstance(result, int) else Exit.OK


def _print_defect(error: Exception) -> None:
    from krishiv_stream._cli._output import console

    console(stderr=True).print(
        f"unexpected {type(error).__name__}: {error}\n"
        f"  this should not happen: run it again with {_DEBUG} to see where",
        markup=False,
    )
