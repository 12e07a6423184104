"""Writes several files: all of them, or none."""

import errno
import os
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path


def write_all(texts: Mapping[Path, str], new_folder: Path) -> None:
    """Write these files, of which some exist and the others may be in a new folder.

    All that needs space or rights happens before the first file changes. What is renamed after that is renamed again if
    one of the renames fails.

    Raises:
        OSError: a file cannot be written, or the folder exists; nothing has changed.
    """
    # What `undo` needs is staged, so `undo` ends first.
    with ExitStack() as staged, ExitStack() as undo:
        new_folder.mkdir()
        undo.callback(shutil.rmtree, new_folder, ignore_errors=True)
        files = [(_stage(path, text, staged), path) for path, text in texts.items()]
        kept = {path: _keep(path, staged) for path in texts if path.exists()}
        for file, path in files:
            undo.callback(_put_back, kept.get(path), path)
            file.replace(path)
        undo.pop_all()


def _stage(path: Path, text: str, staged: ExitStack) -> Path:
    """The new text in a file beside the old one, with its rights."""
    file = path.with_name(f".{path.name}.new")
    staged.callback(file.unlink, missing_ok=True)
    file.write_text(text)
    if path.exists():
        if not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        shutil.copymode(path, file)
    return file


def _keep(path: Path, staged: ExitStack) -> Path:
    """A copy of a file that will be replaced."""
    file = path.with_name(f".{path.name}.old")
    staged.callback(file.unlink, missing_ok=True)
    shutil.copy2(path, file)
    return file


def _put_back(kept: Path | None, path: Path) -> None:
    if kept is None:
        path.unlink(missing_ok=True)
    else:
        kept.replace(path)
