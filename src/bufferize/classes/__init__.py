"""Modules in, candidates out: which sites of which classes may hold an unregistered tensor.

Says what is a constructor path; refuses to judge whether registering is wise (that is `hazards`).
"""

from bufferize.classes.candidates import Candidate
from bufferize.classes.relations import value_nodes
from bufferize.classes.survey import Survey
from bufferize.classes.uses import (
    Use,
    called_name,
    find_mention,
    first_parameter,
    place,
)
from bufferize.classes.view import ClassView

__all__ = [
    "Candidate",
    "ClassView",
    "Survey",
    "Use",
    "called_name",
    "find_mention",
    "first_parameter",
    "place",
    "value_nodes",
]
