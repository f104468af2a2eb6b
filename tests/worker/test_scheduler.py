"""Who runs in the next step: everybody in the end, nobody on another one's tokens."""

import random
from collections.abc import Iterable, Sequence as Ids
from itertools import groupby
from typing import Any

from hypothesis import given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.paper_cache import PaperCache, told

from danlu.worker.kv_slots import WORTH, Copy, KvSlots, Swap
from danlu.worker.scheduler import SCORED_CHUNK, Draft, Plan, Scheduler
from danlu.worker.sequence import Sequence
from danlu.worker.shapes import power

SLOTS, CONCURRENCY, CHUNK, LENGTH = 6, 4, 24, 256
WRONG = 99  # a token that nobody says
LONGEST_WAIT = 80  # steps; of four hundred such lives the longest had 46
BEGINNINGS = ([1] * 90, [*[1] * 30, *[2] * 60], [3] * 40)  # the first two part after 30 tokens


def counted(start: int, count: int) -> list[int]:
    return list(range(start, start + count))


def a_scheduler(*, slots: int = 4, concurrency: int = 4, chunk: int = 512) -> Scheduler:
    return Scheduler(KvSlots(slots), concurrency=concurrency, chunk=chunk)


def added(scheduler: Scheduler, prompts: Iterable[Ids[int]], **facts: Any) -> list[Sequence]:
    sequences = [Sequence(p, number=len(scheduler) + i, **facts) for i, p in enumerate(prompts)]
    for sequence in sequences:
        scheduler.add(sequence)
    return sequences


def step(scheduler: Scheduler, budget: int = 512) -> Plan:
    """One step, in which every due answer gets one more token."""
    plan = scheduler.plan(budget)
    scheduler.done(plan)
    for sequence in plan.due:
        sequence.tokens.append(7)
    return plan


def lengths(plan: Plan) -> list[int]:
    return [chunk.end - chunk.start for chunk in plan.chunks]


def test_nothing_to_do_is_an_idle_plan() -> None:
    assert a_scheduler().plan(64).idle


def test_a_prompt_is_read_in_parts_and_then_gives_a_token_a_step() -> None:
    scheduler = a_scheduler(chunk=16)
    (one,) = added(scheduler, [counted(0, 40)])
    plans = [step(scheduler) for _ in range(5)]
    assert [lengths(plan) for plan in plans] == [[16], [16], [8], [], []]
    assert [plan.due for plan in plans] == [[], [], [one], [one], [one]]
    assert (one.computed, len(one.tokens)) == (42, 43)


def test_answers_never_wait_for_prompts() -> None:
    scheduler = a_scheduler()
    (writing,) = added(scheduler, [counted(0, 5)])
    step(scheduler)
    added(scheduler, [counted(100, 400)])
    for _ in range(3):
        plan = step(scheduler, budget=16)
        assert plan.decode == (writing,)
        assert lengths(plan) == [16]


def test_a_short_prompt_is_not_held_up_by_a_long_one() -> None:
    scheduler = a_scheduler()
    added(scheduler, [counted(0, 400), counted(1000, 20)])
    assert [lengths(step(scheduler, 40)) for _ in range(2)] == [[20, 20], [40]]


def test_what_one_prompt_does_not_need_another_one_gets() -> None:
    scheduler = a_scheduler()
    added(scheduler, [counted(0, 400), counted(1000, 5), counted(2000, 100)])
    assert lengths(scheduler.plan(80)) == [40, 5, 35]
    assert lengths(scheduler.plan(300)) == [195, 5, 100]


def test_a_scored_prompt_is_read_whole_in_chunks_of_64() -> None:
    scheduler = a_scheduler()
    (before,) = added(scheduler, [counted(0, 150)])
    step(scheduler)
    scheduler.remove(before)
    (scored,) = added(scheduler, [counted(0, 150)], scored=True)
    chunks = [step(scheduler).chunks[0] for _ in range(3)]
    assert [(c.start, c.end) for c in chunks] == [(0, 64), (64, 128), (128, 150)]
    assert scored.decoding


