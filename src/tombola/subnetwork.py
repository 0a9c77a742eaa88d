"""A ticket made flesh: a model of which only the ticket's part works, by masking it or by really removing the rest."""

import copy
import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tombola.anatomy import Anatomy, Layer, dissect
from tombola.ticket import Ticket


@dataclass(frozen=True)
class Subnetwork:
    """A model and the ticket that it realises.

    Attributes:
        model: the model to call. It shares what it can with the model that it was made from.
        anatomy: anatomy of the whole model.
        ticket: what of it works.
        present: the sites that are physically there: everything, unless the model was shrunk.
    """

    model: nn.Module
    anatomy: Anatomy
    ticket: Ticket
    present: Ticket

    @property
    def gated(self) -> bool:
        """Whether sites that the ticket pruned are still there and need gates at zero."""
        return self.ticket.pruning == "heads+mlps" and self.present != self.ticket


def whole(model: nn.Module) -> Subnetwork:
    """The full model as a subnetwork of itself."""
    anatomy = dissect(model)
    everything = Ticket.everything(anatomy, "heads+mlps")
    return Subnetwork(model, anatomy, everything, everything)


def masked(model: nn.Module, ticket: Ticket) -> Subnetwork:
    """The ticket with everything else switched off: gates at zero for sites, zeros for weights.

    `model` itself is not changed: weights are masked in a copy that shares the parameters that no mask touches.

    Raises:
        TombolaError: the ticket is for another architecture.
    """
    anatomy = dissect(model)
    ticket.check(anatomy)
    everything = Ticket.everything(anatomy, "heads+mlps")
    if ticket.pruning == "heads+mlps":
        return Subnetwork(model, anatomy, ticket, everything)
    copied = _structural_copy(model)
    for matrix, parameter in anatomy.prunable(copied):
        mask = ticket.masks[matrix.name].to(parameter.device)
        module = copied.get_submodule(matrix.parameter.removesuffix(".weight"))
        module.weight = nn.Parameter(parameter.detach() * mask, parameter.requires_grad)
    return Subnetwork(copied, anatomy, ticket, everything)


def shrunk(model: nn.Module, ticket: Ticket) -> Subnetwork:
    """The ticket with the pruned heads and MLPs removed from the network: the same function, in fewer operations.

    `model` itself is not changed; parameters that no cut touches are shared with it. A layer that loses all its
    heads keeps the bias of its attention output; one that loses its MLP keeps what surrounds it (in BERT the layer
    norm). Weight tickets cannot be shrunk and are masked instead.

    Raises:
        TombolaError: the ticket is for another architecture.
    """
    if ticket.pruning == "weights":
        return masked(model, ticket)
    anatomy = dissect(model)
    ticket.check(anatomy)
    copied = _structural_copy(model)
    for layer in anatomy.layers:
        kept = _head_units(layer, ticket)
        if len(kept) < layer.heads * layer.head_size:
            for part in ("query", "key", "value"):
                _keep(copied, layer.path(part), rows=kept)
            _keep(copied, layer.path("attention_output"), columns=kept)
        if not ticket.mlps[layer.index]:
            nothing = torch.arange(0)
            _keep(copied, layer.path("mlp_in"), rows=nothing)
            _keep(copied, layer.path("mlp_out"), columns=nothing)
            # The gate covers the whole sublayer, so its bias goes too.
            _linear(copied, layer.path("mlp_out")).register_parameter("bias", None)
    return Subnetwork(copied, anatomy, ticket, ticket)


def expanded(subnetwork: Subnetwork) -> nn.Module:
    """A model of the original shapes that computes what the subnetwork does: zeros where something was removed.

    It loads with plain `from_pretrained` and keeps every weight of the removed sites at exactly zero.
    """
    if subnetwork.gated:
        subnetwork = shrunk(subnetwork.model, subnetwork.ticket)
    if subnetwork.present.total == len(subnetwork.present):
        return subnetwork.model
    copied = _structural_copy(subnetwork.model)
    for layer in subnetwork.anatomy.layers:
        kept = _head_units(layer, subnetwork.present)
        width = layer.heads * layer.head_size
        if len(kept) < width:
            for part in ("query", "key", "value"):
                _spread(copied, layer.path(part), rows=(kept, width))
            _spread(copied, layer.path("attention_output"), columns=(kept, width))
        if not subnetwork.present.mlps[layer.index]:
            (hidden,) = (
                m.shape[0] for m in subnetwork.anatomy.matrices if (m.layer, m.kind) == (layer.index, "mlp_in")
            )
            nothing = (torch.arange(0), hidden)
            _spread(copied, layer.path("mlp_in"), rows=nothing)
            _spread(copied, layer.path("mlp_out"), columns=nothing)
            out = _linear(copied, layer.path("mlp_out"))
            out.bias = nn.Parameter(out.weight.new_zeros(out.out_features))
    return copied


def _head_units(layer: Layer, ticket: Ticket) -> Tensor:
    """Indices of the rows of q, k, v (columns of the output projection) that the surviving heads hold."""
    units = torch.arange(layer.heads * layer.head_size).reshape(layer.heads, layer.head_size)
    return units[ticket.heads[layer.index]].flatten()


def _linear(model: nn.Module, path: str) -> nn.Linear:
    module = model.get_submodule(path)
    assert isinstance(module, nn.Linear)
    return module


def _structural_copy(model: nn.Module) -> nn.Module:
    """New modules over the same tensors: nearly free, and safe as long as parameters are replaced, not written to."""
    shared = itertools.chain(model.parameters(), model.buffers())
    return copy.deepcopy(model, {id(tensor): tensor for tensor in shared})


def _keep(model: nn.Module, path: str, *, rows: Tensor | None = None, columns: Tensor | None = None) -> None:
    linear = _linear(model, path)
    weight, bias = linear.weight.detach(), None if linear.bias is None else linear.bias.detach()
    if rows is not None:
        weight = weight[rows.to(weight.device)]
        bias = None if bias is None else bias[rows.to(bias.device)]
    if columns is not None:
        weight = weight[:, columns.to(weight.device)]
    _replace(model, path, weight, bias)


def _spread(
    model: nn.Module,
    path: str,
    *,
    rows: tuple[Tensor, int] | None = None,
    columns: tuple[Tensor, int] | None = None,
) -> None:
    linear = _linear(model, path)
    weight, bias = linear.weight.detach(), None if linear.bias is None else linear.bias.detach()
    if rows is not None:
        index, size = rows
        weight = weight.new_zeros(size, weight.shape[1]).index_copy(0, index.to(weight.device), weight)
        bias = None if bias is None else bias.new_zeros(size).index_copy(0, index.to(bias.device), bias)
    if columns is not None:
        index, size = columns
        weight = weight.new_zeros(weight.shape[0], size).index_copy(1, index.to(weight.device), weight)
    _replace(model, path, weight, bias)


def _replace(model: nn.Module, path: str, weight: Tensor, bias: Tensor | None) -> None:
    old = model.get_submodule(path)
    linear = nn.Linear(1, 1, device="meta")
    # Set afterwards, because the constructor would initialise, and warns of empty matrices.
    linear.out_features, linear.in_features = weight.shape
    trainable = next(old.parameters()).requires_grad
    linear.weight = nn.Parameter(weight.contiguous(), trainable)
    if bias is None:
        linear.register_parameter("bias", None)
    else:
        linear.bias = nn.Parameter(bias.clone(), trainable)
    linear.train(old.training)
    model.set_submodule(path, linear)
