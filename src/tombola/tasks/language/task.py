"""Language models: abilities measured zero-shot, and text to calibrate and to train on."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from typing_extensions import override

from tombola.checkpoints import loading
from tombola.checkpoints.loading import tokenizer_of
from tombola.foundations.atomic_files import read_json, write_json
from tombola.foundations.errors import TombolaError, check_choice
from tombola.subnetworks.recognition import recognise
from tombola.tasks.base import Batch, Output, Predictions, State, Task, windows
from tombola.tasks.capabilities import PROMPTS, GeneratedTexts, GenerationSettings, Retained
from tombola.tasks.language import packing
from tombola.tasks.language.abilities import catalog
from tombola.tasks.language.abilities.ability import BITS, Ability
from tombola.tasks.language.abilities.chance_corrected import Scale, alone, measure, reference, retention, understanding
from tombola.tasks.language.abilities.language_modelling import bounded, guess_bits, training_text
from tombola.tasks.language.bos_token import BOS_TOKEN_FILE, BosToken, conventional, named
from tombola.tasks.language.bos_token import choose as choose_bos_token
from tombola.tasks.language.encoding import Encoder
from tombola.tasks.language.item import Item
from tombola.tasks.language.log_likelihood import Reading, causal, choose, positions_of, predictions, read, sums
from tombola.tasks.language.text_generation import NOTHING, NotFiniteError, generate_texts

AUTO = "auto"
LONGEST = 2048
"""Tokens read at once where the model could read more: the field's length for calibration and perplexity."""
_TOKENS_OF_A_ROW = 64
"""Tokens of texts that stand for one example, where only so many are asked for."""


@dataclass(frozen=True)
class Samples:
    """Samples of so many tokens each."""

    count: int
    length: int

    def __post_init__(self) -> None:
        if self.count < 1 or self.length < 1:
            raise TombolaError(
                f"text comes in one block or more of one token or more, not {self.count} x {self.length}"
            )


@dataclass(frozen=True, kw_only=True)
class LanguageTaskOptions:
    """Options of a task of language models.

    Attributes:
        positions: tokens that the model can read at once; longer texts are cut into windows.
        bos_token: what every text begins with: `none`, `bos`, `eos`, a token as the tokenizer writes it, or `auto`, to
            ask the weights of `source` (see `tombola.tasks.language.bos_token`).
        source: of the pre-trained model whose weights say what a text begins with; None for the first that is settled.
        train: samples of the split `train`, as many as the text fills.
        importance: the same of the split `importance`.
        retain: name of the ability that must be held, whose score is the task's alone; None for the mean over all.
        held_out: share of each ability's examples that is held out as the split `search`, so that nothing is chosen on
            those that judge; 0 for none.
        text_tokens: of an ability of texts, judge so many tokens at most, the same number of each text; None for all.
        seed: of what is held out.
        name: short name for folders and rows.
        attention: the implementation that `load` asks for.
        trust_remote_code: let `load` run code that comes with a model.
    """

    positions: int = LONGEST
    bos_token: str = AUTO
    source: str | None = None
    train: Samples = Samples(128, LONGEST)
    importance: Samples = Samples(128, 128)
    retain: str | None = None
    held_out: float = 0.0
    text_tokens: int | None = None
    seed: int = 0
    name: str = "understanding"
    attention: str = "sdpa"
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.held_out < 1:
            raise TombolaError(f"the share to hold out must lie between 0 and 1, not {self.held_out:g}")


