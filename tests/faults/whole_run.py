"""What has to hold of a run folder whenever no job works in it, whatever ended the last one."""

import csv
import json
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from tensordict import TensorDict

from pokered_rl.episodes import EpisodeLog
from pokered_rl.training.checkpoint import CheckpointStore, load_tensors


class WholeRun:
    """Looks at a run folder after each job and remembers what it saw.

    Args:
        run: The run folder.
    """

    def __init__(self, run: Path) -> None:
        self.run = run
        self._logs: dict[Path, bytes] = {}

    def check(self) -> dict[str, Any]:
        """Fails the test if something is lost, overwritten, half-written or wrongly paired; returns what it counted."""
        lost = [path.name for path, content in self._logs.items() if not path.is_file() or path.read_bytes() != content]
        assert lost == [], "an episode log of an earlier job was lost or overwritten"
        new = set((self.run / "episode_logs").glob("*.episode")) - set(self._logs)
        for path in new:
            EpisodeLog.load(path)  # raises for a damaged one
        self._logs |= {path: path.read_bytes() for path in new}

        progress = json.loads((self.run / "progress.json").read_text())
        for line in (self.run / "jobs.jsonl").read_text().splitlines():
            json.loads(line)
        for table in (self.run / "metrics").glob("*.csv"):
            text = table.read_text()
            rows = list(csv.reader(text[: text.rfind("\n") + 1].splitlines()))  # the next job drops an unfinished row
            assert {len(row) for row in rows} <= {len(rows[0])}, table
        if (self.run / "online_params.pt").is_file():
            load_tensors(self.run / "online_params.pt")
        run_id = OmegaConf.load(self.run / "config.yaml").run.id
        checkpoint = CheckpointStore(self.run / "checkpoints", run_id=run_id).newest()
        if checkpoint is None:
            return {"logs": len(self._logs), "newer_rows": 0}
        checkpoint.state()
        return {
            "logs": len(self._logs),
            "newer_rows": self._newer_rows(checkpoint.path / "replay"),
            "checkpoint_steps": checkpoint.steps,
            "steps_back": max(0, progress["steps"] - checkpoint.steps),
            "checkpoint_written_at": (checkpoint.path / "manifest.json").stat().st_mtime,
        }

    def _newer_rows(self, saved: Path) -> int:
        """How many rows are newer than the checkpoint; every other row is the one that its priority was made for."""
        metadata = json.loads((saved / "replay.json").read_text())
        if not metadata["length"]:
            return 0
        cursor = json.loads((saved / "writer" / "metadata.json").read_text())["cursor"]
        serials = TensorDict.load_memmap(self.run / "replay")["serial"][: metadata["length"]].tolist()
        count, capacity = metadata["write_count"], metadata["capacity_sequences"]
        newer = 0
        for slot, serial in enumerate(serials):
            if serial >= count:  # such a row is taken out of use when the replay is opened again
                newer += 1
                continue
            # The last write before the checkpoint went to the slot before the cursor, and so on backwards.
            assert serial == count - 1 - (cursor - 1 - slot) % capacity, "a priority belongs to another row"
        return newer
