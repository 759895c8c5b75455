"""Expression -> Value: what a class's constructor assigns, by following the program.

Knows torch's vocabulary through `facts`. Nothing is imported or executed.
"""
