"""Writes, replaces and removes several files: all of them, or none."""

import errno
import os
import shutil
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import mkdtemp


def write_all(contents: Mapping[Path, bytes], removed: Collection[Path] = ()) -> None:
    """Write these files, make the folders that they lack, and remove the others.

    All that needs space or rights happens before the first file changes. What is renamed after that is renamed again if
    one of the renames fails.

    Raises:
        OSError: a file cannot be written or removed; nothing has changed.
    """
    # What `undo` needs is staged, so `undo` ends first.
    with ExitStack() as staged, ExitStack() as undo:
        for path in contents:
            _make_folder(path.parent, undo)
        files = [(_stage(path, content, staged), path) for path, content in contents.items()]
        kept = {path: _keep(path, staged) for path in (*contents, *removed) if path.exists()}
        for file, path in files:
            undo.callback(_put_back, kept.get(path), path)
            file.replace(path)
        for path in removed:
            undo.callback(_put_back, kept.get(path), path)
            path.unlink()
        undo.pop_all()


def _make_folder(folder: Path, undo: ExitStack) -> None:
    if not folder.exists():
        _make_folder(folder.parent, undo)
        folder.mkdir()
        undo.callback(shutil.rmtree, folder, ignore_errors=True)


def _stage(path: Path, content: bytes, staged: ExitStack) -> Path:
    """The new content in a file near the old one, with its rights."""
    file = _place_near(path, staged)
    file.write_bytes(content)
    if path.exists():
        if not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        shutil.copymode(path, file)
    return file


def _keep(path: Path, staged: ExitStack) -> Path:
    """A copy of a file that will be replaced or removed."""
    file = _place_near(path, staged)
    shutil.copy2(path, file)
    return file


def _place_near(path: Path, staged: ExitStack) -> Path:
    """The same name in a new folder: no file there is lost, and no symbolic link leads elsewhere."""
    folder = Path(mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    staged.callback(shutil.rmtree, folder, ignore_errors=True)
    return folder / path.name


def _put_back(kept: Path | None, path: Path) -> None:
    if kept is None:
        path.unlink(missing_ok=True)
    else:
        kept.replace(path)
