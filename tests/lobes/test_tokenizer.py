"""Tokenizers, against sentencepiece, the tokenizers library and hand-made merges."""

import json
import pickle

import pytest
import sentencepiece
import tokenizers
from speechbrain.utils.parameter_transfer import Pretrainer

from pengi_plugin.assets import folder
from pengi_plugin.lobes.tokenizer import HFTokenizer, SentencePieceTokenizer

TEXT = "a dog barks while birds sing"


@pytest.fixture(scope="module")
def sentencepiece_model(tmp_path_factory):
    path = tmp_path_factory.mktemp("spm") / "tokenizer.model"
    lines = [TEXT, "a bird sings", "dogs bark", "rain falls on a roof"] * 5
    with path.open("wb") as stream:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=stream,
            vocab_size=40,
            hard_vocab_limit=False,
            pad_id=1,
            eos_id=2,
            bos_id=-1,
            minloglevel=2,
        )
    return path


@pytest.fixture
def gpt2_folder(tmp_path):
    """GPT-2's two files with the tokens a, b, Ġ (space), ab and Ġab."""
    vocab = {"a": 0, "b": 1, "Ġ": 2, "ab": 3, "Ġab": 4, "<|endoftext|>": 5}
    (tmp_path / "vocab.json").write_text(json.dumps(vocab))
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b\nĠ ab\n")
    return tmp_path


@pytest.fixture
def clip_folder(tmp_path):
    """CLIP's two files: words end with </w>, and a start token exists."""
    pieces = ["a", "b", "a</w>", "b</w>", "ab</w>", "<|startoftext|>", "<|endoftext|>"]
    vocab = {piece: index for index, piece in enumerate(pieces)}
    (tmp_path / "vocab.json").write_text(json.dumps(vocab))
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b</w>\n")
    return tmp_path


def test_a_text_is_encoded_as_sentencepiece_does(sentencepiece_model):
    processor = sentencepiece.SentencePieceProcessor(
        model_file=str(sentencepiece_model)
    )
    tokenizer = SentencePieceTokenizer(sentencepiece_model)
    assert tokenizer.encode_as_ids(TEXT) == processor.encode(TEXT)
    assert tokenizer.decode_ids(processor.encode(TEXT)) == TEXT
    assert len(tokenizer) == processor.get_piece_size()


def test_a_control_symbol_is_its_id_alone(sentencepiece_model):
    tokenizer = SentencePieceTokenizer(sentencepiece_model)
    assert tokenizer.encode_as_ids("</s>") == [2]
    assert tokenizer.encode_as_ids(TEXT + "</s>") == [
        *tokenizer.encode_as_ids(TEXT),
        2,
    ]
    assert tokenizer.decode_ids([2, *tokenizer.encode_as_ids(TEXT), 2]) == TEXT


@pytest.mark.parametrize("kind", ["sentencepiece", "json"])
def test_a_tokenizer_survives_pickling(kind, sentencepiece_model, gpt2_folder):
    if kind == "sentencepiece":
        tokenizer = SentencePieceTokenizer(sentencepiece_model)
    else:
        tokenizer = HFTokenizer(gpt2_folder)
    copy = pickle.loads(pickle.dumps(tokenizer))
    assert copy.encode_as_ids("ab ab") == tokenizer.encode_as_ids("ab ab")
    assert len(copy) == len(tokenizer)


def test_the_pretrainer_fills_empty_tokenizers(
    sentencepiece_model, gpt2_folder, tmp_path
):
    HFTokenizer(gpt2_folder).save(tmp_path / "lm_tokenizer.json")
    loadables = {"a": SentencePieceTokenizer(), "b": HFTokenizer()}
    pretrainer = Pretrainer(
        collect_in=tmp_path / "collected",
        loadables=loadables,
        paths={
            "a": str(sentencepiece_model),
            "b": str(tmp_path / "lm_tokenizer.json"),
        },
    )
    pretrainer.collect_files()
    pretrainer.load_collected()
    assert loadables["a"].encode_as_ids("</s>") == [2]
    assert loadables["b"].encode_as_ids(" ab") == [4]


