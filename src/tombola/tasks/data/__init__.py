"""Labelled rows: texts, tags, choices, questions and images, of files or the hub; GLUE, Rotten Tomatoes."""
