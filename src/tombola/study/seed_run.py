"""Run of one seed: fine-tune, search, draw controls, score, retrain, shrink; each result is published whole."""

import contextlib
import dataclasses
import functools
import shutil
import time
import warnings
from collections.abc import Iterator

from tombola.checkpoints.checkpoint import save_shrunk
from tombola.checkpoints.model_card import bytes_on_disk, dense_bytes, megabytes
from tombola.foundations.atomic_files import publish
from tombola.foundations.errors import FailedError
from tombola.foundations.progress import Progress
from tombola.profiling.model_cost import CostOptions, compare
from tombola.pruning import controls
from tombola.pruning.evaluation import Evaluation
from tombola.pruning.search.guessing import GuessingWarning
from tombola.pruning.search.loop import search_ticket
from tombola.pruning.search.records import GOOD, Search
from tombola.study.folder_layout import COST, EVALUATION, SAVED, SCORES, SEARCH_EVALUATION, TEXT_GENERATION
from tombola.study.results import read_row
from tombola.study.seed_context import SeedContext
from tombola.study.step import warn_on_failure
from tombola.study.training_folder import training_folder
from tombola.subnetworks.subnetwork import Subnetwork, expanded, shrunk, whole
from tombola.tickets.pruning_methods import in_words
from tombola.tickets.site_groups import site_groups_of
from tombola.tickets.ticket import Ticket
from tombola.training.loop import train

_LARGE = 50_000_000
"""Prunable weights from which a model is timed once only: a pass takes seconds then, which a disturbance does not."""


