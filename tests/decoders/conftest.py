import pytest
import torch

from tests.decoders.small_lms import CONFIGS, small_lm


@pytest.fixture(params=list(CONFIGS))
def lm(request):
    return small_lm(request.param)


@pytest.fixture
def tiny_vocabulary_lm():
    return small_lm("gpt2", vocab_size=4)


@pytest.fixture
def prefixes():
    """Five right-padded prefixes [5, 6, 8] and their relative lengths [5]."""
    torch.manual_seed(9)
    return torch.randn(5, 6, 8), torch.tensor([6, 4, 6, 2, 5]) / 6
