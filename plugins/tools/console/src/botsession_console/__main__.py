"""`python -m botsession_console` is the command `botsession`."""

import sys

from botsession_console.command import main

sys.exit(main())
