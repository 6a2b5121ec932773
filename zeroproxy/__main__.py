"""`python -m zeroproxy` is `zeroproxy`."""

import sys

from zeroproxy.cli import main

sys.exit(main())
