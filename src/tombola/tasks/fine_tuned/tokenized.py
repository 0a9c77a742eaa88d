"""Fine-tuned tasks whose rows are read by a tokenizer."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase
from typing_extensions import override

from tombola.checkpoints import loading
from tombola.foundations.errors import TombolaError
from tombola.tasks.data.columns import Column
from tombola.tasks.data.corpus import given_splits
from tombola.tasks.data.splits import S
from tombola.tasks.fine_tuned.fine_tuned_task import FineTunedOptions, FineTunedTask
from tombola.tasks.padding import first_position, position_table


class TokenizedTask(FineTunedTask[S]):
    """Fine-tuned task whose rows are texts, cut to `max_length` tokens.

    Args:
        name, splits, score, options: as of a fine-tuned task.
        tokenizer: of the model, or the name of that. Without a token for padding, it gets its end token for that.
        pairs: whether a text is of two parts.

    Raises:
        TombolaError: the tokenizer has nothing to pad with, or `max_length` has no room beside its special tokens.
    """

    def __init__(
        self,
        name: str,
        splits: Mapping[str, S],
        tokenizer: PreTrainedTokenizerBase | Path | str,
        *,
        score: str,
        pairs: bool = False,
        options: FineTunedOptions,
    ) -> None:
        if isinstance(tokenizer, str | Path):
            tokenizer = loading.tokenizer_of(str(tokenizer), trust_remote_code=options.trust_remote_code)
        if not isinstance(tokenizer, PreTrainedTokenizerBase):
            raise TombolaError(f"the model's tokenizer is wanted, or its folder or name, not {tokenizer!r:.80}")
        super().__init__(name, splits, tokenizer, score=score, options=options)
        self.tokenizer = tokenizer
        self.max_length = min(options.max_length, tokenizer.model_max_length)
        if tokenizer.pad_token_id is None:
            # GPT-2 and its kin were trained without padding; what is padded is masked, so any token will do.
            if tokenizer.eos_token is None:
                raise TombolaError("the tokenizer has neither a padding nor an end token; give it a pad_token")
            tokenizer.pad_token = tokenizer.eos_token
        special = tokenizer.num_special_tokens_to_add(pair=pairs)
        if self.max_length <= special:
            # The tokenizer would cut nothing at all.
            raise TombolaError(
                f"max_length must be over {special}, the special tokens of a text, not {self.max_length}"
            )

    @classmethod
    def from_rows(
        cls,
        train: Iterable[Mapping[str, object]],
        dev: Iterable[Mapping[str, object]] | None,
        tokenizer: PreTrainedTokenizerBase | Path | str,
        *,
        text_column: str | None = None,
        label_column: str | None = None,
        name: str = "your-data",
        **options: Any,
    ) -> Self:
        """A task from rows in memory: two `datasets.Dataset` or `pandas.DataFrame`, or lists of dictionaries.

        Args:
            train, dev: the rows. With None for `dev`, `train` may be a `DatasetDict` with rows that judge; else a
                fifth of its rows judge, drawn with seed 0.
            tokenizer: of the model, or the name of that.
            text_column, label_column: names of the columns of what is read (text, words, question) and of what is to
                be predicted (label, tags, answers, target); by default the usual ones, as on the command line.
            name: of the data.
            options: fields of `FineTunedOptions`.

        Raises:
            TombolaError: a column is missing, or a row is not of this type.
        """
        columns = Column(text_column, "text_column="), Column(label_column, "label_column=")
        splits, classes = cls.read(given_splits(train, dev), *columns, name=name)
        made: Any = cls
        task: Self = made(name, splits, *classes, tokenizer, FineTunedOptions(**options))
        return task

    @override
    def checked(self, model: nn.Module, *, trained: bool = False) -> nn.Module:
        config: Any = getattr(model, "config", None)
        first, table = first_position(model), position_table(model)
        # RoBERTa's first positions, up to that of its padding, hold no text.
        positions = table.num_embeddings - first if table else getattr(config, "max_position_embeddings", None)
        if positions is not None and self.max_length > positions:
            texts = f"texts of {self.max_length} tokens"
            raise TombolaError(f"{texts} do not fit into this model's {positions} positions; lower --max-length")
        loading.check_vocabulary(self.tokenizer, model)
        return super().checked(model, trained=trained)

    @override
    def lengths(self, split: str) -> NDArray[np.int64]:
        return np.array([self.tokens(example) for example in self.encoded(split)])

    def tokens(self, example: Mapping[str, Any]) -> int:
        """Tokens of an encoded row."""
        return len(example["input_ids"])

    def begin(self, example: dict[str, list[int]], row: int, split: str) -> None:
        """Give an encoded text without tokens, which no model can read, its tokenizer's BOS token, or the end token.

        Raises:
            TombolaError: it has neither.
        """
        if example["input_ids"]:
            return
        tokenizer = self.tokenizer
        token = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
        if token is None:
            raise TombolaError(
                f"the text of row {row + 1} of the split {split} ({self.title}) has no tokens, and the tokenizer no "
                "token to begin with; mend or drop the row"
            )
        example.update({name: [1] if name == "attention_mask" else [0] for name in example})
        example["input_ids"] = [int(token)]

    def padded(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Inputs of encoded texts, int64 [examples, tokens], padded to the longest."""
        names = self.tokenizer.model_input_names
        inputs = [{name: one[name] for name in one if name in names} for one in examples]
        # The tokenizer's own side may be the left, where a text's positions depend on its neighbours; and it may make
        # no mask of itself, where padding would be read.
        made = self.tokenizer.pad(inputs, padding_side="right", return_attention_mask=True, return_tensors="pt")
        return dict(made)
