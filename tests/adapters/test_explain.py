"""Errors of CANN's, explained: every one by its sign, the telling one before the general."""

import re

import pytest
from hypothesis import given, strategies as st

from danlu.adapters.devices.explain import explain
from danlu.adapters.devices.known_errors import KNOWN_ERRORS, KnownError

CHINESE = re.compile(r"[\u4e00-\u9fff]")
NO_CONTEXT = """synchronize:build/CMakeFiles/torch_npu.dir/compiler_depend.ts:487
NPU function error: aclrtSynchronizeStream, error code is 107002
[ERROR] 2026-01-01-00:00:00 (PID:1, Device:0, RankID:-1) ERR00100 PTA call acl api failed
[Error]: The context is empty.
EE1001: [PID: 1] The argument is invalid.Reason: rtStreamSynchronize execute failed"""
START_FAILED = """NPU function error: c10_npu::SetDevice(device_id_), error code is 507033
E30006: 2025-11-19-11:14:58.516.606 Failed to verify the OPP
tsd client wait response fail, device response code[1]. unknown device error.
Start aicpu executor failed, retCode=0x7020009"""


def named(text: str) -> str:
    explained = explain(text)
    return explained.known.id if explained else ""


@pytest.mark.parametrize("known", KNOWN_ERRORS, ids=lambda known: known.id)
def test_every_known_error_is_found_by_its_own_example(known: KnownError) -> None:
    assert named(known.example) == known.id


@pytest.mark.parametrize("known", KNOWN_ERRORS, ids=lambda known: known.id)
def test_every_known_error_speaks_both_languages_on_one_line_each(known: KnownError) -> None:
    for words in (known.what, known.why):
        assert words.en and not CHINESE.search(words.en)
        assert CHINESE.search(words.zh)
        assert "\n" not in words.en + words.zh
    assert "\n" not in known.command and known.command == known.command.strip()


def test_ids_are_unique() -> None:
    assert len({known.id for known in KNOWN_ERRORS}) == len(KNOWN_ERRORS)


@pytest.mark.parametrize(
    ("text", "known"),
    [
        (NO_CONTEXT, "no-context"),
        (START_FAILED, "operators-missing"),
        ("error code is 507899\nGetDeviceCount:Call drvGetDevNum, drvRetCode=87", "driver-87"),
        ("error code is 507899\nEE9999: Inner Error!", "driver-failed"),
        ("EL0003: The argument is invalid.\nEE9999: Inner Error!", "driver-refused"),
        ("HcclAllgather, error code is 6\nEI0006: Getting socket times out", "hccl-connect"),
        ("NPU function error: aclrtFoo, error code is 999999", "runtime-failed"),
    ],
)
def test_of_several_numbers_the_telling_one_is_explained(text: str, known: str) -> None:
    assert named(text) == known


@pytest.mark.parametrize(
    "text",
    [
        "",
        "KeyError: 'prompt'",
        "shape '[107002, 2]' is invalid for input of size 5",
        "the prompt has 207001 tokens",
        "The size of tensor a (507015) must match the size of tensor b (3)",
        "CUDA error: device-side assert triggered",
        "index 561002 is out of bounds",
        "\"addmm_impl_cpu_\" not implemented for 'BFloat16'",
    ],
)
def test_other_errors_are_not_taken_for_cann_s(text: str) -> None:
    assert explain(text) is None


def test_an_explanation_is_one_sentence_with_cause_sign_and_command() -> None:
    assert str(explain("x, error code is 207006")) == (
        "this user may not use the card (error code is 207006): the card's device files belong to "
        "the group HwHiAiUser; try `sudo usermod -aG HwHiAiUser $USER`"
    )
    assert "try" not in str(explain(NO_CONTEXT))


@given(st.text())
def test_whatever_an_error_says_an_explanation_is_one_line(text: str) -> None:
    assert "\n" not in str(explain(text) or "")
