"""What a language model understands, ability by ability: where examples are from, and what they look like as text."""
