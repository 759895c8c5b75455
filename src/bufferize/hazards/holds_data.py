"""Data that the caller hands in to be kept, by its name: training inputs, targets, observations.

As a persistent buffer the whole data set goes into every checkpoint, and a checkpoint loads only
where the data has the same length. Gaussian processes keep such tensors plain on purpose.

Bites:

    class Process(nn.Module):
        def __init__(self, train_X: torch.Tensor, train_Y: torch.Tensor):
            super().__init__()
            self.train_X = train_X
            self.train_Y = train_Y

Harmless, because it is a constant of the model:

    class Process(nn.Module):
        def __init__(self, bounds: torch.Tensor):
            super().__init__()
            self.bounds = bounds
"""

from __future__ import annotations

import re

from bufferize.classes import Candidate, ClassView
from bufferize.model import Hazard, Safety
from bufferize.tensors import values as v

_DATA_NAME = re.compile(
    r"_*((neg|original|orig|raw|full|all|train|training|test)_?)*"
    r"(x|y|xs|ys|inputs?|targets?|data|datapoints|labels?|samples|observations|comparisons)_?$",
    re.IGNORECASE,
)


def judge(candidate: Candidate, view: ClassView) -> Hazard | None:
    if v.HANDED_IN not in candidate.value.traits or not _DATA_NAME.match(candidate.attribute):
        return None
    return Hazard(
        "holds-data",
        f"`{candidate.attribute}` looks like data that the caller hands in: saved, it fits only a "
        "module that was given as many rows",
        Safety.UNSAFE,
        candidate.where,
        remedy="pass --unsafe, with `# bufferize: persistent=false` if checkpoints should do "
        "without it",
    )
