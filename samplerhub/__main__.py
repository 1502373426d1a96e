"""``python -m samplerhub`` is ``samplerhub``."""

import sys

from samplerhub.cli import main

sys.exit(main())
