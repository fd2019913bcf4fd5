import dataclasses

from docs._ext.config_reference import config_reference, field_comments
from pokered_rl.training.config import Config


def test_every_option_has_a_comment_and_stands_in_the_reference():
    text = config_reference()
    for section in dataclasses.fields(Config):
        value = section.default_factory()
        comments = field_comments(type(value))
        for option in dataclasses.fields(value):
            assert comments.get(option.name), f"{section.name}.{option.name} has no #: comment"
            assert f"**`{section.name}.{option.name}`**" in text


def test_range_and_fixed_options_are_shown():
    text = config_reference()
    entry = text[text.index("`loss.n_step`") :].split("\n\n")[0]
    assert "Range: >= 1." in entry
    assert "would invalidate the length of the stored sequences" in entry