def test_lower_numbers_of_priority_are_served_first_and_of_equals_who_came_first() -> None:
    scheduler = a_scheduler(slots=1)
    orders = [(1, 0), (1, 1), (0, 2), (2, 3), (0, 4)]
    for priority, number in orders:
        scheduler.add(Sequence([number + 1], priority=priority, number=number))
    served = []
    while len(scheduler):
        (sequence,) = step(scheduler).due
        served.append(sequence.order)
        scheduler.remove(sequence)
    assert served == sorted(orders)


def test_no_more_run_than_may_even_where_there_are_slots() -> None:
    scheduler = a_scheduler(slots=4, concurrency=2)
    first, second, third = added(scheduler, [[1], [2], [3]])
    assert step(scheduler).due == [first, second]
    scheduler.remove(first)
    assert step(scheduler).due == [second, third]


def test_twins_read_their_prompt_once() -> None:
    scheduler = a_scheduler()
    first, second, third = added(scheduler, [counted(0, 100)] * 3)
    assert lengths(step(scheduler)) == [100]
    plan = step(scheduler)
    assert plan.decode == (first,)
    assert lengths(plan) == [1, 1]
    assert [move for move in plan.moves if isinstance(move, Copy)] == [
        Copy(first.seat, second.seat, 99),
        Copy(first.seat, third.seat, 99),
    ]


def test_a_twin_waits_no_longer_than_for_what_both_begin_with() -> None:
    scheduler = a_scheduler(chunk=20)
    _, second = added(scheduler, [counted(0, 100), [*counted(0, 30), 7, 7]])
    step(scheduler)
    assert second.slot is None
    step(scheduler)
    step(scheduler)
    assert (second.computed, second.decoding) == (32, True)


def test_a_twin_that_waits_holds_nobody_up() -> None:
    scheduler = a_scheduler(chunk=20)
    _, twin, other = added(scheduler, [counted(0, 100), counted(0, 100), counted(500, 10)])
    step(scheduler)
    assert twin.slot is None
    assert other.decoding


def test_a_twin_whose_elder_goes_reads_for_itself() -> None:
    scheduler = a_scheduler(chunk=20)
    elder, twin = added(scheduler, [counted(0, 100)] * 2)
    step(scheduler)
    scheduler.remove(elder, keep=False)
    assert [(c.sequence, c.start) for c in step(scheduler).chunks] == [(twin, 0)]


def test_ranks_are_closed_once_they_span_more_than_a_bucket_needs() -> None:
    scheduler = a_scheduler(slots=8, concurrency=8)
    sequences = added(scheduler, [[i] for i in range(8)])
    step(scheduler)
    for gone in sequences[1:3]:
        scheduler.remove(gone)
    assert step(scheduler).moves == ()  # six of them: eight rows, as before
    for gone in sequences[3:5]:
        scheduler.remove(gone)
    plan = step(scheduler)
    assert plan.moves == (Swap(1, 7, 2), Swap(2, 6, 2), Swap(3, 5, 2))
    assert [sequence.seat for sequence in plan.decode] == [0, 1, 2, 3]


def test_a_slot_that_reads_makes_room_for_one_that_writes() -> None:
    scheduler = a_scheduler(slots=2, chunk=16)
    reading, writing = added(scheduler, [counted(0, 100), [7]])
    step(scheduler)
    plan = step(scheduler)
    assert plan.moves == (Swap(0, 1, 16),)
    assert (reading.seat, writing.seat) == (1, 0)


def test_a_draft_is_tried_in_the_place_of_one_token() -> None:
    scheduler = a_scheduler()
    first, second, third = added(scheduler, [[1], [2], [3, 4]])
    scheduler.remove(third)
    step(scheduler)
    plan = scheduler.plan(64, {first: [8, 9], second: []})
    assert (plan.decode, plan.drafts) == ((second,), (Draft(first, (8, 9)),))
    assert plan.due == [second, first, first, first]
    assert plan.ahead == [0, 0, 1, 2]
    assert (plan.drafted, plan.writing) == (2, [second, first])
    scheduler.done(plan)
    assert (first.computed, second.computed) == (4, 2)


