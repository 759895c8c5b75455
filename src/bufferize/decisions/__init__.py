"""Candidates in, findings out: hazards asked, sites of one attribute agreed, edits planned.

The one place that combines what the other rooms say; it looks at no torch fact of its own.
"""

from bufferize.decisions.decide import decide

__all__ = ["decide"]
