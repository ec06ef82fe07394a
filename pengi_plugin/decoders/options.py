"""Options of a searcher: a searcher and changed options in, a changed copy out."""

import inspect

#: Constructor arguments that belong to the model and not to the search.
OF_THE_MODEL = ("lm", "eos_index")


class SearchOptions:
    """Give a searcher the method ``with_options``.

    The options of a searcher are the arguments of its constructor, except ``lm`` and
    ``eos_index``. A class that inherits this must keep each argument as an attribute
    of the same name, and its constructor must refuse values that it cannot use.

    Example
    -------
    >>> from pengi_plugin.decoders.beam import PrefixBeamSearcher
    >>> from pengi_plugin.lobes.prefix_lm import PrefixLM
    >>> lm = PrefixLM(config={"model_type": "gpt2", "n_layer": 1, "n_head": 2,
    ...     "n_embd": 8, "vocab_size": 11})
    >>> searcher = PrefixBeamSearcher(lm, eos_index=0, min_new_tokens=2)
    >>> shorter = searcher.with_options(max_new_tokens=4)
    >>> shorter.max_new_tokens, shorter.min_new_tokens, searcher.max_new_tokens
    (4, 2, 30)
    >>> shorter.lm is searcher.lm
    True
    """

    @classmethod
    def option_names(cls) -> list[str]:
        """Return the names of the options."""
        names = inspect.signature(cls).parameters
        return [name for name in names if name not in OF_THE_MODEL]

    def with_options(self, **changes):
        """Return a copy of this searcher with other values of some options.

        The copy has this class and all other options. It shares the language model
        and the scorers, so that no weights are copied, and nothing else: each of the
        two searches has its own state.

        Arguments
        ---------
        **changes : dict
            Options and their new values.

        Returns
        -------
        searcher : type(self)

        Raises
        ------
        ValueError
            If there is no such option, or if the constructor refuses the values,
            alone or together with the options that stay.
        """
        names = self.option_names()
        unknown = [name for name in changes if name not in names]
        if unknown:
            raise ValueError(
                f"{type(self).__name__} has no option {', '.join(unknown)}; its "
                f"options are {', '.join(names)}."
            )
        kept = {name: getattr(self, name) for name in (*OF_THE_MODEL, *names)}
        return type(self)(**kept | changes)
