"""Run seeds of the simulator: ``python -m tests.simulate --seeds 0:2000 [--mutant P4-abort] [--trace]``."""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
import time
from typing import TYPE_CHECKING

from tests.simulate.kernel import Stuck
from tests.simulate.mutants import MUTANTS
from tests.simulate.world import Violation, World, world_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; 1 if a seed failed (or, with a mutant, if none did)."""
    options = _parse(arguments)
    logging.disable(logging.CRITICAL)
    mutant = MUTANTS[options.mutant] if options.mutant else None
    began, failed = time.perf_counter(), list[int]()
    with mutant.applied() if mutant else contextlib.nullcontext():
        for seed in options.seeds:
            if not _survives(seed, trace=options.trace):
                failed.append(seed)
                if mutant:
                    break
    each = (time.perf_counter() - began) / len(options.seeds) * 1000
    print(f"{len(options.seeds)} seeds, {len(failed)} failed, {each:.0f} ms each")
    return int(bool(failed) != bool(mutant))


def _survives(seed: int, *, trace: bool) -> bool:
    world = world_of(seed)
    try:
        world.live()
    except (Violation, Stuck) as error:
        print(f"seed {seed}: {type(error).__name__}: {error}", file=sys.stderr)
        return False
    finally:
        if trace:
            print("\n".join(_told(seed, world)))
    return True


def _told(seed: int, world: World) -> Iterator[str]:
    yield f"seed {seed}: {world.plan}"
    yield from world.kernel.trace


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulate", description=__doc__)
    parser.add_argument("--seeds", type=_seeds, default=range(100), help="first:past-last, or one seed")
    parser.add_argument("--mutant", choices=sorted(MUTANTS), help="break a rule; succeeds if that is noticed")
    parser.add_argument("--trace", action="store_true", help="print what happened")
    return parser.parse_args(arguments)


def _seeds(text: str) -> range:
    first, colon, past = text.partition(":")
    return range(int(first), int(past) if colon else int(first) + 1)


if __name__ == "__main__":
    sys.exit(main())
