"""``python -m gatepost``: the command, where its script is not on the path."""

from gatepost.cli import main

main(prog_name="gatepost")
