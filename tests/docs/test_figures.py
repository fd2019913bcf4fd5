"""Figures, tables and pictures in README and docs are those of the committed measurements."""

import json
from xml.etree import ElementTree

import pytest

from docs._ext import figures, results
from docs._ext.drawings import DRAWINGS


def test_committed_pages_and_pictures_are_those_of_the_measurements_and_the_config():
    assert figures.problems() == []


def test_figure_is_renewed_from_its_file(tmp_path, monkeypatch):
    (tmp_path / "speed.json").write_text(json.dumps({"rows": [{"ratio": 1.234}]}))
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    text = "takes <!-- measured speed.json:rows.0.ratio:.1f -->9.9<!-- /measured --> times"
    assert figures.renewed(text) == text.replace("9.9", "1.2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a <!-- measured none.json:x -->1<!-- /measured -->", "no measurement docs/benchmarks/results/none.json"),
        ("a <!-- measured quickstart.json:x.y -->1<!-- /measured -->", "has no value 'x.y'"),
        ("a\n<!-- measured quickstart.json:commit -->1<!-- /measured -->", "a line begins with a figure"),
        ("{measured}`quickstart.json:commit`", "is no text for a reader of the file"),
        ("<!-- made nothing -->\n<!-- /made -->", "no table 'nothing'"),
    ],
)
def test_figure_without_measurement_is_refused(text, message):
    with pytest.raises(LookupError, match=message):
        figures.renewed(text)


@pytest.mark.parametrize("name", DRAWINGS)
def test_text_of_a_drawing_stays_in_its_box_and_on_the_canvas(name):
    drawing = DRAWINGS[name]()
    assert drawing.overflows() == []
    root = ElementTree.fromstring(drawing.file(name))
    assert root.get("viewBox") == f"0 0 {drawing.width} {drawing.height}"