class SeedRun(SeedContext):
    """Run of one seed in its context: every method computes a result from what others published, and publishes it."""

    def guessing(self, _: Progress) -> None:
        """Score guessing without a model."""
        task, started = self.setting.task, time.perf_counter()
        predictions = {split: task.guess(split) for split in ("dev", *(split for split, _ in task.more.values()))}
        with publish(self.seed_folder.folder / "guessing") as draft:
            self.write_row(draft, predictions, None, "guessing", "none", started)

    def full(self, progress: Progress) -> None:
        """Fine-tune the full model, unless it is given or judged as it comes, and score it."""
        task, config, started = self.setting.task, self.config, time.perf_counter()
        seed, precision = self.seed_folder.seed, self.setting.precision
        given, there = config.full is not None, self.seed_folder.trained
        known = there.is_dir() and not given
        if given:
            model = self.load(config.full_of(seed))
        elif known:
            model = self.load(there)
            started -= read_row(there)["seconds"]
        elif task.trained:
            rewinding = config.rewinding
            # The classical lottery ticket starts, and its reference trains, from the random initialisation.
            model = task.load(config.model, seed=seed, state=rewinding.initial_state).to(self.setting.device)
        else:
            model = self.model()
        with publish(self.seed_folder.full) as draft:
            if known:
                shutil.copytree(there, draft, ignore=shutil.ignore_patterns(*SCORES), dirs_exist_ok=True)
            elif task.trained and not given:
                keep = training_folder(self.seed_folder.full)
                # Beside what is kept of the training, which may go on after that step.
                save = functools.partial(rewinding.save_step, full=keep.path)
                at_step = (rewinding.step, save) if rewinding.to == "step" else None
                how = functools.partial(train, seed=seed, at_step=at_step, precision=precision)
                how(model, task, config.recipe, keep=keep, progress=progress)
                if at_step is not None:
                    # Kept there too, until the result is published: what is killed before goes on after that step.
                    shutil.copy2(rewinding.step_file(keep.path), rewinding.step_file(draft))
            self.write_score(draft, whole(model), "full", "none", started, progress)
            if config.search_split == "train":
                self.evaluate(whole(model), "search", progress, importance=True).write(draft / SEARCH_EVALUATION)
            if task.trained and not known:
                task.save(model, draft)
        shutil.rmtree(there, ignore_errors=True)
        self.full_model = model

    def search(self, method: str, progress: Progress) -> None:
        """Search for the good ticket of a method."""
        config = self.config
        # A killed search may have left a model that goes with no ticket.
        shutil.rmtree(self.seed_folder.updated(method), ignore_errors=True)
        on_dev, keep = config.search_split == "dev", training_folder(self.seed_folder.ticket(method, "good"))
        full = self.seed_folder.full / (EVALUATION if on_dev else SEARCH_EVALUATION)
        with self._beyond_guessing():
            found = search_ticket(
                self.model(),
                self.task,
                method,
                options=config.search_options,
                evaluation=self.setting.evaluation(progress, config.searched),
                full=Evaluation.read(full) if full.is_file() else None,
                retrain=(lambda ticket: self.trained(ticket, progress, keep)) if config.iterative else None,
                seed=self.seed_folder.seed,
            )
        found = dataclasses.replace(found, good=self.with_provenance(found.good, "good", method))
        if found.model is not None:
            with publish(self.seed_folder.updated(method)) as draft:
                self.setting.task.save(found.model, draft)
        found.save(self.seed_folder.folder / method)
        if found.trained is not None:
            # The same weights that retraining would come to. A run that is killed just here retrains.
            started = time.perf_counter() - found.last.seconds
            known = dataclasses.replace(found.evaluation, importance=None) if found.evaluation and on_dev else None
            self.publish_retrained(method, "good", found.trained, started, progress, known)

    @contextlib.contextmanager
    def _beyond_guessing(self) -> Iterator[None]:
        """Stop a search where guessing is as good, unless the study continues: before its first cut.

        Raises:
            FailedError: the full model is at chance, or guessing holds the threshold.
        """
        if self.config.at_chance == "continue":
            yield
            return
        with warnings.catch_warnings():
            warnings.simplefilter("error", GuessingWarning)
            try:
                yield
            except GuessingWarning as warning:
                raise FailedError(f"{warning}; or go on all the same (--continue, at_chance: continue)") from None

    def control(self, method: str, name: str, _: Progress) -> None:
        """Draw a control of the good ticket's size."""
        found = Search.load(self.seed_folder.folder / method)
        anatomy, seed = self.setting.anatomy, self.seed_folder.seed
        groups = site_groups_of(anatomy, method)
        if name == "bad":
            ticket = controls.bad(found, self.model(), seed if self.config.bad_draw == "pruned" else None)
        elif self._drawn_anew(name):
            ticket = controls.bernoulli(found.good, seed, groups)
        elif name == "random":
            ticket = controls.random(found.good, seed, groups, anatomy)
        else:
            ticket = controls.layer_matched(found.good, seed, groups, anatomy)
        self.with_provenance(ticket, name, method).save(self.seed_folder.ticket(method, name))

    def _drawn_anew(self, name: str) -> bool:
        """True for a control whose sites are drawn each by itself, and once more to be retrained."""
        return name == "random" and self.config.random_draw == "bernoulli"

    def pruned(self, method: str, name: str, progress: Progress) -> None:
        """Score a ticket as it is cut out of the full model."""
        started = time.perf_counter()
        folder = self.seed_folder.ticket(method, name)
        ticket = Ticket.load(folder)
        with publish(folder / "pruned") as draft:
            model = (self.updated(method) if name == "good" else None) or self.model()
            known = self._seen(method, ticket) if name == "good" else None
            self.write_score(draft, shrunk(model, ticket), name, "pruned", started, progress, known)

    def _seen(self, method: str, good: Ticket) -> Evaluation | None:
        """The evaluation of the good ticket that its search made already, if that is of the pruned model on dev."""
        path = self.seed_folder.folder / method / GOOD
        same = good.provenance.get("split") == "dev" and good.provenance.get("stage") == "pruned"
        if not same or not path.is_file():
            return None
        seen = dataclasses.replace(Evaluation.read(path), importance=None)
        # Scored again only where the search went by another metric: a Fréchet distance takes its time.
        return seen if self.task.for_search() is self.task else seen.scored_by(self.task)

    def retrained(self, method: str, name: str, progress: Progress) -> None:
        """Train a ticket again, unless its search did, and score it."""
        started = time.perf_counter()
        folder = self.seed_folder.ticket(method, name)
        if (folder / "retrained").is_dir():
            # A search that trains between its cuts leaves it.
            self.write_interval(folder / "retrained")
            return
        # Nothing is rewound where nothing was fine-tuned: what pruning made of the weights is what recovers.
        initial_model = self.updated(method) if name == "good" and not self.setting.task.trained else None
        ticket = Ticket.load(folder)
        if self._drawn_anew(name):
            good = Ticket.load(self.seed_folder.ticket(method, "good"))
            groups = site_groups_of(self.setting.anatomy, method)
            drawn = controls.bernoulli(good, self.seed_folder.seed, groups, draw="retrained")
            ticket = self.with_provenance(drawn, name, method)
        part = self.trained(ticket, progress, training_folder(folder / "retrained"), initial_model)
        self.publish_retrained(method, name, part, started, progress)

    def publish_retrained(
        self,
        method: str,
        name: str,
        part: Subnetwork,
        started: float,
        progress: Progress,
        known: Evaluation | None = None,
    ) -> None:
        """Score a ticket that was trained again; `known` is its evaluation on dev."""
        with publish(self.seed_folder.ticket(method, name) / "retrained") as draft:
            self.write_score(draft, part, name, "retrained", started, progress, known)
            if self._drawn_anew(name):
                part.ticket.save(draft / "drawn")
            if name in SAVED[self.setting.save]:
                self.setting.task.save(expanded(part), draft)
            if "text-generation" in self.config.analyses:
                # Now that it is here: of most tickets no model is saved.
                with warn_on_failure(f"what the retrained {name} ticket writes was left out"):
                    self.generate_texts(part.model).write(draft / TEXT_GENERATION)

    def shrunk(self, method: str, _: Progress) -> None:
        """Write the good ticket, retrained, as a model that really is smaller."""
        good = self.seed_folder.ticket(method, "good")
        tokenizer = str(good / "retrained") if self.config.retrains else self.config.model
        with warn_on_failure("the good ticket was not written as a smaller model"):
            model = self.good_model(method)
            save_shrunk(model, Ticket.load(good), good / "shrunk", tokenizer=tokenizer, force=True)
            if (found := bytes_on_disk(good / "shrunk")) >= (dense := dense_bytes(model)):
                warnings.warn(
                    f"the good ticket of {in_words(method)} makes no smaller files: {megabytes(found)} instead of "
                    f"{megabytes(dense)}",
                    stacklevel=2,
                )

    def measured(self, method: str, _: Progress) -> None:
        """Time the good ticket's model dense, masked and shrunk."""
        good, small = self.seed_folder.ticket(method, "good"), self.setting.anatomy.weights < _LARGE
        with warn_on_failure("the smaller model was not timed"):
            options = CostOptions(self.config.max_length, repeats=3 if small else 1, activations=small)
            model, ticket = self.good_model(method), Ticket.load(good)
            compare(model, ticket, options, folder=good / "shrunk", beside=True).write(good / COST)
