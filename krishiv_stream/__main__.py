"""``python -m krishiv_stream``: the command line."""

import sys

from krishiv_stream._cli import main

sys.exit(main())
