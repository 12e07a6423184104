"""Adds the schema and the gateway to a Supabase app: `python -m functions add-to PATH`. It is not in the image."""

from local.adding.command import main

__all__ = ["main"]
