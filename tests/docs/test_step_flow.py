import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parents[2] / "docs" / "benchmarks" / "step_flow.py"


def test_page_names_the_files_that_a_training_step_enters_in_order():
    # In a process of its own: what earlier tests have cached would not be entered again.
    done = subprocess.run([sys.executable, str(PROGRAM), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
