"""Aggregate functions as values: a function, what it is taken over, and which rows it counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datafusion import Expr

__all__ = ["Aggregate"]


@dataclass(frozen=True, eq=False)
class Aggregate:
    """One aggregate of a window.

    Parameters
    ----------
    function : str
        ``"count"``, ``"sum"``, ``"min"``, ``"max"``, ``"mean"``, ``"stddev"``, ``"variance"``, ``"count_distinct"``,
        ``"approx_distinct"``, ``"first"``, ``"last"`` or ``"collect_list"``.
    argument : Expr or None
        What it is taken over; None only for ``count`` of all rows.
    where : Expr or None
        Rows for which this is not true are left out.
    """

    function: str
    argument: Expr | None = None
    where: Expr | None = None
