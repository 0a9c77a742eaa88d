"""Tables of what the scripts in benchmarks/ measured, each with a line that says on what and how often.

A table whose file is not there is left out of its page, with that line.
"""

import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from scipy.stats import binomtest

from paired import over_items, words
from stored import HERE, Line, lines

FOLDER = "benchmarks"


def measured(name: str) -> tuple[dict[str, Any], ...]:
    """Lines of a benchmark, the first of them being its settings; none where it was not run."""
    file = f"{FOLDER}/{name}.jsonl"
    return lines(file) if (HERE / file).is_file() else ()


def conditions(name: str) -> str:
    """Machine, threads, versions and dates of a benchmark, in words."""
    head, *found = measured(name)
    machine, versions = head["machine"], head["versions"]
    dates = sorted({line["date"] for line in found})
    days = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    packages = ", ".join(f"{package} {version}" for package, version in versions.items() if package != "tombola")
    return f"{machine['processor']}, threads: {machine['threads']}; {packages}; {days}"


def turns(name: str) -> str:
    """Meaning of the brackets of a table of times, and what it was measured on."""
    return f"Brackets: the least and the most of {measured(name)[0]['repeats']} turns ({conditions(name)})."


def times(seconds: Sequence[float], unit: float = 1, digits: int = 2) -> str:
    """Median, the least and the most of the seconds of each repeat, or of anything else that was measured as often."""
    return middle((statistics.median(seconds), min(seconds), max(seconds)), unit, digits)


def middle(found: Sequence[float], unit: float = 1, digits: int = 2) -> str:
    """A median, the least and the most."""
    median, least, most = (f"{one * unit:,.{digits}f}" for one in found)
    return f"{median} [{least}, {most}]" if least != most else median


def search_said() -> str:
    """Caption of `search`."""
    head, line = measured("search")
    return f"{head['sentences']:,} sentences, {line['iterations']} iterations of MiniLM. {turns('search')}"


def search() -> Iterator[Line]:
    """The s-search our way and the paper's."""
    for line in measured("search")[1:]:
        yield ("", "seconds an iteration", "times as fast as the paper's way")
        for way, seconds in reversed(line["seconds"].items()):
            yield (way, times(seconds), middle(line["ratio"][way], digits=1) if way in line["ratio"] else "")


SAVED = ("minilm", "half of heads+mlps", 128)
VARIANTS = ("dense", "masked", "shrunk")


def saved_said() -> str:
    """Caption of `saved`."""
    _, _, length = SAVED
    return (
        f"MiniLM without half of its heads and half of its MLPs, drawn at random, in fp32, {length} tokens. Shares of "
        f"the dense model are those of a turn. {turns('shrinking')}"
    )


def saved() -> Iterator[Line]:
    """Costs of one model whole, masked and shrunk."""
    for line in measured("shrinking")[1:]:
        if (line["model"], line["ticket"], line["length"]) != SAVED:
            continue
        yield ("", "dense", "masked", "shrunk", "shrunk, of dense")
        fixed = (("parameters", "parameters, millions", 1e-6, 2), ("disk", "parameters on disk, MB", 1e-6, 1))
        for name, title, unit, digits in (*fixed, ("multiply_adds", "multiply-adds, millions", 1e-6, 0)):
            values = [line["variants"][one][name] for one in VARIANTS]
            yield (title, *(f"{one * unit:,.{digits}f}" for one in values), f"{values[2] / values[0]:.2f}")
        for batch, seconds in line["seconds"].items():
            share = [1 / one for one in line["ratio"][batch]["shrunk"]]
            of_dense = middle((share[0], share[2], share[1]))
            yield (f"latency of {batch}, ms", *(times(seconds[one], 1e3, 1) for one in VARIANTS), of_dense)
        peaks = [line["variants"][one]["memory"] for one in VARIANTS]
        largest = max(line["seconds"], key=int)
        yield (
            f"peak memory of {largest}, MB, once",
            *(f"{one / 1e6:.0f}" for one in peaks),
            f"{peaks[2] / peaks[0]:.2f}",
        )


def speedups_said() -> str:
    """Caption of `speedups`."""
    return f"In fp32, batches of 32. {turns('shrinking')}"


