"""The command line: words in, calls of the package, results on standard output.

pengi prepare CORPUS DATA_FOLDER MANIFEST_FOLDER
pengi convert CHECKPOINT.pth OUTPUT_FOLDER
pengi export RUN_FOLDER OUTPUT_FOLDER
pengi ask MODEL PROMPT FILE...
pengi describe MODEL FILE...
pengi classify MODEL --labels LABEL,LABEL,... FILE...
"""

import argparse
import glob
import importlib
import json
import pkgutil
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tqdm import tqdm

#: Files that are taken from a folder.
AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".opus", ".aiff", ".aif", ".au")

#: Errors that say what is wrong with a file, a folder or an argument.
USER_ERRORS = (OSError, ValueError, RuntimeError)


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Arguments
    ---------
    arguments : list of str
        Words behind ``pengi``; those of the command line if None.

    Returns
    -------
    status : int
        0; 1 if some files could not be read; 2 if nothing could be done.
    """
    given = make_parser().parse_args(arguments)
    try:
        return given.run(given)
    except USER_ERRORS as error:
        print(f"pengi {given.command}: {error}", file=sys.stderr)
        return 2


def prepare(given) -> int:
    """Write the manifests of a corpus."""
    module = importlib.import_module(f"pengi_plugin.corpora.{given.corpus}")
    function = getattr(module, f"prepare_{given.corpus}")
    function(given.data_folder, given.manifest_folder)
    return 0


def convert(given) -> int:
    """Turn a released checkpoint into a model's folder."""
    from pengi_plugin.convert import convert

    options = {
        "lm_tokenizer": given.lm_tokenizer,
        "text_tokenizer": given.text_tokenizer,
    }
    options = {name: value for name, value in options.items() if value is not None}
    convert(given.checkpoint, given.output_folder, **options)
    print(given.output_folder)
    return 0


def export(given) -> int:
    """Turn a training run into a model's folder."""
    from pengi_plugin.export import export_run

    export_run(given.run_folder, given.output_folder)
    print(given.output_folder)
    return 0


def ask(given) -> int:
    """Answer one prompt about each file, in batches."""
    model = load_model(given)
    files = find_files(given.files)
    search = {name: getattr(given, name) for name in SEARCH}
    search = {name: value for name, value in search.items() if value is not None}
    if given.all_windows:

        def answer_windows(path):
            options = {"window": "all", "batch_size": given.batch_size, **search}
            return model.generate_file(path, given.prompt, **options)

        return report(given, files, each(answer_windows, files), window_rows)
    answers = model.answer_files(files, given.prompt, given.batch_size, **search)
    return report(given, files, outcomes(answers), answer_rows)


def describe(given) -> int:
    """Join the answers to several prompts about each file, in batches."""
    model = load_model(given)
    files = find_files(given.files)
    descriptions = model.describe_files(files, given.batch_size)
    return report(given, files, outcomes(descriptions), answer_rows)


def classify(given) -> int:
    """Name the most fitting of some labels for each file; with --json, rank all."""
    model = load_model(given)
    files = find_files(given.files)
    labels = read_labels(given.labels)
    rankings = model.classify_files(
        files, labels, given.prompt, given.method, given.batch_size
    )
    n_shown = len(labels) if given.json else 1
    return report(
        given, files, outcomes(rankings), lambda ranking: label_rows(ranking[:n_shown])
    )


def read_labels(words: str) -> list[str]:
    """Return labels separated by commas, or the lines of a file.

    Example
    -------
    >>> read_labels("dog, rain")
    ['dog', 'rain']
    """
    is_file = Path(words).is_file()
    found = Path(words).read_text("utf-8").splitlines() if is_file else words.split(",")
    return [label.strip() for label in found if label.strip()]


def load_model(given):
    """Load the model of a folder or hub name to a device."""
    from pengi_plugin.inference import AudioLanguageModel

    run_opts = {"device": given.device} if given.device else None
    return AudioLanguageModel.from_hparams(source=given.model, run_opts=run_opts)


def find_files(words: Iterable[str]) -> list[str]:
    """Return files in order: a folder stands for its audio files, a pattern for its.

    A word that is neither stays, and is reported as a file that is not there.

    Raises
    ------
    ValueError
        If a folder holds no audio file.
    """
    files = []
    for word in words:
        path = Path(word).expanduser()
        if path.is_dir():
            found = sorted(
                str(file)
                for file in path.rglob("*")
                if file.suffix.lower() in AUDIO_SUFFIXES
            )
            if not found:
                raise ValueError(
                    f"{word} holds no audio files ({', '.join(AUDIO_SUFFIXES)})."
                )
        elif path.exists():
            found = [str(path)]
        else:
            found = sorted(glob.glob(str(path), recursive=True)) or [word]
        files += found
    return files


