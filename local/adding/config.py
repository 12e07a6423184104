"""The gateway's block of an app's config.toml. All other bytes of the file stay as they are.

A config.json is read, and its developer changes it.
"""

import json
import re
import tomllib
from typing import Any, Final

from local.adding.app import App, CannotAdd

_NAME: Final = "auth-gateway"
_HEADER: Final = re.compile(
    rb"""^[ \t]*\[[ \t]*functions[ \t]*\.[ \t]*(["']?)auth-gateway\1[ \t]*\][^\n]*(?:\n|\Z)""",
    re.MULTILINE,
)
#: A key with its value, and a comment.
_LINE: Final = (
    rb"""^([ \t]*["']?KEY["']?[ \t]*=[ \t]*)"""
    rb"""(?:"[^"\r\n]*"|'[^'\r\n]*'|[^#\r\n]*?)([ \t]*(?:#[^\r\n]*)?)(?=\r?$)"""
)
_NEXT_HEADER: Final = re.compile(rb"^[ \t]*\[", re.MULTILINE)
_STRING: Final = r'("(?:[^"\\]|\\.)*")'
#: What JSONC adds to JSON, comments and then last commas; or a string, which stays.
_ADDED: Final = (
    re.compile(rf"{_STRING}|//[^\n]*|/\*.*?\*/", re.DOTALL),
    re.compile(rf"{_STRING}|,(?=\s*[}}\]])", re.DOTALL),
)


def gateway_block(ours: App) -> str:
    """The block as this checkout has it: its header, its settings, its comments."""
    content = ours.config.read_bytes()
    start, end = _find_block(content) or (0, 0)
    return content[start:end].decode().strip() + "\n"


def read_config(app: App) -> dict[str, Any]:
    """The app's settings.

    Raises:
        CannotAdd: the file is not valid TOML or JSON.
    """
    name = app.config.name
    kind = "TOML" if name.endswith("toml") else "JSON"
    try:
        text = app.config.read_bytes().decode("utf-8-sig")
        config = tomllib.loads(text) if kind == "TOML" else _read_json(text)
    except ValueError as error:
        raise CannotAdd(f"{name} is no {kind}: {error}.") from None
    return config if isinstance(config, dict) else {}


def _read_json(text: str) -> Any:
    for added in _ADDED:
        text = added.sub(lambda found: found[1] or " ", text)
    return json.loads(text)


def with_block(app: App, block: str) -> bytes:
    """The file with the gateway's block added, or with the values of the block that it has.

    Raises:
        CannotAdd: the file is not valid, or has the gateway's settings in a form that cannot be changed line by line.
    """
    content, config = app.config.read_bytes(), read_config(app)
    wanted = tomllib.loads(block)["functions"][_NAME]
    present = _table(config, "functions").get(_NAME, {})
    if isinstance(present, dict) and wanted.items() <= present.items():
        return content
    if app.config.suffix != ".toml":
        raise CannotAdd(f"{app.config.name} lacks {_as_json(wanted)}: add it, and run this again.")
    place = _find_block(content)
    changed = _update(content, place, wanted) if place else _append(content, block)
    _check_change(app, changed, config, wanted)
    return changed


def _as_json(wanted: dict[str, Any]) -> str:
    return json.dumps({"functions": {_NAME: wanted}})


def warnings(app: App) -> list[str]:
    """What the plan says about settings that it leaves."""
    config = read_config(app)
    branches = _table(config, "remotes")
    migrations = _table(config, "db", "migrations")
    found = []
    if any(map(_exposes_agent, (config, *(_table(branches, name) for name in branches)))):
        found.append(
            f"{app.config.name} exposes schema agent in `[api] schemas`; remove it, because the schema holds leases and"
            " claims."
        )
    if migrations.get("enabled") is False:
        found.append(f"{app.config.name} disables migrations, so `supabase db push` applies none.")
    if migrations.get("schema_paths"):
        found.append(
            f"{app.config.name} declares schemas in files; `supabase db diff` needs `--schema` with their names,"
            " because it reports all others as removed."
        )
    return found


def _exposes_agent(config: dict[str, Any]) -> bool:
    schemas = _table(config, "api").get("schemas")
    return isinstance(schemas, list) and "agent" in schemas


def _table(config: dict[str, Any], *names: str) -> dict[str, Any]:
    """The table at this place; empty if there is none."""
    for name in names:
        found = config.get(name)
        config = found if isinstance(found, dict) else {}
    return config


def _find_block(content: bytes) -> tuple[int, int] | None:
    """Where the block begins and where the next one does."""
    header = _HEADER.search(content)
    if not header:
        return None
    following = _NEXT_HEADER.search(content, header.end())
    return header.start(), following.start() if following else len(content)


def _append(content: bytes, block: str) -> bytes:
    end = b"\r\n" if b"\r\n" in content else b"\n"
    gap = b"" if not content else end if content.endswith(b"\n") else end + end
    return content + gap + block.encode().replace(b"\n", end)


def _update(content: bytes, place: tuple[int, int], wanted: dict[str, Any]) -> bytes:
    block = content[slice(*place)]
    for key, value in wanted.items():
        block = _set(block, key.encode(), _literal(value))
    return content[: place[0]] + block + content[place[1] :]


def _set(block: bytes, key: bytes, value: bytes) -> bytes:
    """The block with this value: in the line of its key, or in a new line after the header."""
    line = re.compile(_LINE.replace(b"KEY", re.escape(key)), re.MULTILINE)
    if line.search(block):
        return line.sub(lambda match: match[1] + value + match[2], block, count=1)
    header, found, rest = block.partition(b"\n")
    end = b"\r\n" if header.endswith(b"\r") or b"\r\n" in block else b"\n"
    start = header + found if found else header + end
    return start + key + b" = " + value + end + rest


def _literal(value: object) -> bytes:
    return str(value).lower().encode() if isinstance(value, bool) else f'"{value}"'.encode()


def _check_change(app: App, changed: bytes, before: dict[str, Any], wanted: dict[str, Any]) -> None:
    functions = _table(before, "functions")
    present = functions.get(_NAME, {})
    merged = {**present, **wanted} if isinstance(present, dict) else wanted
    expected = {**before, "functions": {**functions, _NAME: merged}}
    try:
        is_right = tomllib.loads(changed.decode("utf-8-sig")) == expected
    except tomllib.TOMLDecodeError:
        is_right = False
    if not is_right:
        values = ", ".join(f"{key} = {_literal(value).decode()}" for key, value in wanted.items())
        raise CannotAdd(
            f"{app.config.name} has the functions in a form that this command cannot change; set {values} for {_NAME}"
            " yourself."
        )
