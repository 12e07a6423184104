"""Puts the bundle on a Knative cluster: `python -m knative`. What it puts there is the YAML of this folder."""
