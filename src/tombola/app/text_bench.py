"""Text bench: a study's full model of texts beside its tickets, and any other subnetwork of it that is asked for.

One model is loaded; every subnetwork is that model with gates. Nothing of a text that it is asked about is kept.
"""

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tombola.analysis.agreement.survival import SiteSurvival, site_survival
from tombola.analysis.attention.attention_maps import AttentionMaps, attention_hooks
from tombola.analysis.attention.attention_probabilities import attention_patterns
from tombola.analysis.attention.example_maps import readable_tokens
from tombola.analysis.attention.patterns import AttentionPatterns
from tombola.analysis.forward_passes import SampleOptions, forward_passes, sampled
from tombola.app.study_bench import COMPARED, FULL, StudyBench
from tombola.architectures.anatomy import Places
from tombola.foundations.errors import TombolaError
from tombola.pruning.evaluation import Evaluation, evaluate
from tombola.report.study_data import StudyData
from tombola.study.folder_layout import EVALUATION, SeedFolder
from tombola.study.session import Session
from tombola.subnetworks.subnetwork import Subnetwork, masked, shrunk, whole
from tombola.tasks.base import Batch
from tombola.tasks.capabilities import ClassifiesTexts
from tombola.tickets.ticket import Ticket, every_site
from tombola.tickets.ticket_files import HEAD

T = TypeVar("T")
RETRAINED = ", retrained"
"""After the name of a ticket that was trained again, where the study saved that model."""
SAMPLE = 64
"""Dev examples whose loss follows every click."""
PATTERNS = 32
"""Dev examples by whose maps heads are put into classes, where the study did not."""


@dataclass(frozen=True)
class Look:
    """Look of a subnetwork at one text.

    Attributes:
        answer: probabilities in the order of the task's classes, or one value.
        tokens: of the text, as they read.
        maps: row of heads → its attention maps, fp32 [heads, tokens, tokens]; empty where the model gives none.
    """

    answer: tuple[float, ...]
    tokens: tuple[str, ...]
    maps: Mapping[int, NDArray[np.float32]]


@dataclass(frozen=True)
class SampleLoss:
    """Mean loss of a subnetwork over so many dev examples, always the same ones, and its score on them."""

    loss: float
    score: float
    examples: int


@dataclass(frozen=True)
class Disagreement:
    """Dev example on which the full model and a ticket differ.

    Attributes:
        index: of the dev split.
        texts: its text, or its two.
        label: right class.
        full, ticket: predicted classes.
        sure: probability that the ticket gives its own answer.
    """

    index: int
    texts: tuple[str, ...]
    label: int
    full: int
    ticket: int
    sure: float


