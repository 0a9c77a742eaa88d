"""Charts of the report: each function takes values and gives an Altair chart without colours or width."""
