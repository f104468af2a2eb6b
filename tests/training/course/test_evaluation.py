"""How well what was not learned is foretold."""

import pytest
import torch
from support.courses import a_student, sentences
from support.families import a_model
from support.together import Rank, Together

from danlu.training.course.evaluation import evaluate
from danlu.training.peers import Alone
from danlu.training.sample import Listed
from danlu.training.settings import TrainingSettings

SETTINGS = TrainingSettings()


def test_the_loss_is_the_mean_over_trained_tokens_however_they_are_batched() -> None:
    samples = sentences(7)
    student = a_student(SETTINGS)
    found = [evaluate(student, Listed(samples), Alone(), rows=rows) for rows in (1, 3, 7)]
    model = student.learner.model
    summed, count = 0.0, 0
    for sample in samples:
        with torch.no_grad():
            ids = torch.from_numpy(sample.ids[None]).long()
            scored = model(input_ids=ids).logits[0, :-1].log_softmax(-1)
        chances = scored[range(len(sample.ids) - 1), sample.ids[1:]]
        summed -= float(chances[torch.from_numpy(sample.trained[1:])].sum())
        count += int(sample.trained.sum())
    for loss, tokens in found:
        assert loss == pytest.approx(summed / count, rel=1e-5)
        assert tokens == sum(len(sample.ids) for sample in samples)


def test_nothing_is_dropped_while_evaluating_and_learning_goes_on_after_it() -> None:
    student = a_student(SETTINGS, a_model("llama", attention_dropout=0.5))
    student.learner.train()
    losses = {evaluate(student, Listed(sentences(3)), Alone(), rows=2)[0] for _ in range(2)}
    assert len(losses) == 1
    assert all(module.training for module in student.learner.modules())
    assert all(p.grad is None for p in student.learner.parameters())


def test_processes_share_the_evaluation_also_where_there_is_less_than_one_row_for_each() -> None:
    samples = Listed(sentences(4))
    students = [a_student(SETTINGS) for _ in range(3)]

    def one_of(peers: Rank) -> tuple[float, int]:
        return evaluate(students[peers.rank], samples, peers, rows=1)

    first, *others = Together(3).run(one_of)
    assert all(other == first for other in others)
    alone = evaluate(students[0], samples, Alone(), rows=1)
    assert first[0] == pytest.approx(alone[0], rel=1e-6)
    assert first[1] == alone[1]