@pytest.mark.parametrize("make", [SentencePieceTokenizer, HFTokenizer])
def test_an_empty_tokenizer_says_that_it_is_empty(make):
    with pytest.raises(RuntimeError, match="is empty; give it a path"):
        make().encode_as_ids("a")


def test_gpt2_files_keep_spaces_and_parse_the_end_mark(gpt2_folder):
    tokenizer = HFTokenizer(gpt2_folder)
    assert tokenizer.encode_as_ids("ab ab <|endoftext|>") == [3, 4, 2, 5]
    assert tokenizer.encode_as_ids("ab", add_special_tokens=True) == [3]
    assert tokenizer.decode_ids([4, 2, 2, 3, 5]) == " ab  ab<|endoftext|>"
    assert len(tokenizer) == 6


def test_clip_files_lower_case_and_frame_on_request(clip_folder):
    tokenizer = HFTokenizer(clip_folder)
    assert tokenizer.encode_as_ids("AB  b") == [4, 3]
    assert tokenizer.encode_as_ids("ab b", add_special_tokens=True) == [5, 4, 3, 6]
    assert tokenizer.decode_ids([4, 3]) == "ab b"


@pytest.mark.parametrize("files", ["gpt2_folder", "clip_folder"])
def test_one_saved_file_holds_all_of_a_tokenizer(files, request, tmp_path):
    tokenizer = HFTokenizer(request.getfixturevalue(files))
    path = tmp_path / "saved" / "tokenizer.json"
    path.parent.mkdir()
    tokenizer.save(path)
    for source in (path, path.parent):
        again = HFTokenizer(source)
        for special in (False, True):
            assert again.encode_as_ids("ab b", special) == tokenizer.encode_as_ids(
                "ab b", special
            )
        assert again.decode_ids([4, 3]) == tokenizer.decode_ids([4, 3])


def test_a_stored_length_limit_does_not_cut_prompts(gpt2_folder, tmp_path):
    HFTokenizer(gpt2_folder).save(tmp_path / "tokenizer.json")
    limited = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    limited.enable_truncation(2)
    limited.enable_padding(length=4)
    limited.save(str(tmp_path / "tokenizer.json"))
    assert HFTokenizer(tmp_path).encode_as_ids("ab ab ab") == [3, 4, 4]


@pytest.mark.parametrize("source", ["/no/such/folder", "gone.json"])
def test_a_missing_path_is_named(source):
    with pytest.raises(FileNotFoundError, match=f"There is no file or folder {source}"):
        HFTokenizer(source)


def test_a_hub_name_is_looked_up_on_the_hub(gpt2_folder, tmp_path, monkeypatch):
    saved = tmp_path / "hub.json"
    HFTokenizer(gpt2_folder).save(saved)
    asked = []
    monkeypatch.setattr(
        "huggingface_hub.hf_hub_download",
        lambda *names: asked.append(names) or str(saved),
    )
    assert len(HFTokenizer("somebody/some-model")) == 6
    assert asked == [("somebody/some-model", "tokenizer.json")]


def test_a_folder_without_tokenizer_says_what_is_missing(gpt2_folder):
    (gpt2_folder / "merges.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"neither tokenizer.json nor merges"):
        HFTokenizer(gpt2_folder)


@pytest.mark.parametrize("make", [SentencePieceTokenizer, HFTokenizer])
def test_a_file_of_another_kind_is_named(make, tmp_path):
    path = tmp_path / "tokenizer.model"
    path.write_text("neither json nor a model")
    with pytest.raises(ValueError, match=r"tokenizer\.model is not a"):
        make(path)


def test_a_folder_gives_its_tokenizer_model(sentencepiece_model, tmp_path):
    tokenizer = SentencePieceTokenizer(sentencepiece_model.parent)
    assert tokenizer.encode_as_ids("</s>") == [2]
    with pytest.raises(FileNotFoundError, match=r"no file .*tokenizer\.model; give"):
        SentencePieceTokenizer(tmp_path)


def test_an_unknown_asset_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"no asset 'mini'; there are .*mini_lm"):
        folder("mini")
