"""The pipelines room: graphs of steps that train a model as a tracked, cached run."""