def test_who_cannot_have_a_token_has_no_draft() -> None:
    scheduler = a_scheduler(chunk=4)
    reading, waits = added(scheduler, [counted(0, 9), [7]], awaited=True)
    step(scheduler)
    waits.coming = 1
    assert scheduler.plan(64, {reading: [1], waits: [1]}).drafts == ()


def test_where_parts_are_counted_a_draft_is_one_and_prompts_come_first() -> None:
    scheduler = Scheduler(KvSlots(4), concurrency=4, chunk=8, parts=1)
    first, second = added(scheduler, [[1], [2]])
    step(scheduler)
    step(scheduler)
    drafts = {first: [5], second: [6]}
    assert scheduler.plan(64, drafts).drafts == (Draft(first, (5,)),)
    added(scheduler, [counted(0, 20)])
    plan = scheduler.plan(64, drafts)
    assert (len(plan.chunks), plan.drafts, plan.decode) == (1, (), (first, second))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), concurrency=st.integers(1, 4))
def test_nobody_starves_however_many_come_after(seed: int, concurrency: int) -> None:
    """There are always eight, many of them twins, and each answers for up to six steps."""
    chance = random.Random(seed)
    scheduler = a_scheduler(slots=concurrency + 1, concurrency=concurrency, chunk=CHUNK)
    came = dict[Sequence, int]()
    for now in range(300):
        while len(scheduler) < 8:
            sequence = Sequence(some_prompt(chance), number=now * 8 + len(scheduler))
            scheduler.add(sequence)
            came[sequence] = now
        for sequence in step(scheduler, chance.choice([16, 30])).due:
            if len(sequence.tokens) - len(sequence.prompt) >= chance.randint(1, 6):
                scheduler.remove(sequence)
                del came[sequence]
        assert now - min(came.values(), default=now) <= LONGEST_WAIT


def some_prompt(chance: random.Random) -> list[int]:
    beginning = chance.choice(BEGINNINGS)[: chance.randint(0, 90)]
    return [*beginning, *(chance.randint(1, 5) for _ in range(chance.randint(1, 12)))]


