"""Two processes train one model: what each holds, that they agree, and what they go on from."""

from pathlib import Path
from typing import Any

import pytest
import torch
from support.glm import save_glm
from support.own_code import save_own
from support.ranks import (
    LOST,
    METHODS,
    SAVED,
    STEPS,
    In,
    Plain,
    adam,
    alone,
    by_method,
    gradients,
    results,
    resuming,
    scores,
    settings,
    started,
    step,
    whole,
)
from support.tiny import byte_level_tokenizer, random_model, tiny_config
from torch import Tensor

from danlu.training.learner import Learner
from danlu.training.parallel.folders import latest
from danlu.training.parallel.loading import begin

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("two")
    save_glm(made / "model")
    random_model(tiny_config(tie_word_embeddings=True)).save_pretrained(made / "tied")
    byte_level_tokenizer().save_pretrained(made / "tied")
    save_own(made / "own")
    (made / "run").mkdir()
    return made


@pytest.fixture(scope="module")
def killed(folder: Path) -> list[dict[str, Any]]:
    """What both found out before the first one was killed in the middle of a checkpoint."""
    with started("killing", folder) as programs:
        statuses = [program.wait_to_end() for program in programs]
        said = programs[1].output
    assert statuses == [-9, LOST], said
    left = sorted(path.name for path in (folder / "run").iterdir())
    return [{**each, "said": said, "left": left} for each in results(folder)]


