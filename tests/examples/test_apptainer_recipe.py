"""The Apptainer recipe, as far as it can be read without Apptainer."""

import re
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "examples" / "slurm" / "pokered.def"


def test_recipe_has_a_base_image_of_a_supported_python_and_scripts_that_parse():
    header, *parts = re.split(r"^%", RECIPE.read_text(), flags=re.MULTILINE)
    entries = dict(line.split(": ", 1) for line in header.splitlines() if line and not line.startswith("#"))
    assert entries["Bootstrap"] == "docker"
    version = re.fullmatch(r"python:3\.(\d+)-slim", entries["From"])
    assert version
    assert f'"Programming Language :: Python :: 3.{version[1]}"' in (ROOT / "pyproject.toml").read_text()
    sections = {name.strip(): body for name, _, body in (part.partition("\n") for part in parts)}
    assert set(sections) == {"files", "post", "runscript"}
    target = "/opt/pokered_rl"
    copied = dict(line.split() for line in sections["files"].splitlines() if line and not line.startswith("#"))
    for source, place in copied.items():
        assert (ROOT / source).exists()
        assert place == f"{target}/{source}"
    # What the build names, and nothing that may hold runs or a ROM of the user's.
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = needed["tool"]["hatch"]["build"]["targets"]["wheel"]
    project = needed["project"]
    assert set(copied) == {
        *("pyproject.toml", project["readme"], *project["license-files"], *wheel["packages"]),
        *wheel["force-include"],
    }
    assert f"install --no-cache-dir {target}\n" in sections["post"]
    for name in ("post", "runscript"):
        assert subprocess.run(["bash", "-n", "-c", sections[name]], check=False).returncode == 0
