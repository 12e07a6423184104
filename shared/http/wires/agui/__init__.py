"""AG-UI 1.0 (docs.ag-ui.com/spec/1.0): its requests, and a run's events as its frames."""
