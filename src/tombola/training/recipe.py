"""Recipe of fine-tuning, and the weights that a ticket is trained from."""

from typing import Annotated

from tombola.foundations.settings import Count, NotNegative, Positive, ShareOrNone, described, settings

_setting = described("training")


@settings
class Recipe:
    """Recipe of fine-tuning: AdamW, linear warm-up and decay, clipped gradients.

    The defaults are usual for BERT on GLUE (Devlin et al. 2019). Biases and norms do not decay.
    """

    epochs: Annotated[Count, _setting("passes over the training rows")] = 3
    learning_rate: Annotated[Positive, _setting("peak of the schedule")] = 2e-5
    batch_size: Annotated[Count, _setting("training examples in a step")] = 32
    weight_decay: Annotated[NotNegative, _setting("of AdamW")] = 0.01
    warmup_ratio: Annotated[ShareOrNone, _setting("share of the steps that warm up")] = 0.1
    max_grad_norm: Annotated[Positive, _setting("largest norm of the gradient")] = 1.0

    def steps(self, examples: int) -> int:
        """Optimizer steps over so many training examples."""
        return self.epochs * -(-examples // self.batch_size)
