"""Caption scores that need Java: METEOR, SPICE and the Penn Treebank tokenizer.

The Java programs and the code that calls them come with ``pycocoevalcap`` (the COCO
caption evaluation), an optional package. Checked with Java 17: the tokenizer and
METEOR; SPICE also needs Stanford CoreNLP 3.6.0, which that package downloads.
"""

import importlib.util
import shutil
from pathlib import Path

import numpy as np


class UnavailableError(RuntimeError):
    """A score cannot be computed on this machine; the message says what it needs."""


def find_java_captions() -> Path:
    """Return the folder of ``pycocoevalcap``.

    Raises
    ------
    UnavailableError
        If the package or Java is missing.
    """
    if shutil.which("java") is None:
        raise UnavailableError("needs Java; install a Java runtime (17 works)")
    package = importlib.util.find_spec("pycocoevalcap")
    if package is None:
        raise UnavailableError(
            "needs pycocoevalcap; pip install 'pengi-plugin[java_captions]'"
        )
    return Path(next(iter(package.submodule_search_locations)))


def ptb_tokenize(captions: list[list[str]]) -> list[list[str]]:
    """Tokenize captions as the Penn Treebank does, without punctuation.

    Arguments
    ---------
    captions : list of list of str
        Captions of each clip.

    Returns
    -------
    tokenized : list of list of str
        The same in lower case, with spaces between the tokens.

    Raises
    ------
    UnavailableError
        If the package or Java is missing, or its folder cannot be written.
    """
    folder = find_java_captions()
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    # The program skips blank lines, which would shift all later captions: an empty one
    # is sent as a full stop, which it removes.
    numbered = {
        number: [{"caption": " ".join(caption.split()) or "."} for caption in several]
        for number, several in enumerate(captions)
    }
    try:
        tokenized = PTBTokenizer().tokenize(numbered)
    except PermissionError as error:
        raise UnavailableError(
            f"the tokenizer must be able to write to {folder / 'tokenizer'}"
        ) from error
    return [tokenized[number] for number in range(len(captions))]


def meteor(candidates: list[str], references: list[list[str]]) -> tuple:
    """Return METEOR of the corpus and of each clip; captions are tokenized."""
    find_java_captions()
    from pycocoevalcap.meteor.meteor import Meteor

    corpus, clips = Meteor().compute_score(*_as_coco(candidates, references))
    return float(corpus), np.array(clips)


def spice(candidates: list[str], references: list[list[str]]) -> tuple:
    """Return SPICE of the corpus and of each clip; captions are tokenized."""
    library = find_java_captions() / "spice" / "lib"
    for name in ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar"):
        if not (library / name).is_file():
            raise UnavailableError(
                f"needs {name} in pycocoevalcap's spice/lib; "
                "python -m pycocoevalcap.spice.get_stanford_models downloads it"
            )
    from pycocoevalcap.spice.spice import Spice

    corpus, clips = Spice().compute_score(*_as_coco(candidates, references))
    return float(corpus), np.array([clip["All"]["f"] for clip in clips])


def _as_coco(candidates, references) -> tuple[dict, dict]:
    """Return references and candidates as the COCO code takes them: by index."""
    return dict(enumerate(references)), {
        number: [caption] for number, caption in enumerate(candidates)
    }
