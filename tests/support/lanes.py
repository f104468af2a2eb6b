"""Which tests go together to one of the processes of `pytest -n`, and which of them go first.

A unit is what one process runs in a row: a file, whose fixtures are made once so; a folder whose
files share running programs; a single test where each is a suite of its own. The units that take
minutes begin, so that no process is left alone with one of them at the end.
"""

from xdist.scheduler.loadscope import LoadScopeScheduling
from xdist.workermanage import WorkerController

SHARING = ("tests/e2e/", "tests/interop/")  # programs of package scope
ALONE = ("tests/npusim/test_on_cards.py",)
LONGEST_FIRST = ("tests/npusim/", *SHARING, "tests/training/", "tests/webui/", "tests/worker/")


def unit_of(nodeid: str) -> str:
    """What `nodeid` is run together with."""
    file = nodeid.partition("::")[0]
    if file in ALONE:
        return nodeid
    return next((folder for folder in SHARING if file.startswith(folder)), file)


def turn_of(unit: str) -> int:
    """The smaller, the sooner; units of the same turn keep their order."""
    found = (turn for turn, place in enumerate(LONGEST_FIRST) if unit.startswith(place))
    return next(found, len(LONGEST_FIRST))


class Lanes(LoadScopeScheduling):
    """xdist's way to hand out units, with our units in our order."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        soonest = min(self.workqueue, key=turn_of)
        self.workqueue.move_to_end(soonest, last=False)
        super()._assign_work_unit(node)
