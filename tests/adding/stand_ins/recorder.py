"""Stands in for a program that needs an account or a cluster: writes its arguments to $RECORD as a line of JSON."""

import json
import os
import sys
from pathlib import Path

with Path(os.environ["RECORD"]).open("a") as record:
    record.write(json.dumps([Path(sys.argv[0]).name, *sys.argv[1:]]) + "\n")
