"""Feed-forward of a token: one gated network, or a mixture of them.

Specification, sections 5 and 7; Shazeer 2020, "GLU Variants Improve Transformer"; Liu et al. 2024,
"Moirai-MoE".
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from moirai.layers.linear import Linear

NUM_EXPERTS = 32  # of a layer; no checkpoint configures it
TOP_K = 2  # experts that a token visits


class GatedFeedForward(nn.Module):
    """`fc2(silu(fc_gate(x)) * fc1(x))`, dropout before and after `fc2`."""

    def __init__(self, dim: int, hidden: int, *, bias: bool = False, dropout: float = 0.0) -> None:
        super().__init__()
        self.fc1 = Linear(dim, hidden, bias=bias)
        self.fc_gate = Linear(dim, hidden, bias=bias)
        self.fc2 = Linear(hidden, dim, bias=bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """Transform every token by itself."""
        hidden = functional.silu(self.fc_gate(x)) * self.fc1(x)  # [*batch, hidden]
        return self.dropout(self.fc2(self.dropout(hidden)))


class MixtureOfExperts(nn.Module):
    """Gated feed-forwards of which every token visits those whose centroids are farthest.

    The farthest, not the nearest: the published models were trained so (specification, section
    18.1). There is no capacity limit: no token is dropped, and each is treated by itself. Tokens
    are sorted by expert, so that every expert sees one contiguous slice.
    """

    def __init__(
        self, dim: int, hidden: int, *, num_experts: int = NUM_EXPERTS, top_k: int = TOP_K, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.top_k = top_k
        self.experts = nn.ModuleList(GatedFeedForward(dim, hidden, dropout=dropout) for _ in range(num_experts))

    def forward(
        self, x: Float[Tensor, "*batch dim"], centroid: Float[Tensor, "expert dim"]
    ) -> Float[Tensor, "*batch dim"]:
        """Transform every token by itself."""
        tokens = x.flatten(0, -2)
        selected, gates = self.route(tokens, centroid)
        order = selected.flatten().argsort(stable=True)  # visits, sorted by expert
        visits = torch.bincount(selected.flatten(), minlength=len(self.experts)).tolist()
        visitors, shares = order // self.top_k, gates.flatten()[order, None]
        slices = zip(tokens[visitors].split(visits), visitors.split(visits), shares.split(visits), strict=True)
        mixed = torch.zeros_like(tokens)
        for expert, (part, place, share) in zip(self.experts, slices, strict=True):
            if len(part):  # added while it is in the cache of the processor
                mixed.index_add_(0, place, (expert(part) * share).to(mixed.dtype))
        return mixed.view_as(x)

    def route(
        self, tokens: Float[Tensor, "token dim"], centroid: Float[Tensor, "expert dim"]
    ) -> tuple[Int[Tensor, "token choice"], Float[Tensor, "token choice"]]:
        """Experts of every token, the farthest first, and their shares, which sum to one.

        Distances are taken in float32 at least, and in the same way for few tokens as for many.
        """
        dtype = torch.promote_types(tokens.dtype, torch.float32)
        distance = torch.cdist(tokens.to(dtype), centroid.to(dtype), compute_mode="use_mm_for_euclid_dist")
        farthest, selected = distance.topk(self.top_k, dim=-1)
        return selected, farthest.softmax(-1, dtype=torch.float32)
