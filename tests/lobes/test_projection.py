import pytest
import torch

from pengi_plugin.lobes.projection import ProjectionHead


def test_projection_is_the_papers_formula():
    torch.manual_seed(0)
    head = ProjectionHead(d_in=3, d_embedding=4).eval()
    x = torch.randn(2, 3)
    e = x @ head.linear1.weight.T
    gelu = 0.5 * e * (1 + torch.erf(e / 2**0.5))
    total = e + gelu @ head.linear2.weight.T
    centred = total - total.mean(1, keepdim=True)
    expected = centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(head(x), expected)


def test_only_the_residual_branch_is_dropped():
    head = ProjectionHead(d_in=3, d_embedding=4, dropout=1.0).train()
    x = torch.randn(2, 3)
    e = head.linear1(x)
    torch.testing.assert_close(head(x), head.layer_norm(e))


@pytest.mark.parametrize("name", ["linear1.bias", "linear2.bias"])
def test_the_linears_have_no_biases_as_in_released_files(name):
    assert name not in ProjectionHead(3, 4).state_dict()