def speedups() -> Iterator[Line]:
    """Speed-ups: theoretical ones, by the multiply-adds, and measured ones."""
    for number, line in enumerate(measured("shrinking")[1:]):
        if not number:
            yield ("", "tokens", "theoretical speed-up", "measured", "share of it")
        largest = max(line["seconds"], key=int)
        found = line["ratio"][largest]["shrunk"]
        share = middle([one / line["theoretical"] for one in found])
        name = f"{NAMES[line['model']]}, {line['ticket'].replace('+', ' and ')}"
        yield (name, str(line["length"]), f"{line['theoretical']:.2f}", middle(found), share)


NAMES = {"minilm": "MiniLM", "smollm2": "SmolLM2"}


def grammar_said() -> str:
    """Caption of `grammar`."""
    head, *found = measured("grammar")
    scored = sorted({line["scored"] for line in found})
    count = " to ".join(str(one) for one in sorted({scored[0], scored[-1]}))
    return (
        f"{count} pairs, {NAMES[head['model']]}, batches of {head['batch_size']}, both in the same run. "
        f"{turns('grammar')}"
    )


def grammar() -> Iterator[Line]:
    """Minimal pairs our way and lm-evaluation-harness's."""
    pairs = {"generated": "Tombola's own", "blimp": "BLiMP"}
    for number, line in enumerate(measured("grammar")[1:]):
        if not number:
            yield ("pairs", "", "ours, s", "lm-eval, s", "times as fast", "same verdicts")
        shared = f", pairs that share {line['sharing']:.0%} of their tokens".replace("%", " %")
        name = pairs[line["pairs"]] + (shared if line["sharing"] else "")
        seconds = [times(line["seconds"][tool]) for tool in ("ours", "lm-eval")]
        yield (name, line["precision"], *seconds, middle(line["ratio"]), f"{100 * line['same_verdicts']:.1f} %")


def _maps() -> dict[str, Any] | None:
    found = measured("attention_maps")
    return found[1] if found else None


def maps_said() -> str:
    """Caption of `maps`, with how often the rules are right, in all and where they are so least."""
    (head, *_), line = measured("attention_maps"), _maps()
    assert line is not None
    right, of = sum(row[label] for label, row in enumerate(line["counts"])), sum(map(sum, line["counts"]))
    worst = {
        kind: min(
            (group for group in line["groups"].items() if kind in group[0]), key=lambda one: one[1][0] / one[1][1]
        )
        for kind in ("noise", "tokens")
    }
    said = [f"{_share(*counts)} with {_group(name)}" for name, counts in worst.values()]
    return (
        f"{head['maps']:,} maps of each class; right are {_share(right, of)}, and where they are so least "
        f"{' and '.join(said)}, with exact 95 % intervals."
    )


def _group(name: str) -> str:
    """Name of a group of maps in words: those of a noise, or of up to ten lengths."""
    if name.startswith("noise "):
        return f"{name.removeprefix('noise ').replace('%', ' %')} noise"
    shortest = int(name.split()[0])
    return f"{shortest} to {shortest + 9} tokens"


def _share(count: int, of: int) -> str:
    exact = binomtest(count, of).proportion_ci(method="exact")
    return f"{100 * count / of:.2f} % [{100 * exact.low:.2f}, {100 * exact.high:.2f}]"


def maps() -> Iterator[Line]:
    """Confusion of the classes of maps: drawn as, sorted as."""
    line = _maps()
    if line is None:
        return
    yield ("drawn as, sorted as", *line["classes"], "right, %")
    for label, row in enumerate(line["counts"]):
        yield (line["classes"][label], *map(str, row), f"{100 * row[label] / sum(row):.1f}")


def maps_cost_said() -> str:
    """Caption of `maps_cost`."""
    return (
        "MiniLM in fp32, random tokens; memory beyond the loaded model, each in a process of its own. "
        f"{turns('attention_patterns')}"
    )


def maps_cost() -> Iterator[Line]:
    """Memory and seconds of a plain pass, of the stream of maps, and of keeping all maps."""
    sizes = [line for line in measured("attention_patterns")[1:] if line["of"] != "maps"]
    for number, line in enumerate(sizes):
        if not number:
            yield ("batch x tokens", "plain eager forward pass", "in a stream", "all maps kept", "stream, of plain")
        size = line["of"].replace("x", " x ")
        for title, name, quotient, unit, digits in (
            ("memory, MiB", "memory", "memory_ratio", 2**-20, 0),
            ("seconds", "seconds", "ratio", 1, 2),
        ):
            ways = [times(line[name][way], unit, digits) for way in ("plain", "stream", "kept")]
            yield (f"{size}: {title}", *ways, middle(line[quotient]["stream"]))


