"""Coverage-guided fuzzing of one target with atheris: ``python -m fuzz.guided TARGET [libFuzzer options]``."""

import os
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["gatepost", "gatepost_csv", "gatepost_http", "gatepost_sendgrid", "gatepost_vonage"]
):
    from fuzz.targets import SEEDS, TARGETS


def main() -> None:
    """Fuzz the target, beginning with its seeds; atheris ends at the first input that fails and prints it."""
    name = sys.argv.pop(1)
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(SEEDS[name]):
            Path(corpus, str(number)).write_bytes(seed)
        os.chdir(corpus)
        atheris.Setup([*sys.argv, corpus], TARGETS[name])
        atheris.Fuzz()


if __name__ == "__main__":
    main()
