"""`python -m zeroproxy` is `zeroproxy`."""

import sys

from zeroproxy.commands.main import main

sys.exit(main())
