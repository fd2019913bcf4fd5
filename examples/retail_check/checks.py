"""What a check is, and how its outcome is kept."""

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pokered_rl.errors import PokeredError


class CheckFailed(Exception):  # noqa: N818 - it is an outcome, not a fault of the program
    """The game did something else than the library says."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What the library believes about the game.

    Attributes:
        expected: What has to be seen, in one line.
        source: Where the library has it from; files are those of pret/pokered.
    """

    expected: str
    source: str


@dataclass(frozen=True)
class Check:
    """A line of the table.

    Attributes:
        name: What was looked at.
        outcome: ``pass``, ``FAIL`` or ``not run``.
        expected: What had to be seen.
        source: Where that comes from.
        seen: What was seen, or why nothing was.
    """

    name: str
    outcome: str
    expected: str
    source: str
    seen: str


@dataclass
class Report:
    """Runs checks one after the other; a failed one does not stop the others."""

    claims: dict[str, Claim]
    lines: list[Check] = field(default_factory=list)
    tracebacks: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return all(line.outcome != "FAIL" for line in self.lines)

    def run(self, name: str, check: Callable[[], tuple[str, Any]]) -> Any:
        """Run ``check`` and keep a line; return its result, None if it failed.

        Args:
            name: Of the line and of its claim.
            check: Returns what was seen and a result for later checks, or raises :class:`CheckFailed`.
        """
        try:
            seen, result = check()
        except (CheckFailed, PokeredError) as error:
            self._keep(name, "FAIL", _one_line(error))
            return None
        except Exception as error:  # noqa: BLE001 - the owner of the game sends us the table: it has to get finished
            self._keep(name, "FAIL", f"{type(error).__name__}: {_one_line(error)}")
            self.tracebacks.append(traceback.format_exc())
            return None
        self._keep(name, "pass", seen)
        return result

    def skip(self, name: str, reason: str) -> None:
        """Keep a line for a check that was not run."""
        self._keep(name, "not run", reason)

    def _keep(self, name: str, outcome: str, seen: str) -> None:
        claim = self.claims[name]
        self.lines.append(Check(name, outcome, claim.expected, claim.source, seen))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
