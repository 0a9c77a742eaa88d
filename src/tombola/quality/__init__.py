"""How good generated images are: distances between their features and those of held-out real images."""
