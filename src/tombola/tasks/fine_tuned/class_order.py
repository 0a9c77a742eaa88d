"""Classes of a task held against the outputs of a model; without PyTorch."""

from collections.abc import Callable, Mapping, Sequence

from tombola.foundations.errors import TombolaError


def order_of(names: Mapping[int, str], classes: Sequence[str] | None, title: str) -> list[int] | None:
    """Places of a task's classes (None for a single value) in a model's order of them, if that is another one.

    Args:
        names: of the model's outputs, as its configuration has them under `id2label`.
        classes: of the task.
        title: of the task.

    Raises:
        TombolaError: the model has other outputs.
    """
    wanted = 1 if classes is None else len(classes)
    if len(names) != wanted:
        raise TombolaError(f"the model has {len(names)} outputs, {title} needs {wanted}; give one fine-tuned on it")
    if classes is None:
        return None
    spellings: tuple[Callable[[str], str], ...] = (str, str.casefold)
    for spelt in spellings:
        places = {spelt(str(name)): index for index, name in names.items()}
        order = [places[spelt(name)] for name in classes if spelt(name) in places]
        # Two labels may differ by case alone.
        if len({*order}) == wanted:
            return None if order == list(range(wanted)) else order
    if all(name == f"LABEL_{index}" for index, name in names.items()):
        # Nobody named them.
        return None
    missing = [name for name in classes if name.casefold() not in places]
    lacks = f"lacks the label {missing[0]!r}" if missing else "has labels that differ by case alone, and not the ones"
    raise TombolaError(
        f"the model {lacks} of {title}; it knows {', '.join(map(str, names.values()))}: rename the labels, or give a "
        "model fine-tuned on this task"
    )
