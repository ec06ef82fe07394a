"""pengi push FOLDER owner/name --license ID

Shows what would be uploaded to the Hugging Face hub, and with --yes uploads it.
"""

import argparse
import re
from pathlib import Path


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    command.add_argument("folder", help="folder of a model, not of a run")
    command.add_argument("repository", metavar="owner/name")
    command.add_argument(
        "--license",
        required=True,
        help="licence of the weights as the hub names it: apache-2.0, cc-by-4.0, other",
    )
    command.add_argument(
        "--language", nargs="+", default=["en"], help="language of the answers (en)"
    )
    command.add_argument(
        "--datasets",
        nargs="+",
        help="what the model was trained on, if its folder does not say so",
    )
    command.add_argument(
        "--scores",
        nargs="+",
        default=[],
        metavar="TABLE.json",
        help="tables of scores of this model, of a benchmark or a training; the "
        "test_scores.json of the training beside the folder is taken by default",
    )
    command.add_argument(
        "--private", action="store_true", help="only you may see the repository"
    )
    command.add_argument(
        "--yes", action="store_true", help="upload; else it is only shown"
    )


def run(args: argparse.Namespace) -> int:
    """Publish a model's folder on the Hugging Face hub, with a model card."""
    from pengi_plugin.pretrained.card import CARD_FILE, datasets_of, read_card
    from pengi_plugin.publishing.card import Facts, publishable_card
    from pengi_plugin.publishing.push import files_to_push, left_out, upload
    from pengi_plugin.publishing.scores import scores_of

    if not re.fullmatch(r"[\w.-]+/[\w.-]+", args.repository):
        raise ValueError(f"Give the repository as owner/name; got {args.repository!r}.")
    files = files_to_push(args.folder)
    lines, remark = scores_of(args.folder, args.scores)
    facts = Facts(
        args.repository,
        args.license,
        args.language,
        args.datasets or datasets_of(Path(args.folder)),
        lines,
    )
    card, remarks = publishable_card(read_card(args.folder), facts)
    visible = "private" if args.private else "public, if it is new"
    print(f"To {args.repository} ({visible}):")
    sizes = {CARD_FILE: len(card.encode("utf-8"))}
    sizes |= {name: path.stat().st_size for name, path in files.items()}
    for name, size in sizes.items():
        print(f"  {name}\t{size:,} bytes")
    for name in left_out(args.folder, files):
        print(f"  {name}\tis left out: no part of the model")
    if remark:
        print(f"No scores: {remark}")
    for line in remarks:
        print(f"{CARD_FILE}: {line}")
    if not args.yes:
        print(f"\n{CARD_FILE}:\n\n{card}\nNothing was uploaded; give --yes to do so.")
        return 0
    print(upload(files, card, args.repository, args.private))
    return 0
