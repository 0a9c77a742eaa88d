"""`python -m tombola` is `tombola`."""

import sys

from tombola.cli import main

sys.exit(main())
