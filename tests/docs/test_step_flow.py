import runpy
from pathlib import Path

PROGRAM = Path(__file__).parents[2] / "docs" / "benchmarks" / "step_flow.py"


def test_page_names_the_files_that_a_training_step_enters_in_order(tmp_path):
    program = runpy.run_path(str(PROGRAM))
    batch, update = program["files_of_a_step"](tmp_path)
    page = program["PAGE"].read_text()
    # Up to date with: python docs/benchmarks/step_flow.py --write
    assert page == program["page_with"](batch, update, page)
    assert batch[-1].startswith("data/")
    assert update[0].startswith("training/")
