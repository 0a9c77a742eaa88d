"""Minimal pairs our way and lm-evaluation-harness's way: same model, same pairs, same precision, one run, one ratio.

Ours: pairs that begin alike are one row of a batch, what they share is computed once, logits only where the sentences
of a pair differ, rows of similar length together. The harness's (`pip install 'tombola[language]'`): its own
`HFLM.loglikelihood` at batch 64, each sentence a request after the same BOS token, requests sorted by length as it
does. Both times are those of tokenising and scoring; building the harness's task is left out.

    python benchmarks/grammar.py [--pairs FOLDER_OR_FILE] [--rows 500] [--sharing 0] [--model smollm2] [--repeats 3]
                                 [--json FILE]

Without `--pairs` they are those of Tombola's own small grammar. `--sharing 0.5` takes only pairs whose sentences share
at least half of the shorter one's tokens, the BOS token among them. The two take turns; seconds of processor time are
kept too, as that is what one counts on a machine that is not idle. Further pairs go into the same file.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from results_file import ResultsFile
from tombola.checkpoints.loading import tokenizer_of
from tombola.foundations.precision import Precision, resolve_precision
from tombola.pruning.evaluation import EvaluationOptions, evaluate
from tombola.subnetworks.subnetwork import whole
from tombola.tasks.language.abilities import grammar
from tombola.tasks.language.abilities.ability import Ability
from tombola.tasks.language.abilities.language_modelling import plots
from tombola.tasks.language.item import shared_prefix_length
from tombola.tasks.language.packing import pack_by_prefix
from tombola.tasks.language.task import LanguageTask
from turns import ratio

TOOLS = ("ours", "lm-eval")
Round = tuple[float, float, list[float]]
"""Wall and processor seconds, and the verdict on each pair, ties by half."""


def sharing(ability: Ability, tokenizer: PreTrainedTokenizerBase, least: float) -> Ability:
    """The ability with the pairs of which at least this share of tokens is common."""

    def shared(choices: tuple[str, ...]) -> float:
        tokens = [(-1, *tokenizer(text, add_special_tokens=False)["input_ids"]) for text in choices]
        return shared_prefix_length(tokens) / min(map(len, tokens))

    return replace(ability, examples=tuple(one for one in ability.examples if shared(one.choices) >= least))


def ours(model: PreTrainedModel, task: LanguageTask, precision: Precision) -> Round:
    """Round of ours."""
    task._items.clear()
    task._rows.clear()
    started, processor = time.perf_counter(), time.process_time()
    found = evaluate(whole(model), task, EvaluationOptions(precision=precision, batch_size=64))
    return time.perf_counter() - started, time.process_time() - processor, found.predictions.tolist()


def theirs(engine: HFLM, pairs: list[tuple[str, ...]]) -> Round:
    """Round of the harness's."""
    requests = [
        Instance("loglikelihood", {}, ("", sentence), index) for index, pair in enumerate(pairs) for sentence in pair
    ]
    started, processor = time.perf_counter(), time.process_time()
    sums = [total for total, _ in engine.loglikelihood(requests, disable_tqdm=True)]
    seconds, used = time.perf_counter() - started, time.process_time() - processor
    verdicts = [0.5 if good == bad else float(good > bad) for good, bad in zip(sums[::2], sums[1::2], strict=True)]
    return seconds, used, verdicts


def main() -> None:
    """Score the pairs both ways in fp32, and in bf16 where the processor has it, and print times, scores and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, default=None)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--sharing", type=float, default=0.0)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="keep every line in this file, and go on where it ends")
    options = parser.parse_args()
    name = "generated" if options.pairs is None else options.pairs.stem
    settings = {"model": options.model, "rows": options.rows, "repeats": options.repeats, "batch_size": 64}
    results = ResultsFile(options.json, settings, ("pairs", "sharing", "precision"), ("lm-eval", "transformers"))
    tokenizer = tokenizer_of(options.model)
    ability = sharing(grammar.load(options.pairs), tokenizer, options.sharing).sample(options.rows)
    pairs = [example.choices for example in ability.examples]
    task = LanguageTask([ability], plots().train[:64], tokenizer)
    model = task.load(options.model, seed=0)
    assert isinstance(model, PreTrainedModel)
    assert task.bos_token is not None
    items = task.items("dev")
    plain, within, read = (
        sum(len(row) for item in items for row in item.rows),
        sum(len(item.tree) for item in items),
        sum(len(row.tree) for row in pack_by_prefix(items, 64)),
    )
    print(
        f"{len(pairs)} pairs after {task.bos_token.name}, {torch.get_num_threads()} threads; {plain:,} tokens one by "
        f"one, {within:,} with what the two of a pair share read once, {read:,} with what neighbours share "
        f"({plain / read:.2f} times fewer)",
        flush=True,
    )
    for precision in dict.fromkeys(("fp32", resolve_precision("auto", torch.device("cpu")))):
        if results.has(name, options.sharing, precision):
            continue
        engine = HFLM(
            pretrained=model,
            tokenizer=tokenizer,
            device="cpu",
            batch_size=64,
            prefix_token_id=task.bos_token.token_id,
            mixed_precision_dtype="bfloat16" if precision == "bf16" else None,
        )
        rounds = [
            (ours(model, task, "bf16" if precision == "bf16" else "fp32"), theirs(engine, pairs))
            for _ in range(options.repeats)
        ]
        seconds = {tool: [one[place][0] for one in rounds] for place, tool in enumerate(TOOLS)}
        processor = {tool: [one[place][1] for one in rounds] for place, tool in enumerate(TOOLS)}
        mine, other = (one[2] for one in rounds[0])
        same = float(np.mean(np.equal(mine, other)))
        times = ratio(seconds["lm-eval"], seconds["ours"])
        results.add(
            pairs=name,
            sharing=options.sharing,
            precision=precision,
            scored=len(pairs),
            tokens={"plain": plain, "within pairs": within, "read": read},
            right={tool: float(np.mean(one)) for tool, one in zip(TOOLS, (mine, other), strict=True)},
            same_verdicts=same,
            seconds=seconds,
            processor=processor,
            ratio=times,
            processor_ratio=ratio(processor["lm-eval"], processor["ours"]),
        )
        print(f"{precision}: {seconds}, ratio {times}, same verdict on {same:.1%}", flush=True)


if __name__ == "__main__":
    main()