class Life(RuleBasedStateMachine):
    """All that can happen to sequences, in any order, beside a cache on paper.

    A device that works `ahead` is given a step before the one before it is told of. Who is awaited
    may have a draft, in which some guesses are right.
    """

    @initialize(ahead=st.booleans(), parts=st.sampled_from([None, 1, 2]))
    def begin(self, ahead: bool, parts: int | None) -> None:
        self.ahead, self.parts = ahead, parts
        self.slots = KvSlots(SLOTS)
        self.scheduler = Scheduler(self.slots, concurrency=CONCURRENCY, chunk=CHUNK, parts=parts)
        self.cache = PaperCache(SLOTS, LENGTH)
        self.flight: Plan | None = None  # given to the device, and not told of
        self.limits: dict[Sequence, int] = {}  # tokens of each answer
        self.arrivals = 0

    @property
    def running(self) -> list[Sequence]:
        return [sequence for sequence in self.scheduler if sequence.slot is not None]

    @property
    def waiting(self) -> list[Sequence]:
        return [sequence for sequence in self.scheduler if sequence.slot is None]

    @rule(
        beginning=st.sampled_from(BEGINNINGS),
        length=st.integers(0, 90),
        rest=st.lists(st.integers(1, 4), min_size=1, max_size=12),
        limit=st.integers(1, 8),
        early=st.integers(0, 3),
        priority=st.sampled_from([0, 0, 0, 1]),
        kind=st.sampled_from(["scored", "awaited", "plain", "plain", "plain"]),
        twins=st.sampled_from([1, 1, 2]),
    )
    def arrive(
        self,
        beginning: list[int],
        length: int,
        rest: list[int],
        limit: int,
        early: int,
        priority: int,
        kind: str,
        twins: int,
    ) -> None:
        """An answer may end before its last token is due."""
        prompt = [*beginning[:length], *rest]
        for _ in range(twins):
            sequence = Sequence(
                prompt,
                number=self.arrivals,
                priority=priority,
                most=len(prompt) + limit,
                scored=kind == "scored",
                awaited=kind == "awaited",
            )
            self.arrivals += 1
            self.limits[sequence] = max(limit - early, 1)
            self.scheduler.add(sequence)

    @rule(budget=st.integers(1, 80), guesses=st.lists(st.booleans(), max_size=4))
    def step(self, budget: int, guesses: Ids[bool] = ()) -> None:
        plan = self.planned(budget, guesses)
        self.cache.write(plan)
        self.scheduler.done(plan)
        for sequence in plan.due:
            sequence.coming += 1
        before, self.flight = self.flight, plan
        self.land(before)
        if not self.ahead:
            self.land_all()

    @precondition(lambda self: len(self.scheduler) > 0)
    @rule(budget=st.integers(1, 80), guesses=st.lists(st.booleans(), max_size=4))
    def run_out_of_memory(self, budget: int, guesses: Ids[bool]) -> None:
        """The moves are made, the forward is not, and one of those in it has to go."""
        plan = self.planned(budget, guesses)
        self.cache.spoil(plan)
        self.land_all()
        concerned = [*plan.writing, *(chunk.sequence for chunk in plan.chunks)]
        if there := [sequence for sequence in concerned if sequence in self.limits]:
            self.end(max(there, key=lambda s: (not s.decoding, s.order)), keep=False)

    @precondition(lambda self: len(self.scheduler) > 0)
    @rule(data=st.data())
    def abort(self, data: st.DataObject) -> None:
        self.end(data.draw(st.sampled_from(list(self.scheduler))))

    def land_all(self) -> None:
        before, self.flight = self.flight, None
        self.land(before)

    def land(self, flight: Plan | None) -> None:
        """Tell those who are still there what has been chosen."""
        drafts = {draft.sequence: draft.tokens for draft in flight.drafts} if flight else {}
        for sequence, own in groupby(flight.due if flight else ()):
            rows = len(list(own))
            sequence.coming -= rows
            if sequence in self.limits:
                tokens = right_ones(sequence, drafts.get(sequence, ()))
                sequence.computed -= rows - len(tokens)
                self.tell(sequence, tokens)

    def tell(self, sequence: Sequence, tokens: Ids[int]) -> None:
        """All of them, or as many as it may have."""
        for token in tokens:
            sequence.tokens.append(token)
            if len(sequence.tokens) - len(sequence.prompt) == self.limits[sequence]:
                self.end(sequence)
                return

    def planned(self, budget: int, guesses: Ids[bool]) -> Plan:
        """The next plan, its moves made, after it has kept all that is promised of it."""
        writing = [sequence for sequence in self.running if writes(sequence)]
        before = set(self.running)
        drafts = {s: draft_of(s, guesses) for s in writing if s.awaited}
        plan = self.scheduler.plan(budget, drafts)
        self.cache.move(plan.moves)
        assert set(plan.writing) == set(writing), "answers never wait"
        assert len(plan.writing) == len(writing)
        seats = [sequence.seat for sequence in plan.decode]
        assert seats == sorted(seats)
        seats = [sequence.seat for sequence in plan.writing]
        assert power(max(seats, default=0) + 1) == power(len(seats)), "ranks are closed"
        self.check_chunks(plan, budget)
        self.check_order(set(self.running) - before)
        if not any(sequence.coming for sequence in self.scheduler):
            assert plan.idle is (len(self.scheduler) == 0), "every step brings somebody on"
        return plan

    def check_chunks(self, plan: Plan, budget: int) -> None:
        """As much is read as may be, by each from where it stands."""
        wishes = {
            s: min(len(s.prompt) - s.computed, SCORED_CHUNK if s.scored else CHUNK)
            for s in self.running
            if not s.decoding
        }
        most = min(budget, sum(wishes.values()))
        if self.parts is None:
            assert plan.prompt_tokens == most
        else:
            assert min(most, 1) <= plan.prompt_tokens <= most
            assert len(plan.chunks) + len(plan.drafts) <= self.parts
        for chunk in plan.chunks:
            assert chunk.start == chunk.sequence.computed
            assert 0 < chunk.end - chunk.start <= wishes[chunk.sequence]
        assert len({chunk.sequence for chunk in plan.chunks}) == len(plan.chunks)

    def check_order(self, seated: set[Sequence]) -> None:
        """Nobody overtakes but those who pass one that waits for its twin."""
        reading = [s for s in self.running if not s.decoding and not s.scored]
        for sequence in self.waiting:
            if any(sequence.order < other.order for other in seated):
                assert not sequence.scored
                assert any(
                    beginning(sequence, other) >= max(WORTH, other.computed + 1)
                    for other in reading
                )
        if len(self.running) < CONCURRENCY:
            assert all(not s.scored for s in self.waiting), "whoever can run does"

    def end(self, sequence: Sequence, *, keep: bool = True) -> None:
        self.scheduler.remove(sequence, keep=keep)
        del self.limits[sequence]

    @invariant()
    def every_slot_holds_its_owners_tokens(self) -> None:
        for sequence in self.running:
            assert 0 <= sequence.computed <= len(sequence.tokens) + sequence.coming
            tried = self.flight.drafts if self.flight else ()
            guessed = sequence in [draft.sequence for draft in tried]
            certain = len(sequence.tokens) if guessed else sequence.computed
            held = self.cache[sequence.seat][:certain]
            assert held == [told(sequence, i) for i in range(certain)]

    @invariant()
    def what_is_left_in_a_slot_lies_there(self) -> None:
        for i in range(SLOTS):
            left = self.slots[i].left.tolist()
            assert self.cache[i][: len(left)] == left

    @invariant()
    def nobody_shares_a_slot(self) -> None:
        assert len(self.running) == self.slots.owned <= CONCURRENCY
        assert all(self.slots[sequence.seat].owner is sequence for sequence in self.running)
        assert set(self.scheduler) == self.limits.keys()

    def teardown(self) -> None:
        """Whoever is left is answered, in no more steps than tokens are computed and told."""
        work = sum(len(s.prompt) + self.limits[s] for s in self.scheduler)
        for _ in range(2 * work):
            self.step(16)
            self.every_slot_holds_its_owners_tokens()
        assert len(self.scheduler) == self.slots.owned == 0


