"""The language model's recipe: texts, packing, n-grams, and a tiny training."""

import csv
import importlib
import math
from collections import Counter, defaultdict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import GPT2LMHeadModel

from pengi_plugin.lobes.tokenizer import SentencePieceTokenizer

NAMES = ("texts", "questions", "mixture", "kneser_ney", "vocabulary", "train")


@pytest.fixture
def recipe(root, monkeypatch):
    """Return the recipe's modules by name, as a script beside them sees them."""
    import sys

    monkeypatch.syspath_prepend(str(root / "recipes" / "language_model"))
    for name in NAMES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    modules = {name: importlib.import_module(name) for name in NAMES}
    yield modules
    for name in NAMES:
        sys.modules.pop(name, None)


@pytest.fixture
def audiocaps(tmp_path):
    folder = tmp_path / "audiocaps"
    folder.mkdir()
    captions = ["A dog barks.", "Rain falls, then a man  speaks", "Birds sing"]
    for split in ("train", "val", "test"):
        with (folder / f"{split}.csv").open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["audiocap_id", "youtube_id", "start_time", "caption"])
            writer.writerows([n, "x", 0, text] for n, text in enumerate(captions))
    return folder


@pytest.fixture
def wordnet(tmp_path):
    folder = tmp_path / "wordnet"
    folder.mkdir()
    noun = (
        "  1 This software and database is being provided to you\n"
        "00 03 n 02 living_thing 0 animate_thing 0 000 | a (once) living entity  \n"
        '01 03 n 01 dog 0 000 | an animal that barks; "the dog slept"; "Woof"  \n'
        "02 05 n 01 Canis 0 000 | a genus of mammals  \n"
    )
    adjective = '03 00 a 01 galore(ip) 0 000 | in great numbers; "Food galore!"  \n'
    for name, text in (("noun", noun), ("verb", ""), ("adj", adjective), ("adv", "")):
        (folder / f"data.{name}").write_text(text)
    return folder


def test_captions_are_lower_case_without_a_final_full_stop(recipe, audiocaps):
    train, held_out = recipe["texts"].read_audiocaps(audiocaps)
    captions = ["a dog barks", "rain falls, then a man speaks", "birds sing"]
    assert train[:3] == held_out == captions
    assert (
        train[3:]
        == [  # the validation split's captions, which are of one clip
            f"{fact}. generate audio caption {caption}"
            for fact, caption in zip(captions, captions[1:] + captions[:1])
        ]
    )


def test_glosses_and_examples_are_read_and_proper_names_left_out(recipe, wordnet):
    train, held_out = recipe["texts"].read_wordnet(wordnet, held_out_every=2)
    assert train == [
        "living thing: a (once) living entity",
        "galore: in great numbers",
        "food galore!",
    ]
    assert held_out == ["dog: an animal that barks", "the dog slept"]


def test_a_missing_text_file_is_named(recipe, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"data\.noun does not exist"):
        recipe["texts"].read_wordnet(tmp_path)


def test_forms_are_answers_and_dialogues_from_other_answers(recipe):
    train, held_out = recipe["texts"].read_forms(n_clip=300)
    for line in (
        "violin, pitch 60",
        "this is a sound of sea waves",
        "generate audio caption a recording of someone snoring",
    ):
        name = line.split(",")[0]
        assert any(name in other for other in train), line
    prompt = ". this music note is produced by "
    dialogues = [line for line in held_out if prompt in line]
    assert dialogues
    for line in dialogues:
        facts, answer = line.split(prompt)
        assert answer in held_out
        assert answer not in facts


def test_a_dialogue_asks_several_different_questions_that_its_facts_answer(recipe):
    _, held_out = recipe["texts"].read_forms(n_clip=10)
    dialogues = [line for line in held_out if "question: " in line]
    for line in dialogues:
        facts, *asked = line.split("question: ")
        assert facts
        assert 1 < len(asked) <= recipe["texts"].N_QUESTION
        assert len(set(asked)) == len(asked)
    counted = 0
    for line in dialogues:
        if "general midi" not in line or "how many" not in line:
            continue
        listed = line.split("general midi ")[1].split(". ")[0].split(", ")[1:]
        number = ["no", "one", "two", "three"][len(listed)]
        answer = line.split("how many")[1].split("? ")[1].split("</s>")[0]
        assert answer == number
        counted += 1
    assert counted > 10


