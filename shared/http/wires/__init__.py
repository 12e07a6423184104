"""The protocols that show runs to clients, one package each."""
