"""The tests import the modules of the folder above, as the server does."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