def each(function: Callable, files: Iterable[str]) -> Iterator[tuple]:
    """Yield (result, None) or (None, error) of a function for each file."""
    for file in files:
        try:
            yield function(file), None
        except USER_ERRORS as error:
            yield None, error


def outcomes(answers: Iterable) -> Iterator[tuple]:
    """Yield (answer, None) or (None, error) of each ``FileAnswer``."""
    for item in answers:
        yield item.answer, item.error


def report(given, files: list[str], results: Iterable[tuple], rows: Callable) -> int:
    """Print results as they come, in order, and in the end the files at fault.

    Arguments
    ---------
    given : argparse.Namespace
        Whether ``json`` is asked for.
    files : list of str
        What the results are about.
    results : iterable of (object, Exception)
        A result or an error for each file.
    rows : callable
        A result -> dicts; each becomes a line of its values.
    """
    errors = {}
    objects = []
    progress = tqdm(results, total=len(files), unit="file", file=sys.stderr)
    for file, (result, error) in zip(files, progress, strict=True):
        if error is not None:
            errors[file] = error
            objects.append({"file": file, "error": str(error)})
            continue
        lines = [{"file": file} | row for row in rows(result)]
        objects += lines
        if not given.json:
            for line in lines:
                fields = (" ".join(str(field).split()) for field in line.values())
                progress.clear()
                print("\t".join(fields), flush=True)
    if given.json:
        print(json.dumps(objects, indent=2, ensure_ascii=False))
    for file, error in errors.items():
        print(f"pengi {given.command}: {file}: {error}", file=sys.stderr)
    return 1 if errors else 0


def answer_rows(answer: str) -> list[dict]:
    """Return the row of one answer."""
    return [{"answer": answer}]


def window_rows(windows: list[tuple[float, float, str]]) -> list[dict]:
    """Return a row per window, times in seconds."""
    return [
        {"start": round(start, 3), "end": round(end, 3), "answer": answer}
        for start, end, answer in windows
    ]


def label_rows(ranking: list[tuple[str, float]]) -> list[dict]:
    """Return a row per label."""
    return [{"label": label, "score": round(score, 6)} for label, score in ranking]


#: Options of ``ask`` that are handed on to the search: (type, help).
SEARCH = {
    "beam_size": (int, "hypotheses kept at a time; 1 is greedy"),
    "max_new_tokens": (int, "longest answer, in tokens"),
    "temperature": (float, "draw the answer at random, at this temperature"),
    "top_k": (int, "draw among the k most likely tokens"),
    "top_p": (float, "draw among the most likely tokens that have this share"),
    "seed": (int, "what is drawn follows from this number"),
}


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="pengi", description="Pengi: an audio language model."
    )
    commands = parser.add_subparsers(dest="command", required=True)

    def add(run: Callable, *words: str) -> argparse.ArgumentParser:
        name, text = run.__name__, run.__doc__.splitlines()[0]
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        for word in words:
            command.add_argument(word)
        return command

    command = add(prepare)
    command.add_argument("corpus", choices=corpora(), metavar="corpus")
    command.add_argument("data_folder")
    command.add_argument("manifest_folder")
    command.epilog = f"corpora: {', '.join(corpora())}"

    command = add(convert, "checkpoint", "output_folder")
    command.add_argument("--lm-tokenizer", help="folder of GPT-2's; else from the hub")
    command.add_argument("--text-tokenizer", help="folder of CLIP's; else from the hub")

    add(export, "run_folder", "output_folder")

    command = add_files(add(ask, "model", "prompt"))
    command.add_argument(
        "--all-windows",
        action="store_true",
        help="answer for each window of a long recording, with its times in seconds",
    )
    for name, (kind, text) in SEARCH.items():
        command.add_argument(f"--{name.replace('_', '-')}", type=kind, help=text)

    add_files(add(describe, "model"))

    command = add_files(add(classify, "model"))
    command.add_argument(
        "--labels", required=True, help="separated by commas, or a file of lines"
    )
    command.add_argument("--prompt", default="this is a sound of")
    command.add_argument(
        "--method", choices=("similarity", "likelihood"), default="similarity"
    )
    return parser


def add_files(command: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add what all commands about audio files take."""
    command.add_argument("files", nargs="+", help="files, folders or patterns")
    command.add_argument(
        "--batch-size", type=int, default=8, help="clips that are heard at a time"
    )
    command.add_argument("--json", action="store_true", help="print one JSON list")
    command.add_argument(
        "--device", help="such as cpu or cuda:1; else the best there is"
    )
    return command


def corpora() -> list[str]:
    """Return the names of the corpora that can be prepared."""
    package = importlib.import_module("pengi_plugin.corpora")
    folder = Path(package.__path__[0])
    names = [module.name for module in pkgutil.iter_modules(package.__path__)]
    return [
        name
        for name in sorted(names)
        if f"def prepare_{name}(" in (folder / f"{name}.py").read_text(encoding="utf-8")
    ]


if __name__ == "__main__":
    sys.exit(main())
