import pytest
from transformers import AutoModel

from pengi_plugin.lobes.huggingface import build
from pengi_plugin.lobes.prefix_lm import PrefixLM


@pytest.mark.parametrize("name", ["nobody/no-such-model", "no-such-model"])
def test_a_hub_name_that_cannot_be_had_is_told_with_what_to_do(
    name, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    message = rf"^{name} is neither a file or folder in {tmp_path} nor a model in the "
    message += r"cache .*HF_HUB_OFFLINE=1"
    with pytest.raises(FileNotFoundError, match=message):
        PrefixLM(source=name)


def test_a_folder_without_a_model_is_not_taken_for_a_hub_name(tmp_path):
    with pytest.raises((OSError, ValueError), match=str(tmp_path)) as caught:
        build(AutoModel, source=str(tmp_path))
    assert "neither" not in str(caught.value)
