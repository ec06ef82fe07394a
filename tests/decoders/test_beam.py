import pytest
import torch
from speechbrain.decoders.scorer import LengthScorer, RNNLMScorer, ScorerBuilder
from speechbrain.decoders.seq2seq import S2SBeamSearcher
from speechbrain.lobes.models.RNNLM import RNNLM

from pengi_plugin.decoders.beam import PrefixBeamSearcher
from pengi_plugin.decoders.greedy import PrefixGreedySearcher
from pengi_plugin.lobes.prefix_state import PrefixState
from tests.decoders.plain_search import beam_search, every_answer, token_log_probs
from tests.decoders.small_lms import small_lm

EOS = 2


def each(prefixes):
    """Cut the padding off: yield prefixes [token, d_model]."""
    for prefix, length in zip(*prefixes):
        yield prefix[: int((length * len(prefix)).round())]


def listed(searcher, prefixes):
    """Return [(score, tokens, log_probs)] per item of a searcher with return_topk."""
    hyps, lengths, scores, log_probs = searcher(*prefixes)
    n_token = (lengths * hyps.shape[-1]).round().long()
    return [
        [
            (scores[i, k].item(), hyps[i, k, : n_token[i, k]].tolist(), log_probs[i, k])
            for k in range(hyps.shape[1])
            if scores[i, k] > -torch.inf
        ]
        for i in range(len(hyps))
    ]


def assert_equals_brute_force(lm, prefixes, beam=3, limit=6, **settings):
    searcher = PrefixBeamSearcher(
        lm, EOS, beam, limit, topk=beam, return_topk=True, **settings
    )
    for found, prefix in zip(listed(searcher, prefixes), each(prefixes)):
        expected = beam_search(lm, prefix, EOS, beam, limit)[:beam]
        assert len(found) == len(expected)
        for (score, tokens, log_probs), (plain_score, plain) in zip(found, expected):
            assert tuple(tokens) == tuple(t for t in plain if t != EOS)
            assert score == pytest.approx(plain_score, abs=1e-4)
            torch.testing.assert_close(
                log_probs[: len(plain)],
                token_log_probs(lm, prefix, plain),
                atol=1e-4,
                rtol=0,
            )


def test_answers_scores_and_log_probs_equal_a_search_by_brute_force(lm, prefixes):
    assert_equals_brute_force(lm, prefixes)
    assert_equals_brute_force(lm, prefixes, beam=5, limit=9)


def test_answers_of_the_check_end_at_different_steps_and_some_at_the_limit(
    lm, prefixes
):
    """Otherwise the comparisons here would prove less than they say."""
    answers = [
        tokens
        for prefix in each(prefixes)
        for _, tokens in beam_search(lm, prefix, EOS, beam=3, limit=6)
    ]
    assert len({len(tokens) for tokens in answers}) > 2
    assert any(tokens[-1] != EOS for tokens in answers)
    assert any(tokens[-1] == EOS for tokens in answers)


def no_reorder(self, beams):
    pass


def keep_the_first(self, items, keep=PrefixState.keep):
    keep(self, torch.arange(len(items)))


def one_position_late(self, lengths, n_prefix, init=PrefixState.__init__):
    init(self, lengths, n_prefix)
    self.positions += 1


def one_position_for_all(self, open_slots=PrefixState.open_slots):
    positions = self.positions
    open_slots(self)
    self.positions = positions


def beams_see_each_other(self, open_slots=PrefixState.open_slots):
    open_slots(self)
    self.seen[..., -self.n_beam :] = True


def padding_is_seen(self, lengths, n_prefix, init=PrefixState.__init__):
    init(self, lengths, n_prefix)
    self.seen[:] = True


