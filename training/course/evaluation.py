"""How well what was not learned is foretold: the mean loss over the evaluation's trained tokens."""

from ..peers import Peers
from ..sample import Samples
from .collate import collate
from .order import fixed_order
from .student import Student


def evaluate(
    student: Student, samples: Samples, peers: Peers, *, rows: int, multiple: int = 1
) -> tuple[float, int]:
    """The loss, and the tokens that were read for it; the same in every process."""
    summed, trained, tokens = 0.0, 0, 0
    with student.examined():
        for step in fixed_order(samples.lengths, rows=rows, ranks=peers.count):
            for micro in step.ranks[peers.rank]:
                read = [[samples[i] for i in row] for row in micro]
                summed += float(student.losses(collate(read, multiple=multiple)))
                trained += sum(int(sample.trained.sum()) for row in read for sample in row)
                tokens += sum(len(sample.ids) for row in read for sample in row)
    loss, learned, read_tokens = peers.total(summed, trained, tokens)
    return loss / max(1.0, learned), int(read_tokens)
