"""The functions of a play: those of the bundle, with an agent of the play in the place of `trips`."""
