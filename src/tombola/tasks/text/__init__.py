"""Text classification and regression: encoders, and the sequence classifiers of decoders."""