def writes(sequence: Sequence) -> bool:
    """Whether it can have one more token without being told the last one."""
    if not sequence.decoding or (sequence.awaited and sequence.coming):
        return False
    return len(sequence.tokens) + sequence.coming < sequence.most


def draft_of(sequence: Sequence, guesses: Ids[bool]) -> list[int]:
    """As many tokens as there is room for, of which some are right."""
    end = len(sequence.tokens)
    tokens = [told(sequence, end + i) if right else WRONG for i, right in enumerate(guesses)]
    return tokens[: sequence.most - end - 1]


def right_ones(sequence: Sequence, draft: Ids[int]) -> list[int]:
    """The next token, and those after it as far as the draft is right."""
    end = len(sequence.tokens)
    tokens = [told(sequence, end + i) for i in range(len(draft) + 1)]
    wrong = (i for i, guess in enumerate(draft) if guess != tokens[i])
    return tokens[: next(wrong, len(draft)) + 1]


def beginning(one: Sequence, other: Sequence) -> int:
    """Tokens that need not be read twice; the last of `one` must be."""
    pairs = zip(one.prompt[:-1].tolist(), other.prompt.tolist(), strict=False)
    return next(
        (i for i, (a, b) in enumerate(pairs) if a != b), min(len(one.prompt) - 1, len(other.prompt))
    )


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
