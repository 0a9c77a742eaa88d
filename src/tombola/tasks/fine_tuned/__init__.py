"""Models that predict labels, answers or texts, and that each full model is fine-tuned for: a module a task type."""
