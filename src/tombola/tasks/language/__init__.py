"""Language models, judged zero-shot by what they understand."""
