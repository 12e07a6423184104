"""Makes new agents, and generates what follows from the list of functions. It is not in the image."""
