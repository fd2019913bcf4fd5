"""The mask over Sprout's walkthrough: masked means without effect, and most that is without effect is masked."""

import importlib.util
import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

_spec = importlib.util.spec_from_file_location("mask_survey", Path(__file__).with_name("mask_survey.py"))
assert _spec is not None
assert _spec.loader is not None
survey = importlib.util.module_from_spec(_spec)
sys.modules["mask_survey"] = survey
_spec.loader.exec_module(survey)

_ROOT = Path(__file__).parents[2]


def _judge(found) -> None:
    total = found.total()
    assert total.wrong == []
    assert total.sideways == []
    assert total.masked >= 0.8 * total.idle
    assert total.wrong_with_memory == []
    assert total.masked_with_memory >= total.masked


def test_masked_buttons_do_nothing_up_to_the_first_fight(sprout):
    with survey.Survey(sprout) as found:
        found.run(survey.waiting_states(sprout, last="rival_1", letters=False, depth=2))
    _judge(found)
    assert set(found.rows) >= {"TEXT_WAITING", "YES_NO", "START_MENU", "LIST", "PARTY", "MOVE_LIST", "OPTIONS"}


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_masked_buttons_do_nothing_on_any_screen_of_the_walkthrough(sprout):
    with survey.Survey(sprout) as found:
        found.run(survey.waiting_states(sprout, last="hall_of_fame", letters=True, depth=3))
    if "POKERED_RESULTS" in os.environ:
        _write(found, Path(os.environ["POKERED_RESULTS"]) / "action_mask.json")
    _judge(found)
    assert set(found.rows) >= {kind.name for kind in survey.WAITING} - {"NAMING"}  # where nothing is masked


def _write(found, path: Path) -> None:
    """The table as a measurement of the documentation."""
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=_ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    rows = {name: asdict(row) for name, row in sorted({**found.rows, "total": found.total()}.items())}
    by_memory_alone = rows["total"]["wrong_with_memory"]
    for row in rows.values():
        for name in ("wrong", "wrong_with_memory", "sideways"):
            row[name] = len(row[name])
        row["presses"] = 8 * row["screens"]
        row["masked_percent"] = 100 * row["masked"] / max(row["idle"], 1)
        row["masked_with_memory_percent"] = 100 * row["masked_with_memory"] / max(row["idle"], 1)
    content = {
        "command": "POKERED_RESULTS=docs/benchmarks/results pytest -m long tests/envs/test_mask_over_walkthrough.py",
        "commit": commit,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {"processor": platform.machine(), "torch": torch.__version__},
        "samples": {name: row["screens"] for name, row in rows.items()},
        "rows": rows,
        "masked_by_memory_though_ram_changes": by_memory_alone,
    }
    scratch = path.with_suffix(".tmp")
    scratch.write_text(json.dumps(content, indent=1) + "\n")
    scratch.replace(path)
