"""Starts the template process, from which workers are forked.

The server runs this folder, or a zip file of it: `python3 -I -B <folder> key=value ...` with its end of the control
socket as standard input. PROTOCOL.md says what is spoken there.
"""

import sys

from rmr_worker.template import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
