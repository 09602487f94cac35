"""`python -m llama_operator.cli`."""

from __future__ import annotations

import sys

from llama_operator.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
