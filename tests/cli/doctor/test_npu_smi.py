"""What npu-smi prints, on the chips that print it differently."""

from hypothesis import given, strategies as st

from danlu.cli.doctor.facts import Card, Process
from danlu.cli.doctor.npu_smi import cards_in

A2 = """\
+------------------------------------------------------------------------------------------------+
| npu-smi 24.1.0                   Version: 24.1.0                                               |
+---------------------------+---------------+----------------------------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip                      | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
| 2     910B4               | OK            | 87.8        44                0    / 0             |
| 0                         | 0000:C2:00.0  | 0           0    / 0          2847 / 32768         |
+===========================+===============+====================================================+
| 3     910B4               | Alarm         | 93.2        49                0    / 0             |
| 0                         | 0000:02:00.0  | 0           0    / 0          30784/ 32768         |
+===========================+===============+====================================================+
+---------------------------+---------------+----------------------------------------------------+
| NPU     Chip              | Process id    | Process name             | Process memory(MB)      |
+===========================+===============+====================================================+
| No running processes found in NPU 2                                                            |
+===========================+===============+====================================================+
| 3       0                 | 55115         | python                   | 27900                   |
| 3       0                 | 907864        |                          | 134                     |
+===========================+===============+====================================================+
"""
A3 = """\
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip  Phy-ID              | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
| 0     Ascend910           | OK            | 178.5       36                0    / 0             |
| 0     0                   | 0000:9D:00.0  | 0           0    / 0          3416 / 65536         |
+------------------------------------------------------------------------------------------------+
| 0     Ascend910           | OK            | -           36                0    / 0             |
| 1     1                   | 0000:9F:00.0  | 0           0    / 0          3195 / 65536         |
"""
P = """\
| NPU     Name             | Health          | Power(W)     Temp(C)     Hugepages-Usage(page)     |
| Chip    Device           | Bus-Id          | AICore(%)    Memory-Usage(MB)                      |
+==========================+=================+====================================================+
| 24      310P3            | OK              | NA           71          8728  / 8728              |
| 0       0                | 0000:04:00.0    | 0            1263 / 44280                          |
"""


def test_an_a2_card_has_its_memory_in_the_last_column_and_processes_below() -> None:
    assert cards_in(A2) == (
        Card("910B4", "OK", 2847, 32768, npu=2),
        Card(
            "910B4",
            "Alarm",
            30784,
            32768,
            (Process(55115, "python", 27900), Process(907864, "", 134)),
            npu=3,
        ),
    )


def test_both_chips_of_an_a3_card_are_cards() -> None:
    assert [(c.used, c.total, c.npu) for c in cards_in(A3)] == [(3416, 65536, 0), (3195, 65536, 0)]


def test_a_310p_has_its_memory_one_column_before() -> None:
    assert cards_in(P) == (Card("310P3", "OK", 1263, 44280, npu=24),)


def test_a_complaint_holds_no_cards() -> None:
    assert cards_in("dcmi module initialize failed. ret is -8005") == ()
    assert cards_in("") == ()


@given(st.text(alphabet="|0123456789 /:AB.\n") | st.text())
def test_whatever_it_prints_is_lived_through(text: str) -> None:
    assert isinstance(cards_in(text), tuple)
