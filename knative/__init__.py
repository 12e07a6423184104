"""Deploys the YAML of this folder to a Knative cluster: `python -m knative`."""