def test_dialogues_ask_for_sounds_that_their_facts_name_or_not(recipe):
    _, held_out = recipe["texts"].read_forms(n_clip=10)
    only_presence, named = 0, Counter()
    for line in held_out:
        facts, *asked = line.split("question: ")
        pairs = [part.removesuffix("</s>").rsplit("? ", 1) for part in asked]
        if len(pairs) < 2 or {answer for _, answer in pairs} - {"yes", "no"}:
            continue
        only_presence += 1
        for question, answer in pairs:
            start, _, phrase = question.partition("is there ")
            named[answer] += not start and phrase in facts
    assert only_presence > 500
    assert named["yes"] > 200  # where the facts use the question's very words
    assert not named["no"]


def test_two_of_three_question_dialogues_only_ask_whether_a_sound_is_there(recipe):
    train, held_out = recipe["texts"].read_questions(n_clip=30)
    assert (len(train), len(held_out)) == (90, 900)
    named = Counter()
    for index, line in enumerate(train + held_out):
        facts, *asked = line.split("question: ")
        assert facts
        assert len(set(asked)) == len(asked) > 1
        pairs = [part.removesuffix("</s>").rsplit("? ", 1) for part in asked]
        answers = {answer for _, answer in pairs}
        if index % 3 == 2:
            assert not answers & {"yes", "no"}
            continue
        assert answers <= {"yes", "no"}
        for question, answer in pairs:
            start, _, phrase = question.partition("do you hear ")
            named[answer] += not start and phrase in facts
    assert named["yes"] > 100
    assert not named["no"]


def test_test_questions_have_all_facts_and_the_right_answer(recipe):
    asked = recipe["questions"].read(n_clip=60)
    assert len(set(asked)) == len(asked)
    kinds = Counter(kind for kind, *_ in asked)
    assert set(kinds) == {
        "family",
        "first",
        "high or low",
        "how many",
        "last",
        "list of sounds, sequence",
        "list of sounds, together",
        "soft or loud",
        "together",
        "yes or no",
    }
    for kind, question, answer in asked:
        facts = question.partition("question: ")[0]
        if "general midi sequence, " in facts:
            listed = facts.split("general midi sequence, ")[1].split(". ")[0]
            sounds = listed.split(", ")
            expected = {
                "first": sounds[0],
                "last": sounds[-1],
                "list of sounds, sequence": listed,
                "how many": ["no", "one", "two", "three"][len(sounds)],
                "together": "one after the other",
            }
            assert answer == expected.get(kind, answer)
        if kind in ("high or low", "soft or loud"):
            assert answer in facts


def test_an_answer_counts_with_its_end_mark(recipe, root):
    folder = root / "pengi_plugin" / "assets" / "mini_lm"
    tokenizer = SentencePieceTokenizer(folder / "tokenizer.model")
    asked = [("first", "an owl. question: what is first?", "owl, rain")]
    (document,), (n_answer,) = recipe["questions"].encode(asked, tokenizer)
    assert tokenizer.decode_ids(document[-n_answer:-1]) == "owl, rain"
    assert document[-1] == 2  # </s>
    assert tokenizer.decode_ids(document[:-n_answer]) == asked[0][1]


class Counting(torch.nn.Module):
    """A language model that is sure of the next number."""

    config = SimpleNamespace(eos_token_id=0)

    def forward(self, input_ids, use_cache):
        logits = torch.nn.functional.one_hot((input_ids + 1) % 10, 10).float()
        return SimpleNamespace(logits=logits)


def test_an_answer_is_right_if_every_token_of_it_is(recipe):
    brain = recipe["train"].LanguageModelBrain(modules={"lm": Counting()})
    documents = [[7, 1, 2, 3], [1, 2, 4, 5], [5, 6], [1, 2, 3, 9], [4, 9, 9, 3, 4, 5]]
    n_answer = [2, 2, 1, 2, 2]
    assert brain.right(documents, n_answer) == [True, False, True, False, True]
    scores = brain.log_probs(documents)
    assert [len(row) for row in scores] == [4, 4, 2, 4, 6]
    sure = math.log(math.e / (math.e + 9))
    assert scores[0] == pytest.approx([sure - 1, sure - 1, sure, sure], abs=1e-5)


