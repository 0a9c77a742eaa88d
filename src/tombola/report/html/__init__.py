"""The frame of a page and the elements that its sections are made of."""
