"""Keys and values kept for later tokens: against encoding everything at once."""

import pytest
import torch

from moirai.layers.attention import AttentionPattern, GroupedQueryAttention
from moirai.layers.cache import KeyValueCache
from moirai.layers.encoder import Encoder, SparseEncoder

DIM, HEAD_DIM, HEADS = 64, 16, 4
ROWS, PATHS = 2, 3


def ids(variates, times, padded=0):
    """Sample, time and variate ids of variate-major tokens; the first `padded` times of the last row are padding."""
    time = torch.tensor(times).repeat(variates).expand(ROWS, -1)
    variate = torch.arange(variates).repeat_interleave(len(times)).expand(ROWS, -1)
    sample = torch.ones(ROWS, variates * len(times), dtype=torch.long)
    sample[-1, time[-1] < padded] = 0
    return sample, time, variate


def side_by_side(x):
    """[row, path, token, ...] -> paths behind one another in a row."""
    return x.flatten(1, 2)


@pytest.fixture(params=["dense", "sparse"])
def encoder(request):
    """An encoder of two layers, every parameter of which is random."""
    torch.manual_seed(0)
    made = (Encoder if request.param == "dense" else SparseEncoder)(DIM, 2, HEADS, 24)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made.eval()


@pytest.mark.parametrize("variates", [1, 2])
@pytest.mark.parametrize("padded", [0, 2])
@pytest.mark.parametrize("steps", [[[5], [6], [7]], [[5, 6], [7, 8]]])
def test_steps_equal_the_whole_row(encoder, variates, padded, steps):
    """Context, then the new tokens of each path step by step: as every path encoded by itself, whole."""
    generator = torch.Generator().manual_seed(1)
    context = ids(variates, [0, 1, 2, 3, 4], padded)
    shared = torch.randn(ROWS, context[0].shape[1], DIM, generator=generator)
    cache = KeyValueCache(num_layers=2)
    own, own_ids = [], []
    with torch.no_grad():
        encoder(shared, AttentionPattern.causal(*context, head_dim=HEAD_DIM, cache=cache), cache=cache)
        cache.paths = PATHS
        for times in steps:
            new = ids(variates, times)
            x = torch.randn(ROWS, PATHS, new[0].shape[1], DIM, generator=generator)
            copies = [one[:, None].expand(-1, PATHS, -1).flatten(1) for one in new]
            pattern = AttentionPattern.causal(*copies, head_dim=HEAD_DIM, cache=cache)
            found = encoder(side_by_side(x), pattern, cache=cache).unflatten(1, (PATHS, -1))
            own.append(x)
            own_ids.append(new)
            for path in range(PATHS):
                whole = torch.cat([shared, *(one[:, path] for one in own)], dim=1)
                all_ids = [torch.cat(same, dim=1) for same in zip(context, *own_ids, strict=True)]
                expected = encoder(whole, AttentionPattern.causal(*all_ids, head_dim=HEAD_DIM))
                last = expected[:, -new[0].shape[1] :]
                torch.testing.assert_close(found[:, path], last, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("variates", [1, 2])
@pytest.mark.parametrize("padded", [0, 2])
def test_positions(encoder, variates, padded):
    """Tokens that are wanted are what they are among all; with a cache too, whose later steps do not change."""
    context = ids(variates, [0, 1, 2, 3, 4], padded)
    x = torch.randn(ROWS, context[0].shape[1], DIM, generator=torch.Generator().manual_seed(2))
    new = ids(variates, [5, 6])
    copies = [one.repeat(1, PATHS) for one in new]
    later = torch.randn(ROWS, copies[0].shape[1], DIM, generator=torch.Generator().manual_seed(3))
    wanted, wanted_later = torch.tensor([4, 2]), torch.arange(1, copies[0].shape[1], 2)
    found = {}
    for some in (False, True):
        cache = KeyValueCache(num_layers=2)
        with torch.no_grad():
            pattern = AttentionPattern.causal(*context, head_dim=HEAD_DIM, cache=cache)
            first = encoder(x, pattern, cache=cache, positions=wanted if some else None)
            cache.paths = PATHS
            pattern = AttentionPattern.causal(*copies, head_dim=HEAD_DIM, cache=cache)
            second = encoder(later, pattern, cache=cache, positions=wanted_later if some else None)
        found[some] = (first, second)
    torch.testing.assert_close(found[True][0], found[False][0][:, wanted], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found[True][1], found[False][1][:, wanted_later], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("make", ["causal", "same_sample"])
def test_positions_without_cache(row, make):
    """The same for both kinds of patterns, at any tokens."""
    encoder, x, context = row
    pattern = getattr(AttentionPattern, make)(*context, head_dim=HEAD_DIM)
    wanted = torch.tensor([3, 0])
    with torch.no_grad():
        every, some = encoder(x, pattern), encoder(x, pattern, positions=wanted)
    torch.testing.assert_close(some, every[:, wanted], rtol=1e-4, atol=1e-4)


@pytest.fixture(params=[(1, 0), (1, 2), (2, 0), (2, 2)], ids=str)
def row(request, encoder):
    """An encoder, tokens and ids, with and without several variates and padding."""
    context = ids(request.param[0], [0, 1, 2, 3, 4], request.param[1])
    return encoder, torch.randn(ROWS, context[0].shape[1], DIM, generator=torch.Generator().manual_seed(4)), context


def test_fewer_groups_than_heads():
    """Heads that share a key share it in the cache."""
    torch.manual_seed(5)
    attention = GroupedQueryAttention(DIM, HEADS, num_groups=2).eval()
    context, new = ids(1, [0, 1, 2]), ids(1, [3])
    x = torch.randn(ROWS, 4, DIM)
    cache = KeyValueCache(num_layers=1)
    with torch.no_grad():
        attention(x[:, :3], AttentionPattern.causal(*context, head_dim=HEAD_DIM, cache=cache), cache=cache.layers[0])
        found = attention(
            x[:, 3:], AttentionPattern.causal(*new, head_dim=HEAD_DIM, cache=cache), cache=cache.layers[0]
        )
        whole = [torch.cat(same, dim=1) for same in zip(context, new, strict=True)]
        expected = attention(x, AttentionPattern.causal(*whole, head_dim=HEAD_DIM))[:, 3:]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