FAULTS = {
    "beams are not reordered": (PrefixState, "reorder", no_reorder),
    "another item's past is kept": (PrefixState, "keep", keep_the_first),
    "positions are one too high": (PrefixState, "__init__", one_position_late),
    "positions stand still": (PrefixState, "open_slots", one_position_for_all),
    "the cache is shared between beams": (
        PrefixState,
        "open_slots",
        beams_see_each_other,
    ),
    "padding is read": (PrefixState, "__init__", padding_is_seen),
    "the last token is lost as in SpeechBrain": (
        PrefixBeamSearcher,
        "_fill_alived_hyps_with_eos_token",
        S2SBeamSearcher._fill_alived_hyps_with_eos_token,
    ),
    "beams of an item are chosen from one beam only": (
        PrefixBeamSearcher,
        "permute_mem",
        lambda self, memory, index: memory,
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_comparison_notices_when(fault, lm, prefixes, monkeypatch):
    assert_equals_brute_force(lm, prefixes)
    owner, name, faulty = FAULTS[fault]
    monkeypatch.setattr(owner, name, faulty)
    with pytest.raises(AssertionError):
        assert_equals_brute_force(lm, prefixes)


def test_the_best_answer_is_returned_as_a_list_of_tokens_without_end_mark(lm, prefixes):
    answers, lengths, scores, log_probs = PrefixBeamSearcher(lm, EOS, 3, 6)(*prefixes)
    for i, prefix in enumerate(each(prefixes)):
        best_score, best = beam_search(lm, prefix, EOS, beam=3, limit=6)[0]
        assert answers[i] == [token for token in best if token != EOS]
        assert scores[i].item() == pytest.approx(best_score, abs=1e-4)
        assert (lengths[i] * log_probs.shape[1]).round() == len(answers[i])
        assert log_probs[i].sum() == pytest.approx(best_score * len(best), abs=1e-4)


def test_an_answer_does_not_depend_on_the_rest_of_the_batch_or_on_padding(lm, prefixes):
    searcher = PrefixBeamSearcher(lm, EOS, beam_size=4, max_new_tokens=7)
    answers, _, scores, _ = searcher(*prefixes)
    backwards = searcher(prefixes[0].flip(0), prefixes[1].flip(0))
    assert backwards[0] == answers[::-1]
    torch.testing.assert_close(backwards[2].flip(0), scores)
    for i, prefix in enumerate(each(prefixes)):
        alone, _, score, _ = searcher(prefix[None])
        assert alone == [answers[i]]
        torch.testing.assert_close(score, scores[i : i + 1])


def test_a_beam_of_one_is_greedy_search_and_that_of_hugging_face(lm, prefixes):
    greedy = PrefixGreedySearcher(lm, EOS, max_new_tokens=8)(*prefixes)
    beam = PrefixBeamSearcher(lm, EOS, beam_size=1, max_new_tokens=8)(*prefixes)
    assert beam[0] == greedy[0]
    for ours, theirs in zip(beam[1:], greedy[1:]):
        torch.testing.assert_close(ours, theirs)
    for answer, prefix in zip(greedy[0], each(prefixes)):
        theirs = lm.model.generate(
            inputs_embeds=prefix[None],
            attention_mask=torch.ones(1, len(prefix), dtype=torch.long),
            max_new_tokens=8,
            do_sample=False,
            eos_token_id=EOS,
            pad_token_id=EOS,
        )[0].tolist()
        assert answer == theirs[: theirs.index(EOS) if EOS in theirs else None]


def test_without_end_marks_the_best_answer_is_that_of_hugging_face(lm, prefixes):
    prefix = prefixes[0]
    searcher = PrefixBeamSearcher(
        lm, EOS, beam_size=4, max_new_tokens=7, min_new_tokens=7
    )
    theirs = lm.model.generate(
        inputs_embeds=prefix,
        attention_mask=torch.ones(prefix.shape[:2], dtype=torch.long),
        num_beams=4,
        max_new_tokens=7,
        min_new_tokens=7,
        do_sample=False,
        eos_token_id=EOS,
        pad_token_id=EOS,
    )
    assert searcher(prefix)[0] == theirs.tolist()


@pytest.mark.parametrize("average", [True, False])
def test_a_beam_as_wide_as_all_answers_finds_them_all(tiny_vocabulary_lm, average):
    lm = tiny_vocabulary_lm
    torch.manual_seed(5)
    prefix = torch.randn(2, 5, 8)
    searcher = PrefixBeamSearcher(
        lm,
        EOS,
        beam_size=4**3,
        max_new_tokens=3,
        topk=4**3,
        return_topk=True,
        length_normalization=average,
    )
    for found, row in zip(listed(searcher, (prefix, None)), prefix):
        expected = every_answer(lm, row, EOS, limit=3, average=average)
        assert len(found) == len(expected) == 1 + 3 + 9 * 4
        assert found[0][1] == [t for t in expected[0][1] if t != EOS]
        torch.testing.assert_close(
            torch.tensor([f[0] for f in found]),
            torch.tensor([e[0] for e in expected]),
        )


def test_a_beam_wider_than_the_vocabulary_equals_brute_force(
    tiny_vocabulary_lm, prefixes
):
    assert_equals_brute_force(tiny_vocabulary_lm, prefixes, beam=7, limit=5)


def test_no_answer_ends_before_min_new_tokens(lm, prefixes):
    searcher = PrefixBeamSearcher(lm, EOS, 3, max_new_tokens=6, min_new_tokens=3)
    answers, _, scores, _ = searcher(*prefixes)
    assert min(map(len, answers)) >= 3
    for answer, score, prefix in zip(answers, scores, each(prefixes)):
        best = beam_search(lm, prefix, EOS, beam=3, limit=6, min_new=3)[0]
        assert answer == [token for token in best[1] if token != EOS]
        assert score.item() == pytest.approx(best[0], abs=1e-4)


def test_the_prefix_is_read_once_per_clip_and_finished_clips_leave(
    lm, prefixes, monkeypatch
):
    n_rows = []
    read = type(lm)._read

    def counted(self, state, **inputs):
        (ids,) = (inputs[k] for k in ("input_ids", "inputs_embeds") if k in inputs)
        n_rows.append(tuple(ids.shape[:2]))
        return read(self, state, **inputs)

    monkeypatch.setattr(type(lm), "_read", counted)
    PrefixBeamSearcher(lm, EOS, beam_size=2, max_new_tokens=9)(*prefixes)
    assert n_rows[0] == (5, 6)
    assert all(beam == 2 for _, beam in n_rows[1:])
    items = [item for item, _ in n_rows[1:]]
    assert items == sorted(items, reverse=True)
    assert items[0] == 5
    assert items[-1] < 5


def test_a_search_is_over_when_no_beam_lives(monkeypatch):
    lm = small_lm("gpt2", vocab_size=1)
    monkeypatch.setattr(lm, "step", None)  # would be called if it went on
    found = PrefixBeamSearcher(lm, eos_index=0, beam_size=3)(torch.randn(2, 5, 8))
    assert found[0] == [[], []]
    assert found[2].tolist() == [0.0, 0.0]


def test_length_scorer_adds_its_weight_for_each_token(lm, prefixes):
    scorer = ScorerBuilder(
        full_scorers=[LengthScorer(lm.vocab_size)], weights={"length": 4.0}
    )
    searcher = PrefixBeamSearcher(
        lm, EOS, 3, 6, scorer=scorer, length_normalization=False
    )
    plain = PrefixBeamSearcher(lm, EOS, 3, 6, length_normalization=False)
    answers, _, scores, log_probs = searcher(*prefixes)
    for i, prefix in enumerate(each(prefixes)):
        best_score, best = beam_search(
            lm, prefix, EOS, 3, 6, average=False, bonus=lambda tokens: 4.0
        )[0]
        assert answers[i] == [token for token in best if token != EOS]
        assert scores[i].item() == pytest.approx(best_score, abs=1e-4)
        # the log-probabilities stay the model's
        assert log_probs[i].sum() + 4.0 * len(best) == pytest.approx(
            best_score, abs=1e-4
        )
    n_longer = sum(map(len, answers)) - sum(map(len, plain(*prefixes)[0]))
    assert n_longer > 0


def test_a_scorer_with_a_memory_goes_on_from_its_own_past(lm, prefixes):
    torch.manual_seed(6)
    rnn = RNNLM(
        lm.vocab_size,
        embedding_dim=4,
        rnn_neurons=5,
        dnn_neurons=5,
        dropout=0,
        return_hidden=True,
    )
    for parameter in rnn.parameters():
        parameter.data.normal_(std=0.7)
    scorer = ScorerBuilder(full_scorers=[RNNLMScorer(rnn)], weights={"rnnlm": 0.6})
    answers, _, scores, _ = PrefixBeamSearcher(lm, EOS, 3, 6, scorer=scorer)(*prefixes)

    def bonus(tokens):
        read = torch.tensor([[EOS, *tokens[:-1]]])  # SpeechBrain starts with bos
        with torch.no_grad():
            logits = rnn(read)[0].reshape(-1, lm.vocab_size)[-1]
        return 0.6 * logits.log_softmax(-1)[tokens[-1]].item()

    for answer, score, prefix in zip(answers, scores, each(prefixes)):
        best_score, best = beam_search(lm, prefix, EOS, 3, 6, bonus=bonus)[0]
        assert answer == [token for token in best if token != EOS]
        assert score.item() == pytest.approx(best_score, abs=1e-4)


def test_settings_that_cannot_be_searched_are_refused_with_their_values(lm):
    with pytest.raises(ValueError, match=r"eos_index must be.*from 0 to 8; got 9"):
        PrefixBeamSearcher(lm, eos_index=9)
    with pytest.raises(ValueError, match="topk=3, beam_size=2"):
        PrefixBeamSearcher(lm, EOS, beam_size=2, topk=3)
    with pytest.raises(ValueError, match="max_new_tokens must be at least 1; got 0"):
        PrefixBeamSearcher(lm, EOS, max_new_tokens=0)
    with pytest.raises(ValueError, match="min_new_tokens=5, max_new_tokens=4"):
        PrefixBeamSearcher(lm, EOS, max_new_tokens=4, min_new_tokens=5)
