"""Labelled texts: files of any layout, GLUE, Rotten Tomatoes."""