class LanguageTask(Task):
    """Task of a causal language model: abilities to measure, and text to calibrate and train on.

    Splits: `dev` holds the examples of all abilities that judge, `search` those that are held out to search on, if any
    are, `train` samples of text for recovery, `importance` shorter samples of the same text, by whose loss the
    importance of sites is measured. A pruned model may well break, and has then understood nothing.

    Args:
        abilities: what is measured; names differ.
        text: texts to calibrate and train on; none of them may be among the examples.
        tokenizer: of the model; see `tokenizer_of`.
        options: BOS token, samples of text, what counts, samples, names, and how models are loaded.

    Attributes:
        learned: names of the abilities that the full model has, as `with_full_model` found; None before that.
        counted: names of those that the score is the mean of.
        examples: split → its abilities.
        readings: how sequences share rows, for each class of model that was settled and its attention.

    Raises:
        TombolaError: two abilities share a name, a name is unknown, or there is no text.
    """

    title = "Understanding"
    importance_split = "importance"
    normalise_layers = False
    trained = False
    tolerates_nan = True

    def __init__(
        self,
        abilities: Sequence[Ability],
        text: Sequence[str],
        tokenizer: PreTrainedTokenizerBase,
        options: LanguageTaskOptions | None = None,
    ) -> None:
        self._options = options = options or LanguageTaskOptions()
        if options.text_tokens is not None:
            abilities = [bounded(one, tokenizer, options.text_tokens) for one in abilities]
        held = [one.parted(options.held_out, options.seed) for one in abilities] if options.held_out else []
        self.abilities = tuple(_with_guess(one, tokenizer, text) for one in ([one for one, _ in held] or abilities))
        self.examples = {"dev": self.abilities} | ({"search": tuple(one for _, one in held)} if held else {})
        names = [ability.name for ability in self.abilities]
        if not names or len(set(names)) < len(names):
            raise TombolaError(f"give at least one ability, and each under a name of its own, not {names}")
        if not "".join(text).strip():
            raise TombolaError("there is no text to calibrate and train on; give a file with text in it")
        self.name = options.name
        # Each ability's own raw score, for the rows.
        self.more = {
            ability.name: ("dev", alone(ability.name, number, Scale.of(ability)))
            for number, ability in enumerate(self.abilities)
        }
        self.tokenizer = tokenizer
        self.positions = options.positions
        self._text = tuple(text)
        self._samples = {
            split: Samples(samples.count, min(samples.length, self.positions))
            for split, samples in (("train", options.train), ("importance", options.importance))
        }
        self.bos_token = None if options.bos_token == AUTO else named(tokenizer, options.bos_token)
        self.readings: dict[tuple[str, str], Reading] = {}
        self._items: dict[str, tuple[list[int], list[Item]]] = {}
        self._rows: dict[tuple[str, int, int | None], list[packing.PackedRow]] = {}
        self.retain = options.retain
        self.learned: tuple[str, ...] | None = None
        self._count(names)

    @classmethod
    def open(
        cls,
        source: str,
        abilities: Sequence[str] | str = catalog.DEFAULT,
        *,
        text_file: Path | str | None = None,
        rows: int | None = None,
        seed: int = 0,
        **options: Any,
    ) -> Self:
        """The task for a model, from names.

        Args:
            source: of the model: asset, local folder or hub id; its tokenizer and configuration are read.
            abilities: `NAME` or `NAME=PATH`, see `tombola.tasks.language.abilities.catalog`.
            text_file: a text file to calibrate, train and judge on instead of plot summaries; `wikitext` for the hub's.
            rows: use a sample of so many examples of each ability, spread evenly over its groups, and of texts 64
                tokens for each of them; None for all.
            seed: of samples, of what is held out, and of whatever is generated.
            options: other fields of `LanguageTaskOptions`.

        Raises:
            TombolaError: the model or a file cannot be read, or what the class refuses.
        """
        trust = bool(options.get("trust_remote_code", False))
        path = loading.locate(source)
        with loading.quiet(), loading.loading(source):
            config = AutoConfig.from_pretrained(path, trust_remote_code=trust)
        _check_kind(source, config)
        abilities = [abilities] if isinstance(abilities, str) else abilities
        text_file = None if text_file is None else Path(text_file)
        if text_file is not None:
            abilities = [f"{name}={text_file}" if name == "language-modelling" else name for name in abilities]
        opened = catalog.open_abilities(abilities, rows=rows, seed=seed, trusted=trust)
        options.setdefault("positions", min(LONGEST, positions_of(config) or LONGEST))
        if rows is not None:
            options.setdefault("text_tokens", rows * _TOKENS_OF_A_ROW)
        return cls(
            opened,
            training_text(text_file).train,
            tokenizer_of(source, trust_remote_code=trust),
            LanguageTaskOptions(source=source, seed=seed, **options),
        )

    def scored_on(self, names: Sequence[str]) -> Self:
        """Task with the mean of these abilities alone as its score: those that the full model has."""
        other = copy.copy(self)
        # What is encoded later is each one's own; what depends on the model is found out by either for itself.
        other._items, other.readings, other._rows = dict(self._items), dict(self.readings), dict(self._rows)
        other._count(names)
        return other

    @override
    def with_full_model(self, full: Predictions) -> "LanguageTask":
        """The task whose score is the mean of the abilities that a full model with these predictions has."""
        measured = measure(self.abilities, full, self.references("dev"))
        have = tuple(one.ability for one in measured if one.learned)
        if self.retain is not None and self.retain not in have:
            chance = f"the full model is at chance in {self.retain}"
            raise TombolaError(f"{chance}, so that none of it can be retained; name another ability")
        other = self.scored_on(have)
        other.learned = have
        return other

    def retained(self, split: str, full: Predictions, pruned: Predictions, **bootstrap: int) -> Sequence[Retained]:
        """Retention of each ability in a pruned model, see `HasAbilities`."""
        return retention(self.abilities, full, pruned, self.references(split), have=self.learned, **bootstrap)

    def _count(self, names: Sequence[str]) -> None:
        numbers = {ability.name: number for number, ability in enumerate(self.abilities)}
        if self.retain is not None:
            names = [self.retain]
        for name in names:
            check_choice("ability", name, numbers)
        if not names:
            raise TombolaError("no ability is left to score; the full model is at chance in all of them")
        self.counted = tuple(names)
        self.metric = understanding([Scale.of(one) for one in self.abilities], [numbers[name] for name in names])

    @override
    def facts(self) -> Mapping[str, object]:
        return {
            **super().facts(),
            "bos_token": None if self.bos_token is None else self.bos_token.name,
            "bos_token_chosen": None if self.bos_token is None else self.bos_token.chosen,
            "bos_token_nats": {} if self.bos_token is None else dict(self.bos_token.nats),
            # Only once the full model was judged is it known what counts.
            **({} if self.learned is None else {"counted": list(self.counted)}),
            "abilities": [
                {
                    **{name: getattr(one, name) for name in ("name", "title", "measure", "chance")},
                    "examples": len(one.examples),
                    "source": one.source,
                }
                for one in self.abilities
            ],
            **{split: {"samples": each.count, "tokens": each.length} for split, each in self._samples.items()},
        }

    @override
    def load(self, source: str, *, seed: int, state: State = "pretrained") -> nn.Module:
        check_choice("state of a model", state, get_args(State))
        path = loading.locate(source)
        trusted = {"trust_remote_code": self._options.trust_remote_code}
        options: dict[str, Any] = {"attn_implementation": self._options.attention, "dtype": torch.float32, **trusted}
        with loading.quiet(), loading.loading(source), torch.random.fork_rng([]):
            torch.manual_seed(seed)
            config = AutoConfig.from_pretrained(path, **trusted)
            _check_kind(source, config)
            auto: Any = AutoModelForCausalLM
            if state == "init":
                model = loading.as_saved(auto.from_config(config, **options), path, source)
            else:
                model, anew = loading.read_weights(auto, path, source, new_output=True, **options)
                if anew:
                    raise TombolaError(
                        f"{source} is no causal language model: it has no {anew[0]}; give a model that was trained to "
                        "predict the next token"
                    )
        assert isinstance(model, PreTrainedModel)
        if self.bos_token is None:
            self._find_bos_token(source, state)
        self.settle(model)
        recognise(model)
        return model

    def settle(self, model: nn.Module) -> None:
        """Find out what depends on a whole model: the BOS token, if it is to be found, and how the model is read.

        `load` does it. A model that was loaded otherwise must be settled before it, or what is made of it, is scored.

        Raises:
            TombolaError: the model is not causal, does not fit the tokenizer, or an example is longer than its context.
        """
        loading.check_vocabulary(self.tokenizer, model)
        positions = positions_of(getattr(model, "config", None))
        if positions is not None and self.positions > positions:
            raise TombolaError(
                f"texts of {self.positions} tokens do not fit into this model's {positions} positions; give positions"
            )
        if self.bos_token is None:
            causal(model)
            self.bos_token = choose_bos_token(model, self.tokenizer, self._text)
        if _key(model) not in self.readings:
            self.readings[_key(model)] = choose(model, self.items("dev"))

    @override
    def save(self, model: nn.Module, folder: Path) -> None:
        assert isinstance(model, PreTrainedModel)
        with loading.quiet():
            model.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)
        if self.bos_token is not None:
            write_json(folder / BOS_TOKEN_FILE, self.bos_token.facts())

    def find_bos_token(self) -> BosToken:
        """BOS token before every text, by the weights of the task's `source` if it is unknown, or a TombolaError."""
        if self.bos_token is None:
            if self._options.source is None:
                raise TombolaError("the BOS token depends on the model; give the task its source, or the BOS token")
            self.load(self._options.source, seed=0)
        assert self.bos_token is not None
        return self.bos_token

    def fix_bos_token(self, bos_token: BosToken) -> None:
        """Use this BOS token from now on, as it was found before: in a study that is resumed, for one."""
        if self.bos_token is None or bos_token.token_id != self.bos_token.token_id:
            # What was encoded, and tried, began otherwise.
            self._items, self.readings, self._rows = {}, {}, {}
        self.bos_token = bos_token

    @override
    def shared_state(self) -> Mapping[str, Any]:
        return {} if self.bos_token is None else {"bos_token": self.bos_token.facts()}

    @override
    def load_shared_state(self, state: Mapping[str, Any]) -> None:
        if "bos_token" in state:
            self.fix_bos_token(BosToken.of(self.tokenizer, state["bos_token"], "the parent's BOS token"))

    def _find_bos_token(self, source: str, state: State) -> None:
        """The BOS token that does not depend on which model is loaded first."""
        stored = Path(loading.locate(source)) / BOS_TOKEN_FILE
        if state != "init" and stored.is_file():
            # It was found for the model that this one was made of.
            self.fix_bos_token(BosToken.of(self.tokenizer, read_json(stored), str(stored)))
        elif self._options.source is not None and (self._options.source, "pretrained") != (source, state):
            self.load(self._options.source, seed=0)
        elif state == "init":
            # Random weights have no opinion.
            self.bos_token = conventional(self.tokenizer)

    @override
    def size(self, split: str) -> int:
        return len(self.items(split))

    @override
    def references(self, split: str) -> Predictions:
        pairs = zip(*self._numbered(split), strict=True)
        sized = [(number, item.divisors[0] if item.rule == "text" else 0.0) for number, item in pairs]
        return np.array([reference(*one) for one in sized], dtype=np.float64)

    @override
    def guess(self, split: str) -> Predictions:
        """Predictions of the baseline: every example as good as chance is on its ability."""
        chances = [*(ability.chance for ability in self.abilities), BITS]
        return np.array([chances[number] for number in self._numbered(split)[0]], dtype=np.float64)

    @override
    def batches(self, split: str, batch_size: int, *, shuffle: int | None = None) -> Iterator[Batch]:
        items = self.items(split)
        trees = self._trees
        if shuffle is not None:
            drawn = np.random.default_rng(shuffle).permutation(len(items))
            groups = [drawn[begin : begin + batch_size] for begin in range(0, len(items), batch_size)]
        elif trees:
            yield from packing.row_batches(items, packing.separate_rows(items), batch_size, packing.CELLS[split])
            return
        else:
            groups = packing.item_groups(items, batch_size, packing.CELLS[split])
        for indices in groups:
            chosen, golds = [items[index] for index in indices], [items[index].gold for index in indices]
            inputs, targets = packing.pack(chosen, trees=trees), torch.tensor(golds)
            yield packing.PackedBatch(indices, inputs, targets, chosen, trees)

    @override
    def packed_batches(self, split: str, batch_size: int) -> Iterator[Batch]:
        """Batches with items that begin alike in one row, where every settled model reads prefix trees."""
        if not self._trees:
            return self.batches(split, batch_size)
        items = self.items(split)
        limits = [reading.window for reading in self.readings.values() if reading.window is not None]
        key = split, batch_size, min(limits, default=None)
        if key not in self._rows:
            self._rows[key] = packing.pack_by_prefix(items, *key[1:])
        return packing.row_batches(items, self._rows[key], batch_size, packing.CELLS[split])

    @override
    def output(self, model: nn.Module, batch: Batch) -> Output:
        """Losses: mean nats per scored token of the right choice. Predictions, fp64: see `chance_corrected`."""
        inputs = batch.inputs
        log_probabilities, greedy = read(model, inputs, self.readings.get(_key(model), Reading()))
        # [items, groups, choices]
        totals = sums(log_probabilities, inputs)
        gold = totals[:, 0].gather(1, batch.targets[:, None]).squeeze(1)
        losses = -gold / inputs["counts"].clamp(min=1)
        with torch.no_grad():
            exact = torch.zeros(len(totals), dtype=torch.bool, device=totals.device)
            if greedy is not None:
                exact = sums((~greedy).to(totals.dtype), inputs)[:, 0, 0] == 0
            return Output(losses, predictions(totals.double(), exact, inputs, batch.targets))

    def perplexity(self, losses: NDArray[np.float32]) -> Mapping[str, float]:
        """Name → perplexity per token of each ability of texts, from the losses [examples] of the split `dev`.

        It compares models with the same tokenizer; bits per byte compare any.
        """
        numbers, items = self._numbered("dev")
        tokens, found = np.array([item.scored for item in items], dtype=np.float64), {}
        for number, ability in enumerate(self.abilities):
            own = np.array(numbers) == number
            if ability.rule == "text" and tokens[own].sum() > 0:
                found[ability.name] = float(np.exp(np.average(losses[own], weights=tokens[own])))
        return found

    def generate_texts(
        self, model: nn.Module, full: nn.Module, settings: GenerationSettings, prompts: Sequence[str] = PROMPTS
    ) -> GeneratedTexts:
        """Generate texts with a model, see `GeneratesTexts`."""
        try:
            bos = self.find_bos_token().token_id
            return generate_texts(model, full, self.tokenizer, bos_token_id=bos, prompts=prompts, settings=settings)
        except NotFiniteError:
            return NOTHING

    @property
    def _trees(self) -> bool:
        """True if batches are of trees: only where every model that was settled reads them rightly."""
        return bool(self.readings) and all(reading.trees for reading in self.readings.values())

    def items(self, split: str) -> list[Item]:
        """The encoded examples of a split, or its samples of text."""
        return self._numbered(split)[1]

    def _numbered(self, split: str) -> tuple[list[int], list[Item]]:
        """The items of a split, and before them the number of the ability of each; of text the one after the last."""
        if split not in (*self.examples, *self._samples):
            here = ", ".join((*self._samples, *self.examples))
            raise TombolaError(f"{self.title} has no split {split!r}; it has {here}; `search` is there with held_out")
        if split not in self._items:
            encoder = self._encoder()
            if split in self.examples:
                abilities = enumerate(self.examples[split])
                found = [(number, item) for number, one in abilities for item in encoder.items(one)]
            else:
                samples = self._samples[split]
                of_text = encoder.samples(self._text, samples.length, samples.count)
                found = [(len(self.abilities), item) for item in of_text]
            self._items[split] = [number for number, _ in found], [item for _, item in found]
        return self._items[split]

    def _encoder(self) -> Encoder:
        if self.bos_token is None:
            raise TombolaError(
                "the BOS token depends on the model: load the model through the task, call settle(model), or "
                "give the BOS token"
            )
        return Encoder(self.tokenizer, self.bos_token.token_id, self.positions)

    @override
    def text_facts(self, split: str) -> Mapping[str, object]:
        facts: dict[str, object] = dict(super().text_facts(split))
        if samples := self._samples.get(split):
            facts |= {"text": f"training text of {self.name}", "examples": samples.count, "window": samples.length}
        elif split == "train":
            facts["text"] = f"training text of {self.name}"
        return {**facts, "bos_token": None if self.bos_token is None else self.bos_token.name}

    @override
    def calibration_text(self, samples: int, sequence_length: int, seed: int = 0) -> list[Tensor]:
        """Stretches of the training text, drawn: `samples` batches of token ids, int64 [1, up to sequence_length]."""
        tokens = torch.from_numpy(self._encoder().stream(self._text))
        return windows(tokens, samples, min(sequence_length, self.positions, len(tokens)), seed=seed)


def _with_guess(ability: Ability, tokenizer: PreTrainedTokenizerBase, text: Sequence[str]) -> Ability:
    """An ability of texts with what guessing costs in the model's tokens."""
    judged = [choice for example in ability.examples for choice in example.choices]
    if ability.rule != "text" or not any(judged):
        return ability
    guess = guess_bits(tokenizer, text, judged)
    if all(example.sizes for example in ability.examples):
        # Bytes of the texts before they were made readable, for one.
        sizes = sum(size for example in ability.examples for size in example.sizes)
        guess *= sum(len(choice.encode()) for choice in judged) / sizes
    return replace(ability, guess=guess)


def _key(model: nn.Module) -> tuple[str, str]:
    """Key of how a model is read: its type and its kind of attention."""
    config = getattr(model, "config", None)
    return str(getattr(config, "model_type", type(model).__name__)), str(getattr(config, "_attn_implementation", ""))


def _check_kind(source: str, config: object) -> None:
    """Raise a TombolaError for a model that is of no causal class, before its weights are read."""
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING and not getattr(config, "auto_map", None):
        kind = getattr(config, "model_type", type(config).__name__)
        raise TombolaError(
            f"{source} is a {kind}, which is no causal language model; give one that predicts the next token"
        )
