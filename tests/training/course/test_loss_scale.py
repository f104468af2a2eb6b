"""By how much a loss is multiplied."""

from danlu.training.course.loss_scale import FIRST, GROWS_AFTER, LEAST, LossScale


def test_a_scale_is_halved_as_soon_as_a_gradient_is_not_finite() -> None:
    assert LossScale(8.0, good=5).after(finite=False) == LossScale(4.0, good=0)


def test_a_scale_grows_after_many_good_steps_in_a_row() -> None:
    scale = LossScale()
    for _ in range(GROWS_AFTER - 1):
        scale = scale.after(finite=True)
    assert scale == LossScale(FIRST, GROWS_AFTER - 1)
    assert scale.after(finite=True) == LossScale(2 * FIRST, 0)


def test_a_scale_that_is_never_small_enough_is_lost() -> None:
    scale, halvings = LossScale(), 0
    while not scale.lost:
        scale, halvings = scale.after(finite=False), halvings + 1
    assert halvings == 27
    assert not LossScale(LEAST).lost
