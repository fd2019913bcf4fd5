"""The program that runs the tutorial; the docs build runs the page itself."""

from docs._ext import tutorial


def test_blocks_run_in_one_session_and_their_outputs_replace_the_old_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    page = (
        "```python\n# tutorial_part.py\nA = 1\n```\n\n```python\n# tutorial_part.py, continued\nB = A + 1\n```\n\n"
        "```python\nimport tutorial_part\nprint('b is', tutorial_part.B)\n```\n\n```text\nold\n```\n\n"
        "```sh\nls *.py\n```\n\n```text\n```\n"
    )
    new = tutorial.renewed(page, tutorial.Session())
    assert new == page.replace("old\n", "b is 2\n").replace("```text\n```", "```text\ntutorial_part.py\n```")
    assert tutorial.words("takes 3.5 s") == tutorial.words("takes 17 s") != tutorial.words("took 3.5 s")


def test_page_has_six_steps_each_with_code_that_compiles():
    page = tutorial.PAGE.read_text()
    steps = page.split("\n## ")[1:7]
    assert [step[:2] for step in steps] == ["1.", "2.", "3.", "4.", "5.", "6."]
    for step in steps:
        blocks = tutorial._BLOCK.findall(step)
        assert any(output.strip() for _, _, output in blocks), "a step shows an output"
        for language, code, _ in blocks:
            if language == "python":
                compile(code, "tutorial", "exec")
