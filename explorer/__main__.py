"""`python -m explorer` is the command `pruning-explorer`."""

import sys

from explorer.cli import main

sys.exit(main())
