import math

import pytest
import torch

from pengi_plugin.training.words import WordHead


def test_the_loss_is_the_mean_surprise_of_the_tokens_that_are_said():
    head = WordHead(d_embedding=2, vocab_size=4)
    with torch.no_grad():
        head.linear.weight.copy_(torch.tensor([[1.0, 0], [2, 0], [0, 1], [0, 0]]))
        head.linear.bias.zero_()
    embedding = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    said = torch.tensor([[0, 1], [2, 0], [0, 0]])
    mask = torch.tensor([[True, True], [True, False], [False, False]])
    loss = head(embedding, said, mask)
    first = math.log(math.e + math.e**2 + 2) - 1.5
    second = math.log(math.e + 3) - 1
    assert loss.tolist() == pytest.approx([first, second, 0.0])


def test_a_token_counts_by_how_rarely_it_is_said():
    head = WordHead(d_embedding=2, vocab_size=4)
    head.weigh({0: 10, 1: 5, 3: 1}, n_clip=10)
    embedding, said = torch.randn(1, 2), torch.tensor([[0, 1, 3]])
    surprise = -head.linear(embedding).log_softmax(-1)[0]
    expected = math.log(2) * surprise[1] + math.log(10) * surprise[3]
    expected = expected / (math.log(2) + math.log(10))
    loss = head(embedding, said, torch.ones(1, 3).bool())
    torch.testing.assert_close(loss[0], expected)
    everywhere = head(embedding, said[:, :1], torch.ones(1, 1).bool())
    assert everywhere.item() == 0.0  # it tells nothing


def test_it_learns_which_words_belong_to_which_embedding():
    torch.manual_seed(0)
    head = WordHead(d_embedding=8, vocab_size=50)
    embedding = torch.nn.functional.normalize(torch.randn(5, 8), dim=-1)
    said = torch.tensor([[1, 2], [3, 4], [5, 6], [7, 8], [9, 10]])
    mask = torch.ones_like(said).bool()
    optimizer = torch.optim.Adam(head.parameters(), 0.1)
    for _ in range(100):
        optimizer.zero_grad()
        head(embedding, said, mask).mean().backward()
        optimizer.step()
    best = head.linear(embedding).topk(2).indices.sort().values
    assert torch.equal(best, said)
