"""Measure how close the library comes to its limits: the program ``docs/benchmarks``.

python examples/benchmark.py --quick --only env emulator
python examples/benchmark.py --sweep
"""

import runpy
from pathlib import Path

if __name__ == "__main__":
    runpy.run_path(str(Path(__file__).parents[1] / "docs" / "benchmarks"), run_name="__main__")
