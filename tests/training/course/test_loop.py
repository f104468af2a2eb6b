"""The loop as a whole, with tiny models."""

import torch
from support.courses import Heard, a_course, sentences

from danlu.training.course.loop import End, train
from danlu.training.progress import Progress
from danlu.training.settings import TrainingSettings


def test_a_tiny_glm_learns_five_sentences_by_heart() -> None:
    settings = TrainingSettings(
        num_train_epochs=120, learning_rate=1e-2, per_device_train_batch_size=5, seed=1
    )
    heard, samples = Heard(), sentences(5)
    course = a_course(settings, samples, listener=heard)
    outcome = train(course, Progress())
    assert (outcome.end, outcome.at.step, outcome.at.epoch) == (End.DONE, 120, 120)
    assert heard.losses[0] > 1
    assert heard.losses[-1] < 0.05
    model = course.student.learner.model.train(False)
    for sample in samples:
        asked = torch.from_numpy(sample.ids[None, :3]).long()
        with torch.inference_mode():
            told = model.generate(asked, max_new_tokens=20, do_sample=False, eos_token_id=2)
        assert told[0].tolist() == sample.ids.tolist()
