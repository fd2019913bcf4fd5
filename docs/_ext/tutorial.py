"""Run the code blocks of the tutorial, and keep their outputs in the page.

    python -m docs._ext.tutorial            # run it, and compare the outputs word by word, without numbers
    python -m docs._ext.tutorial --write    # put the outputs into the page

A block whose first line is ``# NAME.py`` becomes that file (``# NAME.py, continued`` is added to it). All other
``python`` blocks run in one session, ``sh`` blocks in a shell; a ``text`` block that follows holds the output.
"""

import argparse
import contextlib
import io
import os
import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorial.md"
_BLOCK = re.compile(r"```(python|sh)\n(.*?)```\n(?:\n```text\n(.*?)```\n)?", re.DOTALL)
#: Lines that depend on the speed of the machine.
_PROGRESS = re.compile(r"(?m)^\S+: [\d,]+/[\d,]+ steps.*\n|^memory: .*\n|^.*━.*\n")


class Session:
    """Run blocks in the working directory."""

    def __init__(self) -> None:
        self.names: dict[str, object] = {"__name__": "__main__"}

    def __call__(self, language: str, code: str) -> str:
        """Run a block and return what it printed."""
        if language == "sh":
            command = [os.environ.get("SHELL", "/bin/sh"), "-c", code]
            done = subprocess.run(command, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
            return done.stdout + done.stderr
        if file := re.match(r"# (\w+\.py)(, continued)?\n", code):
            with Path(file[1]).open("a" if file[2] else "w") as target:
                target.write(("\n\n" if file[2] else "") + code[file.end() :])
            return ""
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, "tutorial", "exec"), self.names)
        return printed.getvalue()


def renewed(page: str, run: Callable[[str, str], str]) -> str:
    """Return the page with the outputs that its blocks have now."""

    def block(match: re.Match[str]) -> str:
        language, code, shown = match.groups()
        output = _PROGRESS.sub("", run(language, code)).replace(f"{ROOT}{os.sep}", "").strip()
        text = f"```{language}\n{code}```\n"
        return text if shown is None else f"{text}\n```text\n{output}\n```\n"

    return _BLOCK.sub(block, page)


def words(page: str) -> list[str]:
    """Return what must be the same on another machine: words without digits."""
    return re.sub(r"\S*\d\S*|[^A-Za-z_]+", " ", page).split()


def setup(app) -> dict[str, bool]:
    """Run the tutorial beside the reading of the sources; a draft does without."""
    from sphinx.util.logging import getLogger

    process: list[subprocess.Popen[str]] = []

    def begin(app) -> None:
        if app.builder.format == "html" and not os.environ.get("POKERED_DOCS_DRAFT"):
            command = [sys.executable, "-m", "docs._ext.tutorial"]
            process.append(
                subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            )

    def finish(app, env) -> None:
        for running in process:
            output = running.communicate()[0]
            if running.returncode:
                getLogger(__name__).warning("docs/tutorial.md does not run as it stands: %s", output[-2000:])

    app.connect("builder-inited", begin)
    app.connect("env-check-consistency", finish)
    return {"parallel_read_safe": True}


def main(argv: list[str] | None = None) -> int:
    """Run the page; see the module."""
    parser = argparse.ArgumentParser(description="Run the tutorial and compare its outputs.")
    parser.add_argument("--write", action="store_true", help="put the outputs into the page")
    write = parser.parse_args(argv).write
    page = PAGE.read_text()
    warnings.simplefilter("ignore")
    os.environ |= {"COLUMNS": "100", "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    os.environ.pop("POKERED_ROM", None)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        sys.path.insert(0, folder)
        new = renewed(page, Session())
    if write:
        PAGE.write_text(new)
    elif words(new) != words(page):
        sys.stdout.write(new)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
