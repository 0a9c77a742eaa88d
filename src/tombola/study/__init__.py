"""A study of several seeds: configuration, folder layout, resumable steps, workers, results."""
