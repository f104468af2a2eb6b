"""Which versions belong together."""

import pytest

from danlu.cli.doctor.versions import CANN_OF, OLD_CHIPS, cann_age, pip_pair, release


@pytest.mark.parametrize(
    ("version", "shared"),
    [("2.7.1+cpu", "2.7.1"), ("2.7.1.post2", "2.7.1"), ("2.13.0", "2.13.0"), ("2.9.0rc1", "2.9.0")],
)
def test_torch_and_torch_npu_share_their_release(version: str, shared: str) -> None:
    assert release(version) == shared


def test_a_candidate_of_cann_is_older_than_what_it_became() -> None:
    ages = ["8.0.RC3", "8.0.0", "8.2.RC1", "8.2.RC1.alpha003", "8.3.RC1", "8.5.0", "9.0.0", "9.1.0"]
    assert [cann_age(v) for v in ages] == sorted(cann_age(v) for v in ages)
    assert cann_age("8.2.RC1") < cann_age("8.2.RC2") < cann_age("8.2.0")
    assert cann_age("unknown") < cann_age("5.0.2")


@pytest.mark.parametrize(
    ("torch", "cann", "wanted"),
    [
        ("2.9.0", "8.5.0", "torch_npu==2.9.0"),
        ("2.9.0", "9.1.0", "torch_npu==2.9.0.post3"),
        ("2.7.1+cpu", "9.0.0", "torch_npu==2.7.1.post4"),
        ("2.9.0", "8.2.RC1", "torch_npu==2.9.0"),  # none fits: the one that asks least
        ("2.13.0", "", "torch==2.13.0 torch_npu==2.13.0"),
        ("2.14.1", "8.5.0", "torch==2.9.0 torch_npu==2.9.0"),
        ("2.14.1", "7.0.0", "torch==2.6.0 torch_npu==2.6.0"),
    ],
)
def test_pip_is_asked_for_a_pair_that_fits_cann(torch: str, cann: str, wanted: str) -> None:
    assert pip_pair(torch, cann) == wanted


def test_of_one_release_a_later_torch_npu_never_wants_an_older_cann() -> None:
    names = list(CANN_OF)
    for one, later in zip(names, names[1:], strict=False):
        if release(one) == release(later):
            assert cann_age(CANN_OF[one]) <= cann_age(CANN_OF[later])


def test_a1_and_310p_are_old_and_a2_and_a3_are_not() -> None:
    assert all(OLD_CHIPS.search(n) for n in ("310P3", "310B4", "910A", "910B", "910ProB"))
    assert not any(
        OLD_CHIPS.search(n) for n in ("910B1", "910B3", "910B4", "Ascend910", "910_9362")
    )
