"""`python -m bufferize`."""

from bufferize.cli import main

main(prog_name="bufferize")
