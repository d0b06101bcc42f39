"""Laws of several batches joined."""

import pytest
import torch

from moirai.distributions.joining import concatenate


@pytest.mark.parametrize("affine", [False, True])
def test_each_law_keeps_its_place(any_family, make_law, family_named, affine):
    """Joined laws are the single ones, side by side, for every family, mixture and their affine versions."""
    laws = [make_law(any_family, n, seed=n) for n in (3, 1, 4)]
    if affine:
        shift = family_named(any_family)
        laws = [shift.distribution(raw_of(shift, n), torch.full((n,), float(n)), torch.full((n,), 2.0)) for n in (3, 4)]
    joined = concatenate(laws, dim=0)
    assert joined.batch_shape == (sum(law.batch_shape[0] for law in laws),)
    values = torch.full(joined.batch_shape, 4.0)
    expected = torch.cat([law.log_prob(torch.full(law.batch_shape, 4.0)) for law in laws])
    torch.testing.assert_close(joined.log_prob(values), expected)
    torch.testing.assert_close(joined.mean, torch.cat([law.mean for law in laws]))


def raw_of(family, n):
    """Raw arguments of a family, nested."""

    def draw(args):
        if isinstance(args, dict):
            return {name: draw(one) for name, one in args.items()}
        if isinstance(args, list):
            return [draw(one) for one in args]
        return torch.linspace(-1, 1, n)[:, None].expand(n, args)

    return draw(family.args)


def test_other_axes(make_law):
    """Laws are joined along any axis of the batch, those of a mixture too, whose logits have one more."""
    law = make_law("standard", 12).map(lambda parameter: parameter.unflatten(0, (3, 4)))
    parts = [law.map(lambda parameter, k=k: parameter[:, 2 * k : 2 * k + 2]) for k in range(2)]
    torch.testing.assert_close(concatenate(parts, dim=1).mean, law.mean)