class TextBench(StudyBench):
    """Full model of one seed of a study, and the subnetworks that are made of it by gates, which hang on the model.

    Attributes:
        full: ticket of all its heads and MLPs.
        config: the study's settings, as they are on this machine.

    Others are those of `StudyBench`.
    """

    capability, does = ClassifiesTexts, "classify texts"

    def __init__(self, data: StudyData, session: Session, seed_folder: SeedFolder, model: nn.Module) -> None:
        super().__init__(data, session, seed_folder, model)
        self.config = session.config
        self.full = Ticket.full(self.anatomy, every_site(self.anatomy))
        self._kept: dict[object, Any] = {}
        self._without_maps = ""

    @property
    def texts(self) -> ClassifiesTexts:
        """The task, as texts of one's own see it."""
        assert isinstance(self.task, ClassifiesTexts)
        return self.task

    @property
    def places(self) -> Places:
        """Names of the rows of the grid."""
        return Places.of(self.anatomy)

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """Pruning methods that found a good ticket of this seed; those of heads and MLPs first."""
        found = [one for one in self.data.methods if (self._place(one, "good") / HEAD).is_file()]
        return tuple(sorted(found, key=lambda one: not {*self.tickets(one)["good"].sites} <= {*self.full.sites}))

    def tickets(self, method: str) -> Mapping[str, Ticket]:
        """Tickets of a method that stand beside the full model, by name."""
        return self._once(
            ("tickets", method),
            lambda: {
                name: Ticket.load(place) for name in COMPARED if ((place := self._place(method, name)) / HEAD).is_file()
            },
        )

    def subnetwork(self, ticket: Ticket) -> Subnetwork:
        """The part of the full model that a ticket keeps, by gates; of a ticket of weights, by zeros in a copy."""
        if not ticket.sites:
            return masked(self.model, ticket)
        ticket.check(self.anatomy)
        return Subnetwork(self.model, self.anatomy, ticket, ticket | ~ticket)

    def named(self, method: str, name: str) -> Subnetwork:
        """The full model, or a ticket of a method: as it was cut out, or retrained."""
        if name == FULL:
            return self.subnetwork(self.full)

        def make() -> Subnetwork:
            if name.endswith(RETRAINED):
                return whole(self._loaded(self._retrained(method, name.removesuffix(RETRAINED))))
            ticket, updated = self.tickets(method)[name], self.seed_folder.updated(method)
            if not (ticket.provenance.get("updated_weights") and updated.is_dir()):
                return self.subnetwork(ticket)
            return masked(self._loaded(updated), ticket)

        return self._once(("subnetwork", method, name), make)

    def answers(self, texts: tuple[str, ...], method: str) -> dict[str, tuple[float, ...]]:
        """Answers of the full model and of a method's tickets to a text, or pair of texts, by name.

        Raises:
            TombolaError: there is no text to read.
        """
        batch = self._batch(texts)
        tickets = self.tickets(method)
        retrained = [f"{name}{RETRAINED}" for name in tickets if self.task.saved(self._retrained(method, name))]
        return {name: self._answer(self.named(method, name), batch) for name in (FULL, *tickets, *retrained)}

    def look(self, texts: tuple[str, ...], ticket: Ticket) -> Look:
        """Look of the subnetwork of a ticket at a text, or pair of texts, with the attention maps of every head.

        Raises:
            TombolaError: there is no text to read.
        """
        batch, maps = self._batch(texts), dict[int, NDArray[np.float32]]()
        subnetwork = self.subnetwork(ticket)

        def take(found: AttentionMaps) -> None:
            maps[found.row] = found.weights[0].float().cpu().numpy()

        if not self._without_maps:
            try:
                with self._lock, attention_hooks(self.model, self.anatomy, take):
                    answer = self._pass(subnetwork, batch)
                ids = batch.inputs["input_ids"][0].tolist()
                return Look(answer, tuple(readable_tokens(self.texts.tokenizer, ids)), maps)
            except TombolaError as error:
                self._without_maps = str(error)
        return Look(self._answer(subnetwork, batch), (), {})

    @property
    def without_maps(self) -> str:
        """Reason why the model gives no attention maps, once one was asked for; empty where it does."""
        return self._without_maps

    def sample_loss(self, ticket: Ticket) -> SampleLoss:
        """Loss and score of the subnetwork of a ticket over a sample of the dev split."""
        subnetwork, indices, losses, found = self.subnetwork(ticket), [], [], []
        for batch in self._sample:
            with self._lock:
                output = self._run(subnetwork, batch, self.task.output)
            indices.append(batch.indices)
            losses.append(output.losses.float().cpu().numpy())
            found.append(output.predictions.cpu().numpy())
        references = self.task.references("dev")[np.concatenate(indices)]
        score = self.task.metric.score(np.concatenate(found), references)
        loss = np.concatenate(losses)
        return SampleLoss(float(loss.mean(dtype=np.float64)), score, len(loss))

    def score(self, ticket: Ticket) -> Evaluation:
        """Evaluation of the subnetwork of a ticket on the whole dev split, as `tombola score` scores it."""
        with self._lock:
            return evaluate(shrunk(self.model, ticket), self.task, self._options)

    def disagreements(self, method: str, name: str) -> Sequence[Disagreement]:
        """Dev examples to which the full model and a ticket give different classes, in the order of the split.

        Raises:
            TombolaError: the task has no classes.
        """
        if self.texts.classes is None:
            raise TombolaError(f"{self.task.title} has values, and no classes to disagree on")
        return self._once(("disagreements", method, name), lambda: self._disagreements(method, name))

    def importance(self, kind: str) -> Sequence[Sequence[float | None]]:
        """Importance of the full model's sites of a kind, in rows, as the search of this seed saw it; or none."""
        for search in self.data.trajectories:
            values = (search.full.importance or {}).get(kind)
            if search.seed == self.seed_folder.seed and values is not None:
                return [row if isinstance(row, list) else [row] for row in values]
        return []

    def survival(self, method: str) -> SiteSurvival | None:
        """Survival of sites in a method's good tickets of all seeds; None of weights."""
        if not self.tickets(method)["good"].sites:
            return None
        return self._once(
            ("survival", method),
            lambda: site_survival([Ticket.load(place) for place in self.data.good_tickets(method).values()]),
        )

    def patterns(self) -> Tensor:
        """Share of each class of attention in the full model's maps, float64 [rows, heads, classes].

        They are the study's, where it looked at them; else they are taken of a few dev examples.
        """

        def take() -> Tensor:
            found = self.data.analyses(AttentionPatterns, "attention").get(self.seed_folder.seed)
            if found is None:
                with self._lock:
                    found = attention_patterns(self.model, self.task, self._sample_options(PATTERNS), example_maps=0)
            return found.shares("raw")

        return self._once("patterns", take)

    def save(self, ticket: Ticket, folder: Path) -> None:
        """Write a ticket that a person made as a new folder, which every command takes as `--ticket`.

        Raises:
            TombolaError: the folder is there.
        """
        facts = self.data.facts
        ticket.with_provenance(
            ticket="hand-made",
            task=str(facts.config["task"]),
            model=str(facts.config["model"]),
            seed=self.seed_folder.seed,
            study=self.data.folder.name,
        ).save(folder)

    def _place(self, method: str, name: str) -> Path:
        return self.seed_folder.ticket(method, name)

    def _retrained(self, method: str, name: str) -> Path:
        return self._place(method, name) / "retrained"

    def _once(self, key: object, make: Callable[[], T]) -> T:
        """Value that was made under a key before, or is now."""
        if key not in self._kept:
            self._kept[key] = make()
        found: T = self._kept[key]
        return found

    def _batch(self, texts: tuple[str, ...]) -> Batch:
        if not any(text.strip() for text in texts):
            raise TombolaError("type a text, or pick one of the dev set")
        if any(map(_unreadable, "".join(texts))):
            raise TombolaError("this is no text: it holds characters that nobody can read; type or paste a sentence")
        return self.texts.batch_of([texts])

    @cached_property
    def _options(self) -> SampleOptions:
        return self._sample_options(None)

    def _sample_options(self, sample: int | None) -> SampleOptions:
        return SampleOptions(
            batch_size=self._session.config.eval_batch_size, precision=self._session.precision, sample=sample
        )

    @cached_property
    def _sample(self) -> Sequence[Batch]:
        return list(sampled(self.task, self._sample_options(SAMPLE)))

    def _answer(self, subnetwork: Subnetwork, batch: Batch) -> tuple[float, ...]:
        with self._lock:
            return self._pass(subnetwork, batch)

    def _pass(self, subnetwork: Subnetwork, batch: Batch) -> tuple[float, ...]:
        return tuple(self._run(subnetwork, batch, self.texts.answers)[0].tolist())

    def _run(self, subnetwork: Subnetwork, batch: Batch, run: Callable[[nn.Module, Batch], T]) -> T:
        found: list[Any] = [forward() for _, forward in forward_passes(subnetwork, [batch], run, self._options)]
        answer: T = found[0]
        return answer

    def _disagreements(self, method: str, name: str) -> Sequence[Disagreement]:
        full = Evaluation.read(self.seed_folder.full / EVALUATION).predictions
        path = self._place(method, name) / "pruned" / EVALUATION
        if not path.is_file():
            raise TombolaError(f"the study has not scored the {name} ticket yet; run it on")
        ticket = Evaluation.read(path).predictions
        if full.dtype.kind == "f":
            # Of a metric that ranks, the predictions are probabilities of class 1.
            full, ticket = (np.asarray(one > 0.5, dtype=np.int64) for one in (full, ticket))
        texts, labels, subnetwork = self.texts.texts("dev"), self.task.references("dev"), self.named(method, name)
        differ = np.flatnonzero(full != ticket)
        sure = list[float]()
        for part in np.array_split(differ, -(-len(differ) // 64)) if len(differ) else ():
            batch = self.texts.batch_of([texts[int(index)] for index in part])
            with self._lock:
                shares = self._run(subnetwork, batch, self.texts.answers)
            sure += shares[torch.arange(len(part)), torch.from_numpy(ticket[part])].tolist()
        return [
            Disagreement(int(i), texts[int(i)], int(labels[i]), int(full[i]), int(ticket[i]), share)
            for i, share in zip(differ, sure, strict=True)
        ]


def _unreadable(one: str) -> bool:
    """True for a control character, half of a surrogate pair, or what stands for bytes that are no text."""
    return one == "\ufffd" or (unicodedata.category(one) in ("Cc", "Cs") and not one.isspace())
