"""`python -m bench.apps.serve MODULE PORT`: an app on uvicorn as in production, without uvicorn's command line."""

import importlib
import sys

import uvicorn

if __name__ == "__main__":
    app = importlib.import_module(sys.argv[1]).app
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(sys.argv[2]),
        log_level="warning",
        access_log=False,
        ws="none",
    )
