import pytest
import torch
from torch.nn import functional as F

from pengi_plugin.lobes.sequence_mapping import TimePrefixMapper, positions, stretches


def make_mapper(**changes):
    torch.manual_seed(0)
    sizes = {"d_embedding": 8, "d_model": 6, "n_prefix": 4, "n_head": 2, **changes}
    return TimePrefixMapper(**sizes)


@pytest.mark.parametrize("n_time", [1, 4, 8, 50])
def test_any_number_of_embeddings_gives_a_prefix_of_one_length(n_time):
    assert make_mapper()(torch.randn(3, n_time, 8)).shape == (3, 4, 6)


@pytest.mark.parametrize(("n_time", "n_stretch"), [(8, 4), (3, 2), (4, 9), (50, 8)])
def test_stretches_average_what_lies_in_them(n_time, n_stretch):
    """By hand: repeat every time so often that stretches end between two copies."""
    x = torch.randn(n_time)
    expected = x.repeat_interleave(n_stretch).view(n_stretch, n_time).mean(1)
    averaged = stretches(n_time, n_stretch) @ x
    torch.testing.assert_close(averaged, expected, atol=1e-5, rtol=1e-5)


def test_a_vector_of_the_prefix_comes_from_its_own_stretch_of_time():
    mapper = make_mapper(n_layer=0)
    heard = F.normalize(torch.randn(1, 8, 8), dim=-1)
    changed = heard.clone()
    changed[:, 2:4] = F.normalize(torch.randn(1, 2, 8), dim=-1)
    differs = (mapper(heard) - mapper(changed)).abs().amax(-1)[0] > 1e-6
    assert differs.tolist() == [False, True, False, False]


def test_swapped_halves_give_another_prefix_and_not_the_old_one_swapped():
    mapper = make_mapper()
    heard = F.normalize(torch.randn(1, 8, 8), dim=-1)
    swapped = torch.cat([heard[:, 4:], heard[:, :4]], dim=1)
    before, after = mapper(heard), mapper(swapped)
    assert (before - after).abs().max() > 0.01
    assert (before - after[:, [2, 3, 0, 1]]).abs().max() > 0.01


def test_layers_carry_what_is_heard_from_one_stretch_to_the_others():
    heard = F.normalize(torch.randn(1, 8, 8), dim=-1).requires_grad_()
    make_mapper(n_layer=1)(heard)[0, 3].sum().backward()
    assert (heard.grad.abs().amax(-1) > 0).all()


def test_every_parameter_gets_a_gradient():
    mapper = make_mapper()
    mapper(torch.randn(2, 8, 8)).square().sum().backward()
    for name, parameter in mapper.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_positions_depend_on_the_share_of_the_clip_alone():
    """The middle of three times lies where the middle of nine does."""
    torch.testing.assert_close(positions(3, 8)[1], positions(9, 8)[4])
    distances = torch.cdist(positions(32, 64), positions(32, 64))
    assert distances[~torch.eye(32, dtype=torch.bool)].min() > 0.5


def test_a_pooled_vector_is_refused():
    with pytest.raises(ValueError, match=r"reads \[batch, time, d_embedding\]; got"):
        make_mapper()(torch.randn(3, 8))


def test_an_odd_width_is_refused():
    with pytest.raises(ValueError, match="d_embedding must be even; got 7"):
        make_mapper(d_embedding=7)
