"""Small models, data and studies that tests build."""
