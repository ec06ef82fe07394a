"""Audio files and labels in, the labels ranked for each file out.

Pengi (Deshmukh et al., NeurIPS 2023, section 4) turns text into classes in two
ways: the label nearest to the generated answer in the text encoder's space, or the
label that the language model finds most likely.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from pengi_plugin.inference.files import (
    FileAnswer,
    answers_only,
    check_paths,
    each_prefix,
)
from pengi_plugin.inference.likelihood import NORMALIZATIONS

#: Default prompt of ``classify_file``.
CLASSIFY_PROMPT = "this is a sound of"

#: Largest number of labels, counted over all clips of a batch, whose likelihoods are
#: computed at a time, which bounds the memory: with a vocabulary of 50,000, the
#: logits of 256 rows take 50 MB. The labels of one clip are never divided.
SCORED_AT_A_TIME = 256


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
        Whether to apply the trained projection of prompts too.

    Returns
    -------
    embeddings : torch.Tensor
        [text, d_text], or [text, d_embedding] if projected.

    Raises
    ------
    ValueError
        If no word of a text fits, or it has none that the encoder knows.
    """
    encoder = pengi.text_encoder
    given, texts = texts, [cut_to_fit(encoder, text) for text in texts]
    for text, cut in zip(given, texts):
        if not len(encoder.prompt_ids(cut)):
            raise ValueError(
                f"The text {text[:40]!r} cannot be embedded: of its words, none is in "
                f"the {encoder.max_tokens} tokens that the text encoder reads."
            )
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


def classify_file(
    model,
    path,
    labels: Sequence[str],
    prompt: str = CLASSIFY_PROMPT,
    method: str = "similarity",
    normalize: str = "none",
) -> list[tuple[str, float]]:
    """Rank labels for a recording, the best first.

    Arguments
    ---------
    model : AudioLanguageModel
        Model to query.
    path : str
        Audio file.
    labels : list of str
        Names of the classes, as they would occur in an answer.
    prompt : str
        Prompt of the answer, or before the labels.
    method : str
        ``"similarity"``: the cosine between the generated answer and each label
        in the text encoder's space. ``"likelihood"``: the total log-probability
        of each label and the end mark, all in one batch over one prefix.
    normalize : str
        Of likelihoods: ``"none"``; ``"token"``, the mean over a label's tokens and the
        end mark, which does not favour short labels; or ``"prior"``, less the label's
        log-probability about a silent clip, which does not favour common labels.

    Returns
    -------
    ranking : list of (str, float)
        Labels with their scores.

    Raises
    ------
    ValueError
        If there are no labels or ``labels`` is one text, or the method or how it is
        normalized is unknown.
    """
    files = classify_files(model, [path], labels, prompt, method, normalize=normalize)
    return answers_only(files)[0]


def classify_files(
    model,
    paths: Sequence,
    labels: Sequence[str],
    prompt: str = CLASSIFY_PROMPT,
    method: str = "similarity",
    batch_size: int = 8,
    normalize: str = "none",
) -> Iterator[FileAnswer]:
    """Yield the labels ranked for each file in order, as ``classify_file`` does.

    Arguments
    ---------
    model : AudioLanguageModel
        Model to query.
    paths : list of str
        Audio files.
    labels : list of str
        Names of the classes.
    prompt : str
        As of ``classify_file``.
    method : str
        ``"similarity"`` or ``"likelihood"``; see ``classify_file``.
    batch_size : int
        Number of files that are classified at a time.
    normalize : str
        As of ``classify_file``.

    Yields
    ------
    ranking : FileAnswer
        Labels with their scores, the best first; or the error of a file that
        cannot be read, which stops no other file.

    Raises
    ------
    ValueError
        If there are no labels or ``labels`` is one text, or the method or how it is
        normalized is unknown.
    """
    check_paths(paths)
    if isinstance(labels, str):
        raise ValueError(f"labels must be a list of texts; got the text {labels!r}.")
    methods = {"similarity": similarity_scores, "likelihood": likelihood_scores}
    if method not in methods or not labels:
        raise ValueError(
            "Classification needs labels, and 'similarity' or 'likelihood' as "
            f"method; got method={method!r} and {len(labels)} labels."
        )
    known = NORMALIZATIONS if method == "likelihood" else ("none",)
    if normalize not in known:
        raise ValueError(
            f"normalize must be one of {', '.join(known)} with method={method!r}; got "
            f"{normalize!r}."
        )
    options = {"normalize": normalize} if method == "likelihood" else {}
    scores_of = methods[method](model, labels, **options)

    def ask(prefix, prompts):
        scores = scores_of(prefix, prompts)
        return [_ranking(labels, row) for row in scores.tolist()]

    return each_prefix(model, paths, [prompt] * len(paths), ask, batch_size)


def similarity_scores(model, labels: Sequence[str]) -> Callable:
    """Return a function: prefix, prompts -> cosines [prompt, label].

    The cosines are those between each generated answer and the labels, which are
    embedded once.
    """
    label_embeddings = model.embed_texts(labels)

    def scores_of(prefix: Tensor, _) -> Tensor:
        answers, _ = model.generate_after(prefix)
        return model.embed_texts(answers) @ label_embeddings.T

    return scores_of


def likelihood_scores(
    model, labels: Sequence[str], normalize: str = "none"
) -> Callable:
    """Return a function: prefix, prompts -> log-probs [prompt, label].

    ``normalize`` is one of ``likelihood.NORMALIZATIONS``; what the model finds likely
    about a silent clip is computed once for each prompt.
    """
    n_prefix = max(1, SCORED_AT_A_TIME // len(labels))
    n_token = model.count_tokens(labels).to(model.device)
    priors = {}

    def prior(prompt: str) -> Tensor:
        if prompt not in priors:
            silent = model.silent_prefix([prompt])
            priors[prompt] = model.score_answers(silent, labels)[0]
        return priors[prompt]

    def scores_of(prefix: Tensor, prompts: list[str]) -> Tensor:
        parts = [model.score_answers(part, labels) for part in prefix.split(n_prefix)]
        scores = torch.cat(parts)
        if normalize == "token":
            return scores / n_token
        if normalize == "prior":
            return scores - torch.stack([prior(prompt) for prompt in prompts])
        return scores

    return scores_of


def _ranking(labels: Sequence[str], scores: list[float]) -> list[tuple[str, float]]:
    """Return labels with their scores, the best first."""
    return sorted(zip(labels, scores), key=lambda item: item[1], reverse=True)
