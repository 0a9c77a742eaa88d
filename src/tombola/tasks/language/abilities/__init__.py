"""Abilities of a language model, each with its examples, its chance level and its score."""
