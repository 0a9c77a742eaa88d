"""Tickets from your own model, tokenizer and dataset, without the command line: about a minute on two cores.

    python examples/own_pipeline.py

Here model and rows are the assets that need no hub; any `AutoModelForSequenceClassification`, its tokenizer and two
`datasets.Dataset` do as well.
"""

import tempfile

import datasets
from torch import nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer, set_seed

import tombola
from tombola.checkpoints import assets
from tombola.tasks.data import rotten_tomatoes

# What you would bring: a pre-trained model, its tokenizer, rows for training and rows for judging.
folder = assets.fetch("minilm")
tokenizer = AutoTokenizer.from_pretrained(folder)
splits = rotten_tomatoes.load().splits
rows = {
    split: datasets.Dataset.from_dict({"text": texts.first[:count], "label": texts.labels[:count]})
    for split, texts, count in (("train", splits["train"], 3000), ("dev", splits["dev"], 1000))
}


def pretrained() -> nn.Module:
    """The model as it comes, with a new output layer, the same each time."""
    set_seed(0)
    model: nn.Module = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2)
    return model


# From here on it is Tombola: load, score, search, ticket, retrain, compare.
task = tombola.TextTask.from_rows(rows["train"], rows["dev"], tokenizer, text_column="text", label_column="label")
recipe = tombola.Recipe(epochs=1, learning_rate=1e-4)
model = pretrained()
tombola.train(model, task, recipe, precision="bf16")
full = tombola.score(model, task)
found = tombola.search_ticket(model, task, "heads+mlps")
again = tombola.evaluate(tombola.retrain(pretrained(), found.good, task, recipe, precision="bf16"), task)
verdict = tombola.verdict(task.metric, [full.predictions], [again.predictions], task.references("dev"), seed=0)

print(found.good)
print(verdict.sentence("the good ticket"))
random = tombola.pruning.controls.random(found.good, seed=0)
scores = [tombola.score(model, task, ticket).score for ticket in (found.good, random)]
print(f"pruned, not retrained: good {scores[0]:.3f}, random {scores[1]:.3f}")
with tempfile.TemporaryDirectory() as place:
    found.good.save(f"{place}/ticket")
    print("the same after saving and loading:", tombola.Ticket.load(f"{place}/ticket") == found.good)
