"""pengi convert CHECKPOINT.pth OUTPUT_FOLDER"""

import argparse


def run(given) -> int:
    """Turn a released checkpoint into a model's folder."""
    from pengi_plugin.conversion.convert import convert

    options = {
        "lm_tokenizer": given.lm_tokenizer,
        "text_tokenizer": given.text_tokenizer,
    }
    options = {name: value for name, value in options.items() if value is not None}
    convert(given.checkpoint, given.output_folder, **options)
    print(given.output_folder)
    return 0


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    command.add_argument("checkpoint")
    command.add_argument("output_folder")
    command.add_argument("--lm-tokenizer", help="folder of GPT-2's; else from the hub")
    command.add_argument("--text-tokenizer", help="folder of CLIP's; else from the hub")
