"""Tables as values, and as HTML, CSV and LaTeX."""
