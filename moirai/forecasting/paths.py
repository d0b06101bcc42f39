"""Continuations of a series, several per series, encoded patch by patch by a causal model.

In: the tokens of forecast inputs, then the values of the next patches of every path. Out: the
representation of the last token of each target variate, which describes the patches behind it. The
context is encoded once, before there are paths; tokens that are not written yet are left out, as no
earlier token sees them; of the last layer only the tokens that are read are computed.

`RescaledPaths` is the published roll-out: what a path writes enters its location and scale, so that
every earlier token changes and the whole row is encoded anew. `CachedPaths` keeps the location and
scale of the context; then earlier tokens stay as they are and a step costs its new tokens only.
"""

from collections.abc import Callable
from dataclasses import fields

import torch
from jaxtyping import Float, Int
from torch import Tensor

from moirai.layers.cache import KeyValueCache
from moirai.layers.scaler import Scaling
from moirai.tokens import PackedTokens, TokenLayout

TOKENS_IN_PASS = {True: 2**12, False: 2**16}  # on a CPU and elsewhere; memory does not grow with the paths

Read = tuple[Float[Tensor, "batch read dim"], Scaling]  # last tokens, path by path, and what scales their output


# The network without its head: tokens, scaling, positions=, cache= -> tokens at these positions.
Encode = Callable[..., Float[Tensor, "batch chosen dim"]]


class RescaledPaths:
    """Paths whose values enter their own statistics.

    Args:
        tokens: of `forecast_tokens`.
        layout: of the same.
        encode: the network.
        scaling: True if tokens are standardised at all.
    """

    def __init__(self, tokens: PackedTokens, layout: TokenLayout, encode: Encode, *, scaling: bool) -> None:
        self.tokens, self.layout, self.encode = tokens, layout, encode
        self.is_scaled = scaling
        self.written: Tensor | None = None  # [batch, path, target, token, patch]

    def context(self) -> Read:
        """Last past token of each target variate; called once and first."""
        return self._read(self.tokens, written=0)

    def write(self, values: Float[Tensor, "batch path target token patch"]) -> Read:
        """Go on behind the values of the next patches; read at the last one, target by target inside a path."""
        self.written = values if self.written is None else torch.cat((self.written, values), dim=3)
        batch, paths, _, count = self.written.shape[:4]
        places = self._index([p for target in _by_target(self.layout, 0, count) for p in target])
        rows = torch.arange(batch * paths, device=places.device)
        per_pass = max(1, TOKENS_IN_PASS[places.device.type == "cpu"] // len(self.layout.up_to(count)))
        written = self.written.flatten(0, 1)
        parts = []
        for chosen in rows.split(per_pass):
            series = torch.div(chosen, paths, rounding_mode="floor")
            names = [field.name for field in fields(PackedTokens)]
            copies = PackedTokens(**{name: getattr(self.tokens, name).index_select(0, series) for name in names})
            copies.target[:, places] = written[chosen].flatten(1, 2)
            copies.prediction_mask[:, places] = False
            copies.observed_mask[:, places] = True
            parts.append(self._read(copies, written=count))
        encoded, loc, scale = (
            torch.cat(same).unflatten(0, (batch, paths)).flatten(1, 2)
            for same in zip(*((encoded, scaling.loc, scaling.scale) for encoded, scaling in parts), strict=True)
        )
        return encoded, Scaling(loc, scale)

    def _read(self, tokens: PackedTokens, *, written: int) -> Read:
        scaling = Scaling.of(tokens, enabled=self.is_scaled)  # of the whole row: known features count into the future
        seen = self.layout.up_to(written)
        last = self.layout.future(written - 1) if written else self.layout.last_past()
        index, positions = self._index(seen), self._index([seen.index(position) for position in last])
        encoded = self.encode(tokens.select(index), scaling.select(index), positions=positions)
        return encoded, scaling.select(self._index(last))

    def _index(self, positions: list[int]) -> Int[Tensor, "chosen"]:
        return torch.tensor(positions, device=self.tokens.target.device)


class CachedPaths:
    """Paths with the statistics of the context, and keys and values kept.

    Args:
        tokens: of `forecast_tokens`.
        layout: of the same.
        encode: the network.
        scaling: location and scale of the tokens.
        num_layers: of the network.
    """

    def __init__(
        self, tokens: PackedTokens, layout: TokenLayout, encode: Encode, *, scaling: Scaling, num_layers: int
    ) -> None:
        self.tokens, self.layout, self.encode = tokens, layout, encode
        self.scaling = scaling
        self.cache = KeyValueCache(num_layers)
        self.written = 0

    def context(self) -> Read:
        """Last past token of each target variate; called once and first."""
        seen, last = self.layout.up_to(0), self.layout.last_past()
        index, positions = self._index(seen), self._index([seen.index(position) for position in last])
        tokens, scaling = self.tokens.select(index), self.scaling.select(index)
        return self.encode(tokens, scaling, positions=positions, cache=self.cache), scaling.select(positions)

    def write(self, values: Float[Tensor, "batch path target token patch"]) -> Read:
        """Go on behind the values of the next patches; read at the last one, target by target inside a path."""
        paths, count = values.shape[1], values.shape[3]
        before, self.written = self.written, self.written + count
        new = sorted(set(self.layout.up_to(self.written)) - set(self.layout.up_to(before)))
        order = {position: place for place, position in enumerate(new)}
        by_target = _by_target(self.layout, before, count)
        places = self._index([order[position] for target in by_target for position in target])
        last = self._index([order[target[-1]] for target in by_target])
        self.cache.paths = paths

        index = self._index(new)
        known, scaling = self.tokens.select(index), self.scaling.select(index)
        scaling = Scaling(scaling.loc.repeat(1, paths, 1), scaling.scale.repeat(1, paths, 1))
        target = known.target[:, None].repeat(1, paths, 1, 1)
        target[:, :, places] = values.flatten(2, 3)
        observed = known.observed_mask.index_fill(1, places, True)
        tokens = PackedTokens(
            target=target.flatten(1, 2),
            observed_mask=observed.repeat(1, paths, 1),
            sample_id=known.sample_id.repeat(1, paths),
            time_id=known.time_id.repeat(1, paths),
            variate_id=known.variate_id.repeat(1, paths),
            prediction_mask=torch.zeros_like(known.prediction_mask).repeat(1, paths),
        )
        steps = torch.arange(paths, device=last.device)[:, None] * len(new)
        positions = (steps + last).flatten()
        return self.encode(tokens, scaling, positions=positions, cache=self.cache), scaling.select(positions)

    def _index(self, positions: list[int]) -> Int[Tensor, "chosen"]:
        return torch.tensor(positions, device=self.tokens.target.device)


def _by_target(layout: TokenLayout, start: int, count: int) -> list[list[int]]:
    """Positions of `count` future tokens from `start` on, for each target variate."""
    by_step = [layout.future(step) for step in range(start, start + count)]
    return [list(target) for target in zip(*by_step, strict=True)]