def test_the_shipped_model_answers_questions_from_text(recipe, root):
    folder = root / "pengi_plugin" / "assets" / "mini_lm"
    lm = GPT2LMHeadModel.from_pretrained(folder)
    asked = recipe["questions"].read(n_clip=40)
    tokenizer = SentencePieceTokenizer(folder / "tokenizer.model")
    brain = recipe["train"].LanguageModelBrain(modules={"lm": lm})
    right = brain.right(*recipe["questions"].encode(asked, tokenizer))
    of_kind = defaultdict(list)
    for (kind, *_), one in zip(asked, right):
        of_kind[kind].append(one)
    shares = {kind: sum(several) / len(several) for kind, several in of_kind.items()}
    assert len(of_kind["yes or no"]) > 100
    assert shares["yes or no"] > 0.95
    assert min(shares.values()) > 0.95


def test_the_tokenizer_leaves_out_a_corpus_without_a_share(recipe):
    lines = {"a": ["xx"] * 3, "b": ["yyyy"], "c": ["z"]}
    kept = recipe["vocabulary"].in_shares(lines, {"a": 0.75, "b": 0.25})
    assert Counter(kept) == {"xx": 6, "yyyy": 1}


def test_blocks_hold_each_corpus_in_its_share(recipe):
    rng = np.random.default_rng(0)
    corpora = {
        "a": [[10] * rng.integers(1, 9) for _ in range(50)],
        "b": [[20] * rng.integers(1, 9) for _ in range(5)],
    }
    blocks = recipe["mixture"].MixedBlocks(corpora, {"a": 0.75, "b": 0.25}, 40, 32)
    for epoch in (1, 2):
        blocks.draw(epoch)
        counts = Counter(torch.stack(list(blocks)).flatten().tolist())
        assert counts[10] == pytest.approx(0.75 * 40 * 32, abs=32)
        assert set(counts) == {10, 20}


def test_an_epoch_goes_on_where_the_last_one_left_its_corpus(recipe):
    documents = [[n] for n in range(60)]
    blocks = recipe["mixture"].MixedBlocks({"a": documents}, {"a": 1.0}, 5, 4)
    seen = []
    for epoch in (1, 2, 3):
        blocks.draw(epoch)
        seen.append(set(blocks.blocks.flatten().tolist()))
    # Each epoch draws one document too many and cuts its stream to length.
    assert len(set.union(*seen)) >= 57
    first = blocks.blocks.clone()
    blocks.draw(3)
    assert torch.equal(first, blocks.blocks)


def test_shares_that_do_not_fit_the_corpora_are_refused(recipe):
    blocks = recipe["mixture"].MixedBlocks
    with pytest.raises(ValueError, match="must name every corpus and sum to 1"):
        blocks({"a": [[1]]}, {"a": 0.5}, 1, 1)
    with pytest.raises(ValueError, match=r"have no document: \['a'\]"):
        blocks({"a": []}, {"a": 1.0}, 1, 1)


def plain_kneser_ney(documents, vocab_size, context, word, order):
    """Chen & Goodman's equations 24-26 with dictionaries, one word at a time."""
    start = -1
    padded = [[start] * (order - 1) + list(d) for d in documents]
    places = [(d, i) for d in padded for i in range(order - 1, len(d))]
    raw = [
        Counter(tuple(d[i - m : i + 1]) for d, i in places) for m in range(order)
    ]  # raw[m]: counts of (m + 1)-grams
    probability = 1 / vocab_size
    for m in range(order):
        counts = dict(raw[m])
        if m < order - 1:
            before = Counter(gram[1:] for gram in raw[m + 1])
            counts = {g: c if g[0] == start else before[g] for g, c in raw[m].items()}
        n = Counter(counts.values())
        y = n[1] / (n[1] + 2 * n[2])
        d1, d2, d3 = (k - (k + 1) * y * n[k + 1] / n[k] for k in (1, 2, 3))
        history = tuple(([start] * order + list(context))[len(context) + order - m :])
        same = {g: c for g, c in counts.items() if g[:-1] == history}
        if not same:
            continue
        total = sum(same.values())
        taken = {g: (d1, d2, d3)[min(c, 3) - 1] for g, c in same.items()}
        probability *= sum(taken.values()) / total
        gram = (*history, word)
        if gram in same:
            probability += (same[gram] - taken[gram]) / total
    return probability


@pytest.fixture
def documents():
    rng = np.random.default_rng(3)
    return [
        [int(token) for token in rng.zipf(1.3, size=rng.integers(1, 9)) % 90]
        for _ in range(300)
    ]


