"""Stand-ins that several tests share."""


class Letters:
    """A tokenizer of lower-case letters: a is 1, ..., z is 26.

    Arguments
    ---------
    frame : tuple of (int, int)
        Ids of the start and the end that ``add_special_tokens`` adds.
    """

    def __init__(self, frame=(30, 31)):
        self.frame = frame

    def encode_as_ids(self, text, add_special_tokens=False):
        """Return one id for each letter."""
        ids = [ord(letter) - ord("a") + 1 for letter in text]
        return [self.frame[0], *ids, self.frame[1]] if add_special_tokens else ids
