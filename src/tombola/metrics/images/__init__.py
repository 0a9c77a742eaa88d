"""Distances between sets of images: FID, KID, precision and recall, balance of classes."""
