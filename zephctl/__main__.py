"""python -m zephctl."""

import sys

from zephctl.cli import main

sys.exit(main())
