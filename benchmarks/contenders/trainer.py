"""transformers' Trainer with what FastChat's train.py tells it; rows are padded to the full, as
FastChat pads them, or to the longest of a batch.

The masks are ours: FastChat's own would leave next to nothing of a ChatGLM2's sample to learn.
"""

import time
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from danlu.training.course.optimiser import optimiser_for
from danlu.training.course.student import Student
from danlu.training.learner import IGNORED, Learner, recompute_layers
from danlu.training.peers import Alone
from danlu.training.sample import Listed

from ..lines import resident
from ..passes import Passed
from .learning import (
    RATE,
    SCHEDULE,
    Beginning,
    Conditions,
    bound,
    conditions,
    judged,
    learned,
    others,
    serve,
)


class Stopwatch(TrainerCallback):
    """From the first batch to the last step: what is prepared before and after does not count."""

    seconds = busy = 0.0

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.seconds, self.busy = -time.perf_counter(), -time.process_time()

    def on_train_end(self, *_: Any, **__: Any) -> None:
        self.seconds += time.perf_counter()
        self.busy += time.process_time()


class Stock:
    def __init__(self, asked: Conditions) -> None:
        bound(asked)
        self._asked, self._others = asked, others(asked)
        model: Any = AutoModelForCausalLM.from_pretrained(asked.model, dtype=torch.float32)
        model.config.use_cache = False
        self._model = model
        self._learner = Learner(model)
        recompute_layers(self._learner)
        full = asked.kind == "max"
        self._collate = DataCollatorForSeq2Seq(
            AutoTokenizer.from_pretrained(asked.model),
            padding="max_length" if full else "longest",
            max_length=asked.longest if full else None,
            label_pad_token_id=IGNORED,
        )
        self._beginning = Beginning(self._learner)
        self._loaded = resident()

    def run(self, count: int, seed: int) -> Passed:
        samples = self._asked.samples(count, seed)
        self._beginning.again()
        watch = Stopwatch()
        trainer = Trainer(
            self._model,
            self._arguments(),
            train_dataset=records(samples),
            data_collator=self._collate,
            callbacks=[watch],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        learner = self._learner
        settings = self._asked.settings()
        student = Student(learner, optimiser_for(learner, settings), torch.device("cpu"))
        loss = judged(student, self._others, Alone())
        steps, tokens = trainer.state.global_step, int(samples.lengths.sum())
        took = (watch.seconds, watch.busy)
        return Passed(steps, tokens, learned(samples), *took, loss, self._loaded)

    def _arguments(self) -> TrainingArguments:
        return TrainingArguments(
            output_dir="unused",  # nothing is saved
            per_device_train_batch_size=self._asked.batch,
            num_train_epochs=1,
            learning_rate=RATE,
            lr_scheduler_type=SCHEDULE,
            weight_decay=0.0,
            use_cpu=True,
            dataloader_pin_memory=False,
            remove_unused_columns=False,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )

    def peak(self) -> int:
        return resident()

    def close(self) -> None:
        """Its memory goes with the process."""


def records(samples: Listed) -> list[dict[str, list[int]]]:
    """As a tokenizer and a mask make them."""
    found = []
    for sample in (samples[i] for i in range(len(samples))):
        labels: list[int] = np.where(sample.trained, sample.ids, IGNORED).tolist()
        ids: list[int] = sample.ids.tolist()
        found.append({"input_ids": ids, "labels": labels, "attention_mask": [1] * len(ids)})
    return found


if __name__ == "__main__":
    serve(lambda: Stock(conditions()))
