"""Pictures, rows and charts of values in a notebook."""
