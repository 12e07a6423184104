"""A chat with an agent in the terminal, or for a script: its client, what it shows, and what it asks."""

from local.terminal.agent import Agent
from local.terminal.chat import Chat
from local.terminal.screen import Screen
from local.terminal.spinner import waiting

__all__ = ["Agent", "Chat", "Screen", "waiting"]
