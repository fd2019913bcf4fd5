"""An archive of save states that the agent has reached, from which later episodes begin."""

from __future__ import annotations

import errno
import io
import json
import os
import pickle
import re
import shutil
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from pokered_rl.atomic import check_lock, write_atomically
from pokered_rl.emulator import SaveState
from pokered_rl.envs.start_states import StartSource, StartState
from pokered_rl.errors import CheckpointError, ConfigError, PokeredError
from pokered_rl.plain_files import read_plain_file

__all__ = ["ArchiveStarts", "Cell", "Level", "StateArchive", "cell_key", "level_of"]

_Floats = npt.NDArray[np.float64]

#: Share of the draws by success that go to the levels in which episodes from power-on have ended.
_STOP_SHARE = 0.4
#: An episode from power-on moves these levels' shares by this much.
_STOP_STEP = 0.02
#: Weight of a level whose next event is always or never reached, when it is new and after many episodes; half of the
#: difference is gone after so many.
_NEW_LEVEL, _OLD_LEVEL, _OLD_AFTER = 0.03, 0.005, 200
#: Added to the two levels with the most events: what lies beyond them is unknown.
_TOP_BONUS = 0.05
#: Weight of a cell from which the next event is always or never reached.
_CELL_FLOOR = 0.02
#: An outcome moves a level's success rate by this share.
_RATE_STEP = 0.1
#: Bounds on what the files of an archive may hold, far above what a run writes: a folder may be a stranger's.
_MAX_JOURNAL_BYTES, _MAX_STATE_BYTES, _MAX_CELLS, _MAX_EVENTS = 1 << 30, 16 << 20, 1_000_000, 4096
#: Names of cells, levels and states; the latter become names of files.
_CELL, _LEVEL, _STATE = (re.compile(each) for each in (r"[0-9a-f]{1,16}", r"\w{1,64}", r"\w+-[\w.-]{1,64}-\d{1,12}"))
#: What a record has beside ``do`` and ``key``: counts, names of cells and levels, names of states, other things.
_FIELDS: dict[str, tuple[str, ...]] = {
    "level": ("events",),
    "cell": ("level", "parent", "story", "map", "x", "y", "depth"),
    "state": ("name", "bytes", "depth"),
    "gone": ("name",),
    "start": (),
    "stop": (),
    "end": ("ok",),
}
#: The run that an archive belongs to.
_OWNER = "run.json"


@dataclass
class Cell:
    """A place in the story and on the map that the agent has reached."""

    #: Hash (hex) of what defines the cell.
    key: str
    #: Hash (hex) of its level.
    level: str
    #: Number of named events and badges at its first arrival.
    story: int
    #: Map and tile of the first arrival.
    map_id: int
    x: int
    y: int
    #: Agent steps from power-on to the cheapest of its states.
    depth_steps: int
    #: Key of the cell with a state that came before it; empty for power-on.
    parent: str
    #: Names of its states: files of the archive's folder, or entries in memory.
    states: list[str] = field(default_factory=list)
    #: Episodes that began here, those whose outcome is known, and those that got further (to another event or badge).
    starts: int = 0
    ends: int = 0
    successes: int = 0


