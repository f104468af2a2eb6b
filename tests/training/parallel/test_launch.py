"""Who a process is, which device it takes, and what one by itself hears from its peers."""

from collections.abc import Callable
from functools import partial

import pytest
import torch

from danlu.adapters.errors import StartError
from danlu.training.parallel.launch import Place, device_name, joined, place_in
from danlu.training.peers import Repeated
from danlu.training.settings import TrainingSettings

TORCHRUN = {
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "20001",
}
CARDS = ["npu:0", "npu:1", "cuda:0", "cpu"]
SECOND = Place(1, 2, 1, 2)


def named(wanted: str, place: Place, present: list[str] = CARDS) -> str:
    return device_name(place, TrainingSettings(device=wanted), lambda: present)


def refused(work: Callable[[], object]) -> str:
    with pytest.raises(StartError) as caught:
        work()
    return str(caught.value)


def test_without_torchrun_there_is_one_process() -> None:
    assert place_in({"MASTER_PORT": "20001"}) == Place(0, 1, 0, 1)


def test_torchrun_says_which_process_it_is() -> None:
    assert place_in(TORCHRUN) == Place(rank=3, count=4, local=1, beside=2)


def test_what_else_says_rank_and_size_only_is_one_machine() -> None:
    given = {name: TORCHRUN[name] for name in ("MASTER_ADDR", "MASTER_PORT")}
    assert place_in({**given, "RANK": "1", "WORLD_SIZE": "2"}) == Place(1, 2, 1, 2)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"RANK": "first"}, "RANK is 'first', no number"),
        ({"RANK": "4"}, "RANK=4 of WORLD_SIZE=4"),
        ({"LOCAL_RANK": "2"}, "LOCAL_RANK=2 of LOCAL_WORLD_SIZE=2 cannot be"),
        ({"MASTER_PORT": None}, "WORLD_SIZE is 4, but MASTER_PORT is not set"),
        ({"WORLD_SIZE": None}, "WORLD_SIZE is '', no number"),
    ],
)
def test_a_place_that_cannot_be_is_refused_by_name(
    changes: dict[str, str | None], said: str
) -> None:
    environ = {name: value for name, value in {**TORCHRUN, **changes}.items() if value is not None}
    assert said in refused(lambda: place_in(environ))


def test_each_process_takes_the_card_of_its_number_on_the_machine() -> None:
    assert named("npu", SECOND) == "npu:1"
    assert named("auto", SECOND) == "npu:1"
    assert named("auto", Place(3, 4, 1, 2)) == "npu:1"
    assert named("auto", SECOND, ["cpu"]) == "cpu"
    assert named("npu", Place()) == "npu:0"


def test_one_process_takes_the_card_that_is_named() -> None:
    assert named("npu:1", Place()) == "npu:1"
    assert named("npu:1", Place(rank=1, count=2)) == "npu:1"  # one on each of two machines


def test_one_card_is_not_for_two_processes() -> None:
    said = refused(lambda: named("npu:1", SECOND))
    assert "--device npu:1 is one card, and 2 processes" in said and "say --device npu" in said


def test_more_processes_than_cards_are_refused_with_both_numbers() -> None:
    """By all of them, also by those for whom there would be a card."""
    for local in range(3):
        said = refused(partial(named, "npu", Place(local, 3, local, 3)))
        assert "3 processes were started" in said and "it has 2 of npu" in said
        assert "--nproc_per_node=2" in said


def test_what_all_on_a_machine_find_wrong_is_said_by_its_first() -> None:
    """On another machine there may be other cards."""
    for local, kind in ((0, StartError), (1, Repeated)):
        place = {**TORCHRUN, "LOCAL_RANK": str(local), "LOCAL_WORLD_SIZE": "2"}
        with (
            pytest.raises(StartError, match="--device cpu:0") as caught,
            joined(place, TrainingSettings(device="cpu:0")),
        ):
            raise AssertionError("nobody joins")
        assert type(caught.value) is kind


def test_what_is_not_here_is_left_to_the_devices_own_words() -> None:
    assert named("npu", SECOND, ["cpu"]) == "npu"
    assert named("tpu", SECOND) == "tpu"


def test_use_cpu_is_device_cpu_and_nothing_else() -> None:
    def of(device: str) -> str:
        settings = TrainingSettings(use_cpu=True, device=device)
        return device_name(SECOND, settings, lambda: pytest.fail("nobody asks for cards"))

    assert of("auto") == of("cpu") == "cpu"
    assert "--use_cpu and --device npu cannot both be" in refused(lambda: of("npu"))


def test_one_process_by_itself_is_its_own_peer() -> None:
    with joined({}, TrainingSettings(device="cpu")) as ranks:
        assert (ranks.rank, ranks.count, ranks.first) == (0, 1, True)
        assert (ranks.device, ranks.mesh) == (torch.device("cpu"), None)
        assert ranks.total(0.1, 2) == (0.1, 2.0)
        assert ranks.told("this") == "this"
        assert ranks.by_first(lambda: 5) == 5
        ranks.wait()


def test_one_process_that_torchrun_started_needs_no_peers() -> None:
    alone = {**TORCHRUN, "RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
    with joined(alone, TrainingSettings(device="cpu")) as ranks:
        assert (ranks.count, ranks.mesh) == (1, None)


def test_an_error_of_the_work_itself_stays_what_it_is() -> None:
    with (
        pytest.raises(RuntimeError, match="shapes"),
        joined({}, TrainingSettings(device="cpu")),
    ):
        raise RuntimeError("shapes do not fit")


@pytest.mark.parametrize(
    "wrong", [MemoryError(), torch.OutOfMemoryError("Tried to get 2 GiB.\nMore")]
)
def test_a_device_that_is_full_is_one_sentence_with_what_takes_less(wrong: Exception) -> None:
    def fill() -> None:
        with joined({}, TrainingSettings(device="cpu")):
            raise wrong

    said = refused(fill)
    assert said.startswith("cpu is out of memory (")
    assert "give a smaller --per_device_train_batch_size" in said and "\n" not in said