def one_shot_said() -> str:
    """Caption of `one_shot`."""
    head, line, *_ = measured("one_shot")
    return (
        f"Nothing is retrained; accuracy on {len(line['right'][0]):,} dev sentences and its difference to the full "
        f"model, paired, with 95 % intervals over the sentences; importance on {line['sentences']:,} training "
        f"sentences unless another number is given, in {head['precision']}, seconds of the processor; speed of batches "
        f"of {head['batch']} x {head['length']} tokens in fp32. {turns('one_shot')}"
    )


def accuracies(line: dict[str, Any]) -> list[float]:
    """1 for each dev sentence that is right; of several models, the share of them."""
    return [statistics.fmean(int(one) for one in column) for column in zip(*line["right"], strict=True)]


def one_shot() -> Iterator[Line]:
    """Single cuts, ours and those of Torch-Pruning."""
    for number, line in enumerate(measured("one_shot")[1:]):
        if not number:
            full = accuracies(line)
            yield ("", "parameters, M", "accuracy", "against full", "importance, s", "times as fast", "reloads")
        own = accuracies(line)
        yield (
            line["name"],
            f"{line['parameters'] / 1e6:.2f}",
            f"{statistics.fmean(own):.3f}",
            words(*over_items(own, full)) if number else "",
            "" if line["importance_seconds"] is None else f"{line['importance_seconds']:.0f}",
            middle(line["ratio"]) if number else "",
            line["reloads"] if number else "",
        )


def threshold_said() -> str:
    """Caption of `threshold`."""
    head, *_ = measured("weight_pruning")
    return (
        f"{NAMES[head['model']]}, {100 * head['sparsity']:.0f} % of the weights go; memory beyond the model's, each in "
        f"a process of its own. {turns('weight_pruning')}"
    )


def threshold() -> Iterator[Line]:
    """Thresholds over weights, ours and others'."""
    for number, line in enumerate(measured("weight_pruning")[1:]):
        if not number:
            yield ("", "seconds", "memory, MB", "times as fast", "survivors")
        # The first of each pair is what the other is set against.
        fast = middle(line["ratio"], digits=1) if number % 2 else ""
        survivors = ", ".join(f"{one:,}" for one in line["survivors"])
        yield (line["tool"], times(line["seconds"]), times(line["extra"], 1e-6, 0), fast, survivors)


def streaming_said() -> str:
    """Caption of `streaming`."""
    head, *_ = measured("streaming")
    return (
        f"A Llama of random weights in bf16 with {head['layers']} blocks, {head['parameters'] / 1e9:.2f} billion "
        f"parameters, {head['bytes'] / 1e9:.1f} GB; {100 * head['sparsity']:.0f} % of the weights go, Wanda on "
        f"{head['sequences']} x {head['length']} tokens; measured once ({conditions('streaming')})."
    )


def streaming() -> Iterator[Line]:
    """A checkpoint that is pruned without being held."""
    for number, line in enumerate(measured("streaming")[1:]):
        if not number:
            yield ("", "memory at the peak, GB", "imports alone, GB", "seconds", "masks, MB")
        sizes = [f"{line[name] / 1e9:.2f}" for name in ("peak", "imports")]
        yield (line["criterion"], *sizes, f"{line['seconds'][0]:.0f}", f"{line['masks'] / 1e6:.0f}")


FORMS = {
    "whole": "the whole model",
    "half shrunk": "half of the heads and of the MLPs: shrunk",
    "half onnx": "the same as ONNX",
    "half zeros": "the same as zeros",
    "sparse 0.5": "50 % of the weights, sparse",
    "sparse 0.9": "90 % of the weights, sparse",
}


def file_sizes_said() -> str:
    """Caption of `file_sizes`, with what share of the weights a ticket of weights can prune."""
    shares: dict[str, float] = {line["model"]: line["prunable"] for line in measured("file_sizes")[1:]}
    said = ", ".join(f"{100 * share:.0f} % of {NAMES[model]}'s weights" for model, share in shares.items())
    return f"MB of the files of weights, and their share of the whole model's. Prunable: {said}; the rest never is."


