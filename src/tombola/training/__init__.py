"""Training of models and tickets: fine-tuning, retraining, rewinding, LoRA."""
