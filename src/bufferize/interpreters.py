"""Where an interpreter's packages lie. Asks the interpreter for its path; imports nothing of it."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

from bufferize.errors import UsageError

_QUESTION = "import json, sys; print(json.dumps(sys.path))"


@lru_cache(maxsize=8)
def search_path(python: Path | None) -> tuple[Path, ...]:
    """Folders on the import path of `python`, the running interpreter if None."""
    if python is None or python == Path(sys.executable):
        entries = sys.path
    else:
        try:
            # -I: neither the current folder nor the user's environment variables have a say
            answer = subprocess.run(
                [str(python), "-I", "-c", _QUESTION],
                capture_output=True,
                text=True,
                timeout=30,
                check=True,
            )
            entries = json.loads(answer.stdout)
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            raise UsageError(f"{python}: cannot be asked for its packages: {error}") from error
    return tuple(Path(entry) for entry in entries if entry and Path(entry).is_dir())
