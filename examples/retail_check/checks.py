"""What a check is, and how its outcome is kept."""

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pokered_rl.errors import PokeredError


class CheckFailed(Exception):  # noqa: N818 - it is an outcome, not a fault of the program
    """The game did something else than the library says."""


@dataclass(frozen=True)
class Check:
    """One row of the table.

    Attributes:
        name: what was looked at.
        outcome: ``pass``, ``FAIL`` or ``not run``.
        detail: what was seen, in one line.
    """

    name: str
    outcome: str
    detail: str


@dataclass
class Report:
    """Runs checks one after the other; a failed one does not stop the others."""

    rows: list[Check] = field(default_factory=list)
    tracebacks: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return all(row.outcome != "FAIL" for row in self.rows)

    def run(self, name: str, check: Callable[[], tuple[str, Any]]) -> Any:
        """Runs ``check`` and keeps a row; returns its result, None if it failed.

        Args:
            name: of the row.
            check: returns the detail of its row and a result for later checks, or raises `CheckFailed`.
        """
        try:
            detail, result = check()
        except (CheckFailed, PokeredError) as error:
            self.rows.append(Check(name, "FAIL", _one_line(error)))
            return None
        except Exception as error:  # noqa: BLE001 - the owner of the game sends us the table: it has to get finished
            self.rows.append(Check(name, "FAIL", f"{type(error).__name__}: {_one_line(error)}"))
            self.tracebacks.append(traceback.format_exc())
            return None
        self.rows.append(Check(name, "pass", detail))
        return result

    def skip(self, name: str, reason: str) -> None:
        """Keeps a row for a check that was not run."""
        self.rows.append(Check(name, "not run", reason))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
