"""A second loss for the audio encoder: the tokens of its clips' answers."""

import math

import numpy as np
import pytest
import soundfile
import torch

from pengi_plugin.data.batch import PairBatch
from pengi_plugin.data.dataset import ClipDataset
from pengi_plugin.training.words import WordHead, add_clip_tokens, count_tokens
from tests.doubles import Letters


@pytest.fixture
def dataset(tmp_path):
    """Two clips: one with two rows of labels, one with a question alone."""
    for name in "ab":
        soundfile.write(tmp_path / f"{name}.wav", np.full(50, 0.25), 100)
    labels = {"wav": f"{tmp_path}/a.wav", "task": "sound_events"}
    asked = {"wav": f"{tmp_path}/b.wav", "task": "question_answering"}
    rows = {
        "a1": {**labels, "labels": "aaca"},
        "a2": {**labels, "labels": "ba"},
        "b1": {**asked, "question": "is it?", "answer": "yes"},
    }
    return ClipDataset(rows, 100, 1.0, Letters(), "z")


def test_a_clips_tokens_are_those_of_its_answers_once_and_none_of_questions(dataset):
    add_clip_tokens(dataset)
    batch = PairBatch([dataset[0], dataset[1]])
    assert [tokens.tolist() for tokens in batch.clip_tokens] == [[1, 2, 3], []]
    assert count_tokens(dataset) == {1: 1, 2: 1, 3: 1}


def test_clips_with_questions_alone_have_no_loss_and_leave_the_head_as_it_is(dataset):
    add_clip_tokens(dataset)
    batch = PairBatch([dataset[1], dataset[1]])
    head = WordHead(d_embedding=2, vocab_size=30)
    loss = head(torch.randn(2, 2), batch.clip_tokens)
    assert loss.tolist() == [0.0, 0.0]
    loss.mean().backward()
    assert head.linear.weight.grad.abs().max() == 0


def test_the_loss_is_the_mean_surprise_of_a_clips_tokens():
    head = WordHead(d_embedding=2, vocab_size=4)
    with torch.no_grad():
        head.linear.weight.copy_(torch.tensor([[1.0, 0], [2, 0], [0, 1], [0, 0]]))
        head.linear.bias.zero_()
    # The head multiplies embeddings by the root of their width.
    embedding = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]) / math.sqrt(2)
    loss = head(embedding, [torch.tensor(ids).long() for ids in ([0, 1], [2], [])])
    first = math.log(math.e + math.e**2 + 2) - 1.5
    second = math.log(math.e + 3) - 1
    assert loss.tolist() == pytest.approx([first, second, 0.0])


def test_a_token_counts_by_how_rare_it_is():
    head = WordHead(d_embedding=2, vocab_size=4)
    head.weigh({0: 10, 1: 5, 3: 1}, n_clip=10)
    embedding, tokens = torch.randn(1, 2), torch.tensor([0, 1, 3])
    surprise = -head.linear(embedding * math.sqrt(2)).log_softmax(-1)[0]
    expected = math.log(2) * surprise[1] + math.log(10) * surprise[3]
    expected = expected / (math.log(2) + math.log(10))
    torch.testing.assert_close(head(embedding, [tokens])[0], expected)
    assert head(embedding, [tokens[:1]]).item() == 0.0  # all clips have it


def test_it_learns_which_words_belong_to_which_embedding():
    torch.manual_seed(0)
    head = WordHead(d_embedding=8, vocab_size=50)
    embedding = torch.nn.functional.normalize(torch.randn(5, 8), dim=-1)
    tokens = torch.tensor([[1, 2], [3, 4], [5, 6], [7, 8], [9, 10]])
    optimizer = torch.optim.Adam(head.parameters(), 0.1)
    for _ in range(100):
        optimizer.zero_grad()
        head(embedding, tokens).mean().backward()
        optimizer.step()
    best = head.linear(embedding).topk(2).indices.sort().values
    assert torch.equal(best, tokens)


def test_logits_start_at_about_one_whatever_the_width():
    torch.manual_seed(0)
    for width in (8, 512):
        head = WordHead(d_embedding=width, vocab_size=4000)
        embedding = torch.nn.functional.normalize(torch.randn(1, width), dim=-1)
        # With logits of deviation 1 the mean of exp is exp(1/2), so that a token
        # is expected to surprise by log(4000) + 1/2.
        tokens = [torch.arange(4000)]
        assert head(embedding, tokens).item() == pytest.approx(
            math.log(4000) + 0.5, abs=0.1
        )
