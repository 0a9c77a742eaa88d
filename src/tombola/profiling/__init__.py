"""Time, multiply-adds and memory of models, measured or estimated."""
