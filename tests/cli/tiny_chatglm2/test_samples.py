"""Samples have the ids and the labels that ChatGLM2 is fine-tuned with."""

from random import Random

from support.glm import glm_tokenizer

from danlu.cli.tiny_chatglm2.samples import END, IGNORED, PAD, Sample, batch, batches, sample

SHORT = Sample(prompt=(7, 8), answer=(9, END))
LONG = Sample(prompt=(3, 4, 5), answer=(6, 7, END))


def test_prompt_and_answer_are_read_separately_and_the_answer_ends() -> None:
    tokenizer = glm_tokenizer()
    found = sample(tokenizer, (("你好", "你好👋！"), ("再见", "再见！")))
    prompt = "[Round 1]\n\n问：你好\n\n答：你好👋！\n\n[Round 2]\n\n问：再见\n\n答："
    assert list(found.prompt) == tokenizer.encode(prompt)
    assert list(found.prompt[:2]) == tokenizer.prefix
    assert list(found.answer) == [*tokenizer.encode("再见！", add_special_tokens=False), END]
    assert tokenizer.convert_ids_to_tokens(found.answer[0]).startswith("▁")


def test_only_the_answer_is_learned_and_rows_are_filled_up_on_the_right() -> None:
    found = batch([SHORT, LONG])
    assert found.ids.tolist() == [[7, 8, 9, END, PAD, PAD], [3, 4, 5, 6, 7, END]]
    no = IGNORED
    assert found.labels.tolist() == [[no, no, 9, END, no, no], [no, no, no, 6, 7, END]]


def test_batches_hold_every_sample_once_and_no_more_tokens_than_allowed() -> None:
    samples = [Sample((4,) * n, (5,) * n + (END,)) for n in range(1, 40)]
    found = batches(samples, 60, Random(0))
    lengths = sorted((row != PAD).sum().item() for one in found for row in one.ids)
    assert lengths == sorted(map(len, samples))
    assert all(one.ids.numel() <= 60 or one.ids.shape[0] == 1 for one in found)
    assert len(found) < 39


def test_batches_come_in_an_order_of_their_own() -> None:
    samples = [Sample((4,) * n, (END,)) for n in range(1, 40)]
    widths = [one.ids.shape[1] for one in batches(samples, 60, Random(0))]
    assert widths != sorted(widths)
