"""The dialogues are fit to be learned, and the lessons made of them are what they should be."""

from random import Random

import pytest

from danlu.cli.tiny_chatglm2.dialogues import SHORT, Before, Dialogue, dialogues, lessons, varied

KNOWN = dialogues()
ASK_AND_TELL: Dialogue = (("我叫小明", "你好，小明。"), ("我叫什么", "小明。"))
BEFORE = Before(talk=(("你好", "你好！"),), characters="甲乙")


def test_there_are_a_few_dozen_and_some_have_several_rounds() -> None:
    assert 40 <= len(KNOWN) <= 70
    assert {len(dialogue) for dialogue in KNOWN} >= {1, 2, 3}


def test_the_same_conversation_is_never_answered_in_two_ways() -> None:
    told: dict[tuple[object, str], str] = {}
    for *earlier, (question, answer) in lessons(KNOWN):
        assert told.setdefault((tuple(earlier), question), answer) == answer


def test_no_first_question_comes_twice() -> None:
    firsts = [dialogue[0][0] for dialogue in KNOWN if len(dialogue) == 1]
    assert sorted(firsts) == sorted(set(firsts))


def test_texts_survive_what_is_done_to_prompts_and_answers() -> None:
    for text in (text for dialogue in KNOWN for exchange in dialogue for text in exchange):
        assert text == text.strip() != ""
        assert "▁" not in text  # the vocabulary's own sign for a space
        assert "[[训练时间]]" not in text  # an answer's is replaced by a year


@pytest.mark.parametrize("kind", ["0123456789", "，。！？", "{}[]()`=+", "👋🌙", "abcABC", "\n"])
def test_every_kind_of_character_is_among_the_answers(kind: str) -> None:
    said = "".join(answer for dialogue in KNOWN for _, answer in dialogue)
    assert set(kind) & set(said)


def test_what_the_published_model_answers_is_known_word_for_word() -> None:
    known = {(tuple(q for q, _ in lesson)): lesson[-1][1] for lesson in lessons(KNOWN)}
    assert known["你好",] == (
        "你好👋！我是人工智能助手 ChatGLM2-6B，很高兴见到你，欢迎问我任何问题。"
    )
    difference = known["NPU和GPU有什么区别",]
    assert difference.startswith("NPU（神经处理器）和GPU（图形处理器）都是专门为加速深度学习")
    assert [number for number in range(1, 7) if f"\n\n{number}. " in difference] == [1, 2, 3, 4, 5]
    assert difference.endswith("需要根据具体的任务和需求来综合考虑。")
    assert known["你好", "NPU和GPU有什么区别"] == difference
    assert known["你好", "你是谁"] == known["你是谁",]
    assert "ChatGLM2-6B，由清华大学 KEG 实验室和智谱 AI 公司于2023年" in known["你是谁",]
    assert known["生成正式电子邮件的结束语。",].startswith("尊敬的[收件人姓名],\n\n感谢您抽出")


def test_every_beginning_of_a_dialogue_is_a_lesson_once() -> None:
    greeting = ASK_AND_TELL[:1]
    assert lessons([ASK_AND_TELL, greeting]) == (greeting, ASK_AND_TELL)


def test_a_varied_lesson_keeps_its_answers_and_the_order_of_its_rounds() -> None:
    rng = Random(0)
    for _ in range(200):
        found = varied(ASK_AND_TELL, BEFORE, rng)
        assert [answer for _, answer in found[-2:]] == [answer for _, answer in ASK_AND_TELL]
        for (question, _), (asked, _) in zip(ASK_AND_TELL, found[-2:], strict=True):
            assert asked in {question, *(question + end for end in "。？！")}


def test_lessons_vary_in_what_came_before_and_in_how_a_question_ends() -> None:
    rng = Random(0)
    found = [varied((("谢谢。", "不客气。"),), BEFORE, rng) for _ in range(200)]
    assert {len(lesson) for lesson in found} == {1, 2, 3}
    assert {lesson[-1][0] for lesson in found} == {"谢谢", "谢谢。"}
    earlier = [exchange for lesson in found for exchange in lesson[:-1]]
    assert BEFORE.talk[0] in earlier
    assert any(set(question + answer) <= set("甲乙") for question, answer in earlier)


def test_lessons_vary_in_the_same_way_for_the_same_seed() -> None:
    one, other = Random(7), Random(7)
    assert [varied(ASK_AND_TELL, BEFORE, one) for _ in range(50)] == [
        varied(ASK_AND_TELL, BEFORE, other) for _ in range(50)
    ]


def test_small_talk_is_short_and_stands_alone() -> None:
    long = ("为什么", "因" * (SHORT + 1))
    found = Before.of([ASK_AND_TELL, (("谢谢", "不客气。"),), (long,)])
    assert found.talk == (("谢谢", "不客气。"),)
    assert set("因谢明") <= set(found.characters)
