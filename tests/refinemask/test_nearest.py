"""The name that was probably meant."""

from refinemask.nearest import nearest


def test_the_nearest_name_is_named_and_a_far_one_is_not() -> None:
    assert nearest("evalute", ["train", "evaluate"]) == " (did you mean 'evaluate'?)"
    assert nearest("fly", ["train", "evaluate"]) == ""