def file_sizes() -> Iterator[Line]:
    """Bytes of a model in each form."""
    _, *found = measured("file_sizes") or ({},)
    cells = {(line["model"], line["dtype"], line["form"]): line["bytes"] for line in found}
    columns = list(dict.fromkeys((model, dtype) for model, dtype, _ in cells))
    if not columns:
        return
    yield ("on disk", *(f"{NAMES[model]}, {dtype}" for model, dtype in columns))
    for form, title in FORMS.items():
        row = []
        for model, dtype in columns:
            size, whole = cells.get((model, dtype, form)), cells[model, dtype, "whole"]
            row.append("" if size is None else f"{size / 1e6:.1f} ({100 * size / whole:.0f} %)")
        yield (title, *row)


ENGINES = {"dask": "Dask", "ray": "Ray"}


def engines_said() -> str:
    """Caption of `engines`."""
    return f"Two workers, started anew in each turn. {turns('engines')}"


def engines() -> Iterator[Line]:
    """Costs of engines for steps, where they are started anew."""
    head, *found = measured("engines") or ({},)
    if not found:
        return
    yield ("", *(ENGINES[line["engine"]] for line in found))
    titles = {
        "start": "seconds until two workers have answered",
        "steps": f"seconds of {head['steps']} steps that do nothing",
        "killed": "seconds until a step is done whose worker was killed",
    }
    for name, title in titles.items():
        yield (title, *(times(line["seconds"][name]) for line in found))
    yield ("memory of all processes, MB", *(times(line["bytes"], 1e-6, 0) for line in found))


def memory_said() -> str:
    """Caption of `memory`."""
    return (
        "Most GB that a worker had resident during a step, imports and data included: one process ran all steps, one "
        f"after another, as a worker may. Of SmolLM2 those of heads and MLPs ({conditions('memory')})."
    )


def memory() -> Iterator[Line]:
    """Peaks of a worker at each step."""
    for number, line in enumerate(measured("memory")[1:]):
        if not number:
            yield ("", "", "GB")
        yield (NAMES[line["model"]], line["step"], f"{line['peak'] / 1e9:.2f}")


def training_said() -> str:
    """Caption of `training`."""
    head, *found = measured("training")
    rows = f"{head['epochs']} epoch of {head['rows']:,} rows" if head["epochs"] == 1 else f"{head['epochs']} epochs"
    return (
        f"MiniLM on Rotten Tomatoes, {rows}; accuracy on {found[0]['n']:,} dev rows; times as fast as `Trainer` with "
        f"rows in random order. {turns('training')}"
    )


def training() -> Iterator[Line]:
    """Fine-tuning, ours and that of `Trainer`."""
    for number, line in enumerate(measured("training")[1:]):
        if not number:
            yield ("", "", "seconds", "accuracy", "times as fast")
        ours, plain, *others = line["seconds"]
        for name in (plain, *others, ours):
            # Turn by turn, as the quotients that were written are of ours to each.
            pairs = zip(line["seconds"][plain], line["seconds"][name], strict=True)
            fast = [one / other for one, other in pairs]
            quotient = "" if name == plain else times(fast)
            yield (name, line["precision"], times(line["seconds"][name]), f"{line['scores'][name]:.3f}", quotient)


def reliability_said() -> str:
    """Caption of `reliability`."""
    _, line = measured("reliability")
    return (
        f"{line['runs']} runs that were disturbed; {line['whole']} times the sweep came to its end, each time with the "
        f"results of an undisturbed run ({conditions('reliability')})."
    )


def reliability() -> Iterator[Line]:
    """Disturbances of a sweep."""
    for line in measured("reliability")[1:]:
        yield ("disturbance", "times")
        for name, times in line["disturbed"].items():
            yield (name, str(times))


CAPTIONS = {
    "reliability": reliability_said,
    "training": training_said,
    "search": search_said,
    "saved": saved_said,
    "speedups": speedups_said,
    "grammar": grammar_said,
    "maps": maps_said,
    "maps_cost": maps_cost_said,
    "one_shot": one_shot_said,
    "threshold": threshold_said,
    "streaming": streaming_said,
    "file_sizes": file_sizes_said,
    "engines": engines_said,
    "memory": memory_said,
}
"""Table → the line before it."""
TABLES = {
    "reliability": reliability,
    "training": training,
    "search": search,
    "saved": saved,
    "speedups": speedups,
    "grammar": grammar,
    "maps": maps,
    "maps_cost": maps_cost,
    "one_shot": one_shot,
    "threshold": threshold,
    "streaming": streaming,
    "file_sizes": file_sizes,
    "engines": engines,
    "memory": memory,
}
