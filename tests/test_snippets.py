"""Python that the documentation shows runs as it stands there."""

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).resolve().parent.parent
CARDS = ROOT / "pengi_plugin" / "assets" / "released"
PAGES = [ROOT / "README.md", CARDS / "model_card.md", CARDS / "exported_model_card.md"]


def snippets(page):
    """Return the blocks of Python of a page that use a model."""
    blocks = re.findall(
        r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL
    )
    return [block for block in blocks if "AudioLanguageModel" in block]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_shows_of_inference_runs(
    page, tiny_folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert snippets(page), f"{page.name} shows no inference"
    for block in snippets(page):
        for folder in re.findall(r'source="([^"]+)"', block):
            Path(folder).symlink_to(tiny_folder)
        for path in set(re.findall(r'"([^"]+\.wav)"', block)):
            noise = np.random.default_rng(0).standard_normal(16000)
            soundfile.write(path, 0.1 * noise, 16000)
        exec(compile(block, page.name, "exec"), {})
        for folder in re.findall(r'source="([^"]+)"', block):
            Path(folder).unlink()
    assert capsys.readouterr().out