@pytest.fixture(scope="module")
def further(folder: Path, killed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What two processes that torchrun started found out: they went on, then tried other models."""
    with started("further", folder, torchrun=True) as (program,):
        assert program.wait_to_end() == 0, program.output
    return results(folder)


def learner_of(folder: Path, **changes: Any) -> Learner:
    """The same model in one process."""
    return begin(settings(folder, **changes), alone(), Plain(), In()).learner


def assert_close(found: dict[str, Tensor], wanted: dict[str, Tensor], part: float = 1e-5) -> None:
    assert list(found) == list(wanted)
    for name, tensor in wanted.items():
        off = (found[name] - tensor).abs().max().item()
        assert off <= part * tensor.abs().max().item(), f"{name} is off by {off}"


def assert_equal(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert list(found) == list(wanted)
    assert [name for name, tensor in wanted.items() if not tensor.equal(found[name])] == []


def test_each_process_holds_half_of_every_weight_and_of_the_optimisers_numbers(
    killed: list[dict[str, Any]],
) -> None:
    for (name, shape, first), (_, _, second) in zip(
        killed[0]["shards"], killed[1]["shards"], strict=True
    ):
        assert first[0] + second[0] == shape[0], name
        assert first[1:] == second[1:] == shape[1:]
    numbers = [sum(torch.Size(here).numel() for *_, here in each["shards"]) for each in killed]
    in_all = sum(torch.Size(whole).numel() for _, whole, _ in killed[0]["shards"])
    assert sum(numbers) == in_all and max(numbers) < 0.51 * in_all
    assert [each["held"] for each in killed] == [2 * number for number in numbers]


def test_both_have_the_model_that_one_process_has(
    folder: Path, killed: list[dict[str, Any]], further: list[dict[str, Any]]
) -> None:
    """Also what no file holds, such as the frequencies of rotary angles."""
    learner, ranks = learner_of(folder), alone()
    assert_equal(killed[0]["first weights"], whole(learner, ranks))
    for each in (*killed, *further):
        torch.testing.assert_close(each["scores"], scores(learner, ranks))


@pytest.mark.parametrize("how", ["gradients", "gradients, computed twice"])
def test_their_gradients_are_those_of_one_process_with_all_rows(
    folder: Path, killed: list[dict[str, Any]], further: list[dict[str, Any]], how: str
) -> None:
    wanted = gradients(learner_of(folder), alone())
    assert_close(killed[0][how], wanted)
    assert_close(further[0][how], wanted)
    assert killed[1][how] == {}  # what is whole is so in the first process only


def test_they_learn_what_one_process_learns(folder: Path, killed: list[dict[str, Any]]) -> None:
    learner, ranks = learner_of(folder), alone()
    optimiser = adam(learner)
    losses = [step(number, learner, optimiser, ranks) for number in range(STEPS)]
    assert killed[0]["losses"] == killed[1]["losses"]
    assert killed[0]["losses"] == pytest.approx(losses, rel=1e-4)
    assert_close(killed[0]["weights"], whole(learner, ranks), 1e-2)


def test_a_total_is_the_same_to_the_bit_everywhere(killed: list[dict[str, Any]]) -> None:
    assert [each["total"] for each in killed] == [(0.2, 1.0, 1e16 + 1.0)] * 2


def test_who_waits_sees_what_the_others_did_before(killed: list[dict[str, Any]]) -> None:
    assert [each["came"] for each in killed] == [["0", "1"]] * 2


def test_what_the_first_one_says_or_cannot_do_is_known_to_all(
    killed: list[dict[str, Any]],
) -> None:
    assert [each["told"] for each in killed] == ["from 0"] * 2
    assert [each["wrong"] for each in killed] == ["the first one cannot"] * 2


def test_who_loses_another_one_ends_with_a_sentence(killed: list[dict[str, Any]]) -> None:
    said = killed[1]["said"]
    assert "ended: process 1 of 2 lost another one, which ended or did not answer" in said
    assert "Traceback" not in said


def test_a_program_killed_while_it_saves_leaves_whole_checkpoints_only(
    killed: list[dict[str, Any]],
) -> None:
    assert killed[0]["left"] == [f".checkpoint-{STEPS}.making", f"checkpoint-{SAVED}"]


def test_one_process_goes_on_from_what_two_wrote(
    folder: Path, killed: list[dict[str, Any]]
) -> None:
    (found,) = resuming(folder, alone())
    assert (found["at"].step, found["at"].inside) == (SAVED, SAVED)
    assert found["losses"] == pytest.approx(killed[0]["losses"][SAVED:], rel=1e-4)
    assert_close(found["weights"], killed[0]["weights"], 1e-2)


def test_two_processes_go_on_to_the_bit(
    folder: Path, killed: list[dict[str, Any]], further: list[dict[str, Any]]
) -> None:
    found = further[0]["resumed"]
    assert found["losses"] == killed[0]["losses"][SAVED:]
    assert_equal(found["weights"], killed[0]["weights"])
    saved = latest(folder / "run")
    assert saved is not None and saved.name == f"checkpoint-{STEPS}"
    assert_equal(torch.load(saved / "weights.bin"), found["weights"])


def test_without_fsdp_every_process_holds_all(further: list[dict[str, Any]]) -> None:
    assert all(whole == here for each in further for _, whole, here in each["shards"])


def test_what_both_find_wrong_is_the_first_ones_to_say(further: list[dict[str, Any]]) -> None:
    (first, said), (second, repeated) = (each["refused"] for each in further)
    assert "no_such_layer" in said and repeated == said
    assert (first, second) == ("StartError", "Repeated")


def test_tied_weights_stay_tied(folder: Path, further: list[dict[str, Any]]) -> None:
    learner = learner_of(folder, model_name_or_path=str(folder / "tied"))
    assert [each["tied"]["same"] for each in further] == [True, True]
    assert_close(further[0]["tied"]["gradients"], gradients(learner, alone()))


def test_a_model_of_its_own_code_is_shared_like_any_other(
    folder: Path, further: list[dict[str, Any]]
) -> None:
    learner = learner_of(folder, model_name_or_path=str(folder / "own"), trust_remote_code=True)
    assert_close(further[0]["own code"], gradients(learner, alone()))


@pytest.mark.parametrize("method", METHODS)
def test_each_method_shares_its_model_and_what_it_adds(
    folder: Path, further: list[dict[str, Any]], method: str
) -> None:
    assert_close(further[0]["methods"][method], by_method(folder, alone(), method))


def test_frozen_weights_in_another_format_stay_as_they_are(
    further: list[dict[str, Any]],
) -> None:
    found = further[0]["mixed"]
    assert found["losses"][1] < found["losses"][0]
    for name, before in found["before"].items():
        trained = "q_proj" in name
        assert before.dtype == (torch.float32 if trained else torch.bfloat16)
        assert before.equal(found["after"][name]) is not trained, name


def test_what_no_file_holds_is_not_rounded_to_the_format_of_frozen_weights(
    folder: Path, further: list[dict[str, Any]]
) -> None:
    path = str(folder / "tied")
    told = settings(folder, model_name_or_path=path)
    half = begin(told, alone(), Plain("q_proj", True), In(torch.bfloat16)).learner
    tables = dict(half.named_buffers())
    assert {table.dtype for table in tables.values()} == {torch.float32}
    for each in further:
        assert_equal(each["mixed"]["tables"], tables)
