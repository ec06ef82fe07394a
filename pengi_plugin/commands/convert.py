"""pengi convert CHECKPOINT.pth OUTPUT_FOLDER

Turns a released checkpoint into a model's folder and prints the folder's path.
"""

import argparse


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    command.add_argument("checkpoint", help="released file, such as base.pth")
    command.add_argument("output_folder")
    command.add_argument(
        "--lm-tokenizer", help="folder of GPT-2's tokenizer; else from the hub"
    )
    command.add_argument(
        "--text-tokenizer", help="folder of CLIP's tokenizer; else from the hub"
    )
    command.add_argument(
        "--int8", action="store_true", help="weights of 8 bits, to answer on CPUs"
    )


def run(args: argparse.Namespace) -> int:
    """Turn a released checkpoint into a model's folder."""
    from pengi_plugin.conversion.convert import convert

    tokenizers = {
        "lm_tokenizer": args.lm_tokenizer,
        "text_tokenizer": args.text_tokenizer,
    }
    tokenizers = {name: value for name, value in tokenizers.items() if value}
    convert(args.checkpoint, args.output_folder, **tokenizers, int8=args.int8)
    print(args.output_folder)
    return 0
