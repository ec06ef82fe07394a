"""A recording, prefixes or answers and a list of labels in, a score per label out.

Pengi (Deshmukh et al., NeurIPS 2023, section 4) turns text into classes in two
ways: the label nearest to the generated answer in the text encoder's space, or the
label that the language model finds most likely.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

#: What ``classify_file`` asks.
CLASSIFY_PROMPT = "this is a sound of"


@torch.inference_mode()
def text_embeddings(pengi, texts: list[str], projected: bool = False) -> Tensor:
    """Embed texts in the space of the text encoder, with unit norm.

    A text longer than the encoder reads is cut at a word. Without text encoder, a
    text is the mean of its tokens' embeddings in the language model.

    Arguments
    ---------
    pengi : Pengi
        The model.
    texts : list of str
        Answers or labels.
    projected : bool
        Whether to go on through the trained projection of prompts.

    Returns
    -------
    embeddings : torch.Tensor
        [text, d_text], or [text, d_embedding] if projected.
    """
    encoder = pengi.text_encoder
    texts = [cut_to_fit(encoder, text) for text in texts]
    embeddings = pengi.text_projection(encoder(texts)) if projected else encoder(texts)
    if embeddings.dim() == 3:
        lengths = [len(encoder.prompt_ids(text)) for text in texts]
        embeddings = torch.stack(
            [row[:n].mean(0) for row, n in zip(embeddings, lengths, strict=True)]
        )
    return F.normalize(embeddings.float(), dim=-1)


def cut_to_fit(encoder, text: str) -> str:
    """Drop the last words of a text until the encoder reads all of it."""
    while len(encoder.prompt_ids(text)) > encoder.max_tokens and text:
        text = text.rpartition(" ")[0]
    return text


@torch.inference_mode()
def classify_file(
    model,
    path,
    labels: list[str],
    prompt: str = CLASSIFY_PROMPT,
    method: str = "similarity",
) -> list[tuple[str, float]]:
    """Rank labels for a recording, the best first.

    Arguments
    ---------
    model : AudioLanguageModel
        Who listens.
    path : str
        Audio file.
    labels : list of str
        Names of the classes, as they would stand in an answer.
    prompt : str
        What the model is asked.
    method : str
        ``"similarity"``: the cosine between the generated answer and each label
        in the text encoder's space. ``"likelihood"``: the total log-probability
        of each label and the end mark, all in one batch over one prefix.

    Returns
    -------
    ranking : list of (str, float)
        Labels with their scores.
    """
    if method not in ("similarity", "likelihood") or not labels:
        raise ValueError(
            "classify_file needs labels, and 'similarity' or 'likelihood' as "
            f"method; got method={method!r} and {len(labels)} labels."
        )
    clips, lengths = model.load_clip(path)[None], torch.ones(1)
    if method == "similarity":
        answers, _ = model.generate_batch(clips, lengths, prompt)
        answer, *points = model.embed_texts(answers + list(labels))
        scores = torch.stack(points) @ answer
    else:
        prefix = model.encode_batch(clips, lengths, prompt)
        scores = model.score_answers(prefix, labels)[0]
    ranking = zip(labels, scores.tolist())
    return sorted(ranking, key=lambda item: item[1], reverse=True)
