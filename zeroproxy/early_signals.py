"""The signals that would end the proxy before it handles them. Imports nothing heavy."""

import signal

#: Signals that end a process by default. `zeroproxy` blocks them ahead of its other imports, which
#: take longest. The proxy unblocks them once it handles them, a command that is no proxy at once.
EARLY = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