class StateArchive:
    """Cells with save states, drawn from where progress is uncertain (Go-Explore, Ecoffet et al. 2021).

    A *level* is a set of badges, required events and the last few other events; p is the moving rate at which its
    episodes reached a further event or badge. ``bottleneck_share`` of the draws first choose a level: 40 % of them
    by the share of the episodes from power-on that have ended in it lately, times 1 - p, the others by p (1 - p) and a
    floor that falls with the episodes. They then choose a cell of the level by p (1 - p) of its own counts, so that
    starts move backwards from the event as the agent learns to reach it (Salimans & Chen 2018). All other draws choose
    among all cells by 1 / sqrt(1 + starts).

    With a ``folder`` the archive is shared: each writer appends what it does to a journal of its own and reads the
    journals of the others (:meth:`refresh`). States are files that are written once. Without a folder it lives in
    memory.

    Args:
        folder: Shared folder; None keeps everything in memory.
        writer: Name of this process among those that share the folder.
        bottleneck_share: Share of draws by success, 0 to 1.
        states_per_cell: States kept for a cell.
        max_states: States kept in all.
        max_bytes: Bytes of states kept in all.
        refresh_seconds: Seconds between two looks at the journals of the others.

    Raises:
        ConfigError: A share or bound is out of range.
    """

    def __init__(
        self,
        *,
        folder: str | os.PathLike[str] | None = None,
        writer: str = "0",
        bottleneck_share: float = 0.7,
        states_per_cell: int = 3,
        max_states: int = 8192,
        max_bytes: int = 512 << 20,
        refresh_seconds: float = 2.0,
    ) -> None:
        if not 0 <= bottleneck_share <= 1:
            raise ConfigError(f"bottleneck_share must be in [0, 1], got {bottleneck_share}")
        if min(states_per_cell, max_states, max_bytes) < 1:
            raise ConfigError(
                "states_per_cell, max_states and max_bytes must be >= 1, got "
                f"{states_per_cell}, {max_states} and {max_bytes}"
            )
        self.folder = None if folder is None else Path(folder)
        self.writer = writer
        self.bottleneck_share = bottleneck_share
        self.states_per_cell = states_per_cell
        self.max_states = max_states
        self.max_bytes = max_bytes
        self._refresh_seconds = refresh_seconds
        self._refreshed_at = -float("inf")
        self.reset()

    def reset(self) -> None:
        """Forget everything in memory; files stay."""
        self.cells: dict[str, Cell] = {}
        #: Moving success rate of each level: share of its episodes that got further.
        self.level_rates: dict[str, float] = {}
        #: Moving share of each level among those in which episodes from power-on ended.
        self.level_stops: dict[str, float] = {}
        #: Bits of the events of each level, ascending.
        self.level_events: dict[str, tuple[int, ...]] = {}
        self._contents: dict[str, bytes] = {}
        self._sizes: dict[str, int] = {}
        self._positions: dict[str, int] = {}
        self._made = 0
        self._table: _Table | None = None

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def num_states(self) -> int:
        """States kept."""
        return len(self._sizes)

    @property
    def num_bytes(self) -> int:
        """Bytes of the states kept."""
        return sum(self._sizes.values())

    # What changes the archive is a record: applied in memory, and written to the journal.

    def add_level(self, level: Level) -> None:
        """Note a level that was reached for the first time."""
        self._record({"do": "level", "key": level.key, "events": list(level.events)})

    def add_cell(
        self, key: str, *, level: str, story: int, map_id: int, x: int, y: int, depth_steps: int, parent: str = ""
    ) -> None:
        """Note a cell that was reached for the first time; it has no state yet."""
        cell = Cell(key, level, story, map_id, x, y, depth_steps, parent)
        self._record(_cell_record(cell))

    def add_state(self, key: str, state: SaveState, memory: Mapping[str, Any], *, depth_steps: int) -> None:
        """Keep a state of a cell; beyond ``states_per_cell`` it takes the place of the oldest one.

        Args:
            key: A known cell.
            state: The emulator.
            memory: What the transforms remember: nested dicts of tensors and plain values.
            depth_steps: Agent steps from power-on.
        """
        self._made += 1
        name = f"{key}-{self.writer}-{self._made}"
        content = io.BytesIO()
        torch.save({"state": _bytes_tensor(state.to_bytes()), "memory": dict(memory), "depth": depth_steps}, content)
        data = content.getvalue()
        if self.folder is None:
            self._contents[name] = data
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            # The name is new and becomes known by the journal's line, after it is whole: no renaming, no flush.
            path = self.folder / f"{name}.state"
            check_lock(path)
            path.unlink(missing_ok=True)  # of a job that went on from here before and was lost
            with path.open("xb") as file:
                file.write(data)
        self._record({"do": "state", "key": key, "name": name, "bytes": len(data), "depth": depth_steps})
        cell = self.cells[key]
        for old in cell.states[: -self.states_per_cell]:
            self._drop(old)
        if self.num_states > self.max_states or self.num_bytes > self.max_bytes:
            self._evict()

    def add_outcome(self, key: str, *, success: bool) -> None:
        """Note how an episode that began in a cell ended: whether it reached a further event or badge."""
        self._record({"do": "end", "key": key, "ok": int(success)})

    def add_stop(self, level: str) -> None:
        """Note that an episode from power-on ended in a level."""
        self._record({"do": "stop", "key": level})

    def add_start(self, key: str) -> None:
        """Note that an episode began in a cell."""
        self._record({"do": "start", "key": key})

    def knows_level(self, level: str) -> bool:
        """Return whether any cell is of this level."""
        return level in self.level_events

    def draw(self, generator: np.random.Generator) -> StartState | None:
        """Draw where an episode begins; None while the archive has no state."""
        self.refresh()
        for _ in range(8):  # a state may be gone: another process has given it up
            table = self._drawn_from()
            if table is None:
                return None
            bottleneck = generator.random() < self.bottleneck_share
            weights = table.bottleneck(self) if bottleneck else table.novelty()
            cell = table.cells[_choose(weights, generator)]
            name = cell.states[int(generator.integers(len(cell.states)))]
            start = self._load(cell, name)
            if start is not None:
                self.add_start(cell.key)
                return start
            self._drop(name)
        return None

    def start_in(self, cell: Cell) -> StartState | None:
        """Return the start in the newest state of a cell, or None where it is gone."""
        return self._load(cell, cell.states[-1]) if cell.states else None

    def refresh(self, *, now: bool = False) -> None:
        """Take in what other writers have added since the last look."""
        if self.folder is None or not self.folder.is_dir():
            return
        clock = time.monotonic()
        if not now and clock - self._refreshed_at < self._refresh_seconds:
            return
        self._refreshed_at = clock
        for path in sorted(self.folder.glob("*.jsonl")):
            if path.stem != self.writer:
                self._read(path)

    def load(self) -> None:
        """Read the whole folder, this writer's journal included; an archive in memory stays as it is.

        Raises:
            CheckpointError: A journal cannot be read, or holds what no archive writes.
        """
        if self.folder is None:
            return
        self.reset()
        if self.folder.is_dir():
            for path in sorted(self.folder.glob("*.jsonl")):
                self._read(path)

    def claim(self, run_id: str) -> None:
        """Note the run that the folder belongs to.

        Raises:
            CheckpointError: It belongs to another one.
        """
        assert self.folder is not None
        path = self.folder / _OWNER
        try:
            owner = json.loads(read_plain_file(path, max_bytes=4096))["run"]
        except FileNotFoundError:
            write_atomically(path, json.dumps({"run": run_id}).encode())
            return
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{path} cannot be read: {error}") from error
        if owner != run_id:
            raise CheckpointError(
                f"the archive of states in {self.folder} is of another run (id {str(owner)[:40]}, this run has"
                f" {run_id}): move it away, or begin a run with curriculum.source"
            )

    def copy_to(self, folder: Path) -> int:
        """Copy the states of this folder into a new one, without the counts of their cells; return how many they are.

        At most ``max_states`` and ``max_bytes`` are copied.

        Raises:
            FileNotFoundError: There is no archive in this folder.
            CheckpointError: A file is a symbolic link, or holds what no archive writes.
        """
        if self.folder is None or not self.folder.is_dir():
            raise FileNotFoundError(errno.ENOENT, "no archive", str(self.folder))
        self.load()
        staging = folder.with_name(f".{folder.name}.writing")
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        lines: list[dict[str, Any]] = [
            {"do": "level", "key": level, "events": events} for level, events in self.level_events.items()
        ]
        num_states = num_bytes = 0
        for cell in self.cells.values():
            lines.append(_cell_record(cell))
            for name in cell.states:
                try:
                    data = _read_state(self.folder / f"{name}.state")
                except FileNotFoundError:
                    continue
                if num_states == self.max_states or num_bytes + len(data) > self.max_bytes:
                    continue
                num_states, num_bytes = num_states + 1, num_bytes + len(data)
                (staging / f"{name}.state").write_bytes(data)
                lines.append(
                    {"do": "state", "key": cell.key, "name": name, "bytes": len(data), "depth": cell.depth_steps}
                )
        (staging / "source.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        staging.rename(folder)
        return num_states

    def state_dict(self) -> dict[str, Any]:
        """Return how far the journals have been read, or the whole archive where there is no folder."""
        if self.folder is not None:
            return {"positions": dict(self._positions), "made": self._made}
        return {
            "cells": json.dumps([vars(cell) for cell in self.cells.values()]),
            "levels": json.dumps(self.level_events),
            "rates": dict(self.level_rates),
            "stops": dict(self.level_stops),
            "contents": {name: _bytes_tensor(data) for name, data in self._contents.items()},
            "made": self._made,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`; what this writer added later is removed from its journal."""
        self.reset()
        if self.folder is None:
            self.cells = {cell["key"]: Cell(**cell) for cell in json.loads(state["cells"])}
            self.level_events = {level: tuple(events) for level, events in json.loads(state["levels"]).items()}
            self.level_rates = dict(state["rates"])
            self.level_stops = dict(state["stops"])
            self._contents = {name: data.numpy().tobytes() for name, data in state["contents"].items()}
            self._sizes = {name: len(data) for name, data in self._contents.items()}
        else:
            positions = state["positions"]
            own = self._journal(self.writer)
            _refuse_link(own)
            if own.is_file() and own.stat().st_size > positions.get(self.writer, 0):
                os.truncate(own, positions.get(self.writer, 0))
            for name, position in positions.items():
                self._read(self._journal(name), until=position)
        self._made = state["made"]

    def _journal(self, writer: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{writer}.jsonl"

    def _record(self, record: dict[str, Any]) -> None:
        self._apply(record)
        if self.folder is not None:
            line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
            path = self._journal(self.writer)
            check_lock(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            _refuse_link(path)
            with path.open("ab") as file:
                file.write(line)
                self._positions[self.writer] = file.tell()

    def _read(self, path: Path, *, until: int | None = None) -> None:
        begin = self._positions.get(path.stem, 0)
        _refuse_link(path)
        try:
            if path.exists() and not path.is_file():
                raise CheckpointError(f"{path} is not a regular file")
            with path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                if size > _MAX_JOURNAL_BYTES:
                    raise CheckpointError(f"{path} has {size} bytes, at most {_MAX_JOURNAL_BYTES} are read")
                if size <= begin:
                    self._positions[path.stem] = min(begin, size)
                    return
                file.seek(begin)
                data = file.read((size if until is None else min(until, size)) - begin)
        except FileNotFoundError:
            return
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read: {error}") from error
        data = data[: data.rfind(b"\n") + 1]  # a line that is being written is read next time
        for line in data.splitlines():
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                continue  # cut short by a crash
            if not _is_record(record) or len(self.cells) > _MAX_CELLS:
                raise CheckpointError(
                    f"{path} is no journal of an archive: {line[:80].decode(errors='replace')!r}; move the archive away"
                )
            self._apply(record)
        self._positions[path.stem] = begin + len(data)

    def _apply(self, record: Mapping[str, Any]) -> None:
        key, what = record["key"], record["do"]
        cell = self.cells.get(key)
        if what == "level":
            self.level_events[key] = tuple(record["events"])
            return
        if what == "stop":
            self.level_stops = {level: (1 - _STOP_STEP) * share for level, share in self.level_stops.items()}
            self.level_stops[key] = self.level_stops.get(key, 0.0) + _STOP_STEP
            return
        if what == "cell":
            if cell is None:
                self.cells[key] = Cell(
                    key=key,
                    level=record["level"],
                    story=int(record["story"]),
                    map_id=int(record["map"]),
                    x=int(record["x"]),
                    y=int(record["y"]),
                    depth_steps=int(record["depth"]),
                    parent=record["parent"],
                )
        elif what == "gone":
            self._forget(record["name"])
        elif cell is None:
            return
        elif what == "state":
            cell.states.append(record["name"])
            cell.depth_steps = min(cell.depth_steps, int(record["depth"]))
            self._sizes[record["name"]] = int(record["bytes"])
        elif what == "start":
            cell.starts += 1
            if self._table is not None:
                self._table.count(cell)
            return
        elif what == "end":
            cell.ends += 1
            cell.successes += record["ok"]
            rate = self.level_rates.get(cell.level, 0.5)
            self.level_rates[cell.level] = rate + _RATE_STEP * (record["ok"] - rate)
            if self._table is not None:
                self._table.count(cell)
            return
        if what != "cell":
            self._table = None

    def _drop(self, name: str) -> None:
        """Give up a state here and in the folder."""
        if self.folder is not None:
            check_lock(self.folder / name)
            (self.folder / f"{name}.state").unlink(missing_ok=True)
        self._record({"do": "gone", "key": name.split("-")[0], "name": name})

    def _forget(self, name: str) -> None:
        self._contents.pop(name, None)
        self._sizes.pop(name, None)
        cell = self.cells.get(name.split("-")[0])
        if cell is not None and name in cell.states:
            cell.states.remove(name)

    def _evict(self) -> None:
        """Give up the least useful states until a tenth of the room is free; each level keeps one."""
        table = self._drawn_from()
        assert table is not None
        usefulness = table.bottleneck(self) + 1e-3 * table.novelty()
        per_level: dict[str, int] = {}
        for cell in table.cells:
            per_level[cell.level] = per_level.get(cell.level, 0) + 1
        for index in np.argsort(usefulness):
            if self.num_states <= 0.9 * self.max_states and self.num_bytes <= 0.9 * self.max_bytes:
                break
            cell = table.cells[index]
            if per_level[cell.level] > 1:
                per_level[cell.level] -= 1
                for name in list(cell.states):
                    self._drop(name)

    def _drawn_from(self) -> _Table | None:
        if self._table is None:
            cells = [cell for cell in self.cells.values() if cell.states]
            self._table = _Table(cells) if cells else None
        return self._table

    def _load(self, cell: Cell, name: str) -> StartState | None:
        try:
            data = self._contents.get(name) if self.folder is None else _read_state(self.folder / f"{name}.state")
        except FileNotFoundError:
            data = None
        if data is None:
            return None
        try:
            tree = torch.load(io.BytesIO(data), weights_only=True)
            state, memory = SaveState.from_bytes(tree["state"].numpy().tobytes()), dict(tree["memory"])
            depth_steps = int(tree["depth"])
        except (
            *(ValueError, RuntimeError, OSError, EOFError, pickle.UnpicklingError, PokeredError),
            *(KeyError, TypeError, AttributeError, OverflowError),
        ) as error:
            # A crash of the machine can leave part of a file.
            warnings.warn(f"the archived state {name} in {self.folder} is left out: {error}", stacklevel=2)
            return None
        return StartState(
            name=f"cell {cell.key}",
            state=state,
            weight=1.0,
            memory=memory,
            depth_steps=depth_steps,
            cell=cell.key,
        )


class ArchiveStarts:
    """Start states for an environment: some of its emulators begin at power-on, the others in an archive.

    A fixed part of the emulators, spread evenly over their numbers, always begins with the given start states: shares
    of draws would give nearly all steps to the long episodes. The episodes of the others are truncated after
    ``max_steps`` unless they are extended.

    Args:
        archive: The archive.
        starts: Power-on, or what the user gave instead.
        power_on_share: Share of the emulators that do not begin in the archive, 0 to 1.
        max_steps: First limit of the archived episodes in agent steps.
        power_on_max_steps: The same of the others; None for episodes of full length.

    Raises:
        ConfigError: The share is out of range.
    """

    def __init__(
        self,
        archive: StateArchive,
        starts: StartSource,
        *,
        power_on_share: float = 0.25,
        max_steps: int = 160,
        power_on_max_steps: int | None = None,
    ) -> None:
        if not 0 <= power_on_share <= 1:
            raise ConfigError(f"power_on_share must be in [0, 1], got {power_on_share}")
        self.archive = archive
        self.starts = starts
        self.power_on_share = power_on_share
        self.max_steps = max_steps
        self.power_on_max_steps = power_on_max_steps

    def draw(self, generator: np.random.Generator, *, emulator: int = 0, num_emulators: int = 1) -> StartState:
        """Draw the start of an episode of ``emulator``."""
        share = self.power_on_share
        if share * num_emulators < 1:  # too few emulators to set one aside
            from_power_on = generator.random() < share
        else:
            from_power_on = int((emulator + 1) * share) > int(emulator * share)
        archived = None if from_power_on else self.archive.draw(generator)
        if archived is not None:
            return archived._replace(max_steps=self.max_steps)
        start = self.starts.draw(generator)
        return start._replace(max_steps=self.power_on_max_steps if from_power_on else self.max_steps)


class _Table:
    """The cells that have states, as arrays."""

    def __init__(self, cells: list[Cell]) -> None:
        self.cells = cells
        self.starts = np.array([cell.starts for cell in cells], np.float64)
        self.ends = np.array([cell.ends for cell in cells], np.float64)
        self.successes = np.array([cell.successes for cell in cells], np.float64)
        self._index = {cell.key: index for index, cell in enumerate(cells)}
        story: dict[str, int] = {}
        for cell in cells:
            story[cell.level] = max(cell.story, story.get(cell.level, 0))
        self.levels = sorted(story, key=lambda level: (story[level], level), reverse=True)
        of_level = {level: number for number, level in enumerate(self.levels)}
        self._level = np.array([of_level[cell.level] for cell in cells])
        maps = sorted({(cell.level, cell.map_id) for cell in cells})
        of_map = {place: number for number, place in enumerate(maps)}
        self._map = np.array([of_map[cell.level, cell.map_id] for cell in cells])

    def count(self, cell: Cell) -> None:
        """Take in new counts of a cell."""
        index = self._index.get(cell.key)
        if index is not None:
            self.starts[index], self.ends[index], self.successes[index] = cell.starts, cell.ends, cell.successes

    def novelty(self) -> _Floats:
        """Return the weight of each cell in a draw by novelty: at most 1."""
        weight: _Floats = 1 / np.sqrt(1 + self.starts)
        return weight

    def bottleneck(self, archive: StateArchive) -> _Floats:
        """Return the probability of each cell in a draw by success."""
        rate = np.array([archive.level_rates.get(name, 0.5) for name in self.levels])
        ends = np.bincount(self._level, weights=self.ends, minlength=len(rate))
        level = rate * (1 - rate) + _OLD_LEVEL + (_NEW_LEVEL - _OLD_LEVEL) / (1 + ends / _OLD_AFTER)
        level[:2] += _TOP_BONUS
        level /= level.sum()
        stops = np.array([archive.level_stops.get(name, 0.0) for name in self.levels]) * (1 - rate)
        if stops.any():
            level = (1 - _STOP_SHARE) * level + _STOP_SHARE * stops / stops.sum()
        # Laplace's rule for a map in a level, whose rate is what is expected of a cell there (as two episodes).
        reached, tried = (np.bincount(self._map, weights=counts) for counts in (self.successes, self.ends))
        expected = (reached + 1) / (tried + 2)
        success = (self.successes + 2 * expected[self._map]) / (self.ends + 2)
        cell = success * (1 - success) + _CELL_FLOOR / np.sqrt(1 + self.starts)
        total = np.bincount(self._level, weights=cell, minlength=len(level))
        probability: _Floats = (level / total)[self._level] * cell
        return probability


class Level(NamedTuple):
    """A set of events and badges."""

    #: Hash (hex) of the set.
    key: str
    #: Bits of the events, ascending.
    events: tuple[int, ...]


@lru_cache(maxsize=4096)
def level_of(event_bytes: bytes, badge_bits: int) -> Level:
    """Return the level of the bytes of event flags and the badge bits."""
    bits = np.flatnonzero(np.unpackbits(np.frombuffer(event_bytes, np.uint8), bitorder="little")).tolist()
    return Level(f"{_hash(event_bytes, badge_bits):016x}", tuple(bits))


@lru_cache(maxsize=65536)
def cell_key(level: Level, *parts: int) -> int:
    """Return 64 bits, not 0, for the cell of a level that the numbers ``parts`` describe."""
    return _hash(level.key.encode(), *parts) or 1


def _hash(start: bytes, *parts: int) -> int:
    digest = blake2b(start, digest_size=8)
    for part in parts:
        digest.update(part.to_bytes(8, "little", signed=True))
    return int.from_bytes(digest.digest(), "little")


def _refuse_link(path: Path) -> None:
    if path.is_symlink():
        raise CheckpointError(f"{path} is a symbolic link; an archive of states holds files only: copy the file itself")


def _read_state(path: Path) -> bytes:
    try:
        return read_plain_file(path, max_bytes=_MAX_STATE_BYTES)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise CheckpointError(f"{path} {error.strerror}; an archive of states holds files only") from error


def _is_record(record: Any) -> bool:
    """Return whether a line of a journal is one that an archive writes."""
    if not isinstance(record, dict) or record.get("do") not in _FIELDS:
        return False
    return all(name in record and _is_valid(name, record[name], record) for name in ("key", *_FIELDS[record["do"]]))


def _is_valid(name: str, value: Any, record: Mapping[str, Any]) -> bool:
    if name in ("key", "level", "parent"):
        pattern = _LEVEL if name == "level" or record["do"] in ("level", "stop") else _CELL
        return isinstance(value, str) and (bool(pattern.fullmatch(value)) or (name == "parent" and not value))
    if name == "name":  # becomes the name of a file
        return isinstance(value, str) and bool(_STATE.fullmatch(value)) and value.split("-")[0] == record["key"]
    if name == "events":
        return isinstance(value, list) and len(value) <= _MAX_EVENTS and all(map(_is_count, value))
    return _is_count(value) and (name != "ok" or value <= 1)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**53


def _cell_record(cell: Cell) -> dict[str, Any]:
    return {
        "do": "cell",
        "key": cell.key,
        "level": cell.level,
        "story": cell.story,
        "map": cell.map_id,
        "x": cell.x,
        "y": cell.y,
        "depth": cell.depth_steps,
        "parent": cell.parent,
    }


def _choose(weights: _Floats, generator: np.random.Generator) -> int:
    cumulated = np.cumsum(weights)
    return int(np.searchsorted(cumulated, generator.random() * cumulated[-1], side="right").clip(max=len(weights) - 1))


def _bytes_tensor(data: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)
