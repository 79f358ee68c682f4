"""Starts the template process, from which workers are forked, or looks after what scripts require.

The server runs this folder, or a zip file of it: `python3 -I -B <folder> name=value ...` with its end of the control
socket as standard input (PROTOCOL.md says what is spoken there), or `python3 -I -B <folder> requirements ...`
(rmr_worker/requirements.py says how).
"""

import sys

if __name__ == "__main__":
    if sys.argv[1:2] == ["requirements"]:
        from rmr_worker.requirements import main
    else:
        from rmr_worker.template import main
    sys.exit(main(sys.argv[1:]))
