"""The real CLI on the test's database instead of a linked project; records the commands that need an account."""

import json
import os
import subprocess
import sys
from pathlib import Path

arguments = ["--remote=" + os.environ["DATABASE"] if a == "--remote" else a for a in sys.argv[1:]]
if arguments[0] in ("link", "secrets", "functions"):
    with Path(os.environ["RECORD"]).open("a") as record:
        record.write(json.dumps(["supabase", *arguments]) + "\n")
else:
    command = [os.environ["CLI"], *arguments, *["--yes"] * (arguments[1] == "push")]
    sys.exit(subprocess.run(command, check=False).returncode)
