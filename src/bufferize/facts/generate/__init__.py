"""Builds the checked-in tables of torch: run it as `python -m bufferize.facts.generate`.

Takes an installed torch, gives torch.json and modules.json. Nothing else in bufferize imports it.
"""
