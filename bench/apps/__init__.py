"""The compared servers, each written as its users would."""