def test_kneser_ney_follows_the_equations(recipe, documents):
    model = recipe["kneser_ney"].KneserNey(documents, vocab_size=90, order=3)
    for document in ([1, 2, 1, 5], [6, 6, 6], [0], [3, 4, 0, 0, 1]):
        expected = [
            plain_kneser_ney(documents, 90, document[:i], document[i], 3)
            for i in range(len(document))
        ]
        assert np.exp(model.log_probs(document)) == pytest.approx(expected)


def test_kneser_ney_probabilities_sum_to_one(recipe, documents):
    model = recipe["kneser_ney"].KneserNey(documents, vocab_size=90, order=4)
    for context in ([], [1], [1, 6, 2], [6, 6, 6, 6]):
        total = sum(math.exp(model.log_probs([*context, w])[-1]) for w in range(90))
        assert total == pytest.approx(1.0)


def test_an_order_that_does_not_fit_is_refused(recipe):
    with pytest.raises(ValueError, match="use an order of at most 5"):
        recipe["kneser_ney"].KneserNey([[1]], vocab_size=4000, order=6)


@pytest.fixture
def trained(recipe, root, audiocaps, wordnet, tmp_path, capsys):
    """Train a tiny model; return perplexities, output folder and what it printed."""
    overrides = {
        "audiocaps_folder": audiocaps,
        "wordnet_folder": wordnet,
        "output_folder": tmp_path / "out",
        "wordnet_held_out_every": 2,
        "n_clip": 40,
        "vocab_size": 700,
        "n_embd": 16,
        "n_layer": 1,
        "n_head": 2,
        "n_inner": 32,
        "block_size": 192,
        "number_of_epochs": 2,
        "updates_per_epoch": 10,
        "batch_size": 4,
        "valid_blocks": 4,
        "n_warmup": 2,
        "lr": 0.02,
        "ngram_order": 3,
    }
    arguments = [str(root / "hparams" / "language_model.yaml"), "--device=cpu"]
    arguments += [f"--{name}={value}" for name, value in overrides.items()]
    perplexities = recipe["train"].main(arguments)
    return perplexities, tmp_path / "out", capsys.readouterr().out


def test_a_held_out_line_that_the_model_cannot_read_is_refused(recipe):
    check = recipe["train"].check_lengths
    check({"a": [[1] * 8], "b": [[1]]}, block_size=8)
    with pytest.raises(ValueError, match=r"line of b has 9 tokens.*block_size=8"):
        check({"a": [[1] * 8], "b": [[1], [1] * 9]}, block_size=8)


def test_a_tiny_training_learns_exports_and_prints_the_table(trained):
    perplexities, folder, printed = trained
    log = (folder / "train_log.txt").read_text().splitlines()
    losses = [float(line.split("train loss: ")[1].split(" ")[0]) for line in log]
    assert losses[1] < losses[0] - 0.5
    assert perplexities["audiocaps"] < 100  # a guess among all tokens has 700

    lm, info = GPT2LMHeadModel.from_pretrained(
        folder / "mini_lm", output_loading_info=True
    )
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert lm.lm_head.weight is lm.transformer.wte.weight
    assert lm.dtype == torch.float32
    assert lm.config.eos_token_id == lm.config.bos_token_id == 2
    assert lm.config.n_inner == 32
    assert (folder / "mini_lm" / "tokenizer.model").exists()
    assert "| audiocaps | 3 |" in printed
    assert (folder / "perplexity.md").read_text() in printed
    assert (folder / "answers.md").read_text() in printed
    assert "\n| yes or no | " in printed


def test_the_tokenizer_learns_from_its_corpora_without_end_marks(
    recipe, monkeypatch, request
):
    lines, train_tokenizer = [], recipe["vocabulary"].train_tokenizer
    corpora, in_shares = set(), recipe["vocabulary"].in_shares

    def keep(some, *rest):
        lines.extend(some)
        train_tokenizer(some, *rest)

    def note(lines, shares):
        corpora.update(shares)
        return in_shares(lines, shares)

    monkeypatch.setattr(recipe["vocabulary"], "train_tokenizer", keep)
    monkeypatch.setattr(recipe["vocabulary"], "in_shares", note)
    request.getfixturevalue("trained")
    assert "question: is there a piano?" in " ".join(lines)
    assert not [line for line in lines if "</s>" in line]
    assert corpora == {"audiocaps", "wordnet", "forms"}
