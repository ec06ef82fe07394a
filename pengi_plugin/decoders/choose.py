"""A model's searcher and the options of one call in, the searcher for this call out."""

from torch import nn

from pengi_plugin.decoders.beam import PrefixBeamSearcher
from pengi_plugin.decoders.options import OF_THE_MODEL, SearchOptions
from pengi_plugin.decoders.sampling import PrefixSampler


def choose_searcher(searcher: nn.Module, **options) -> nn.Module:
    """Return the searcher that has the options of one call.

    Without options it is ``searcher`` itself. Options that its class has change a
    copy of it. Other options choose another class: those of ``PrefixBeamSearcher``
    (``beam_size``) a beam search, those of ``PrefixSampler`` (``temperature``,
    ``top_k``, ``top_p``, ``seed``) sampling; options that both classes have, such as
    ``min_new_tokens``, are kept.

    Arguments
    ---------
    searcher : torch.nn.Module
        The searcher of the model's YAML.
    **options : dict
        Options and their values.

    Returns
    -------
    searcher : torch.nn.Module

    Raises
    ------
    ValueError
        If no search has all of the options (``beam_size`` together with
        ``temperature``), a value cannot be used, or another class would leave out
        the scorers of ``searcher``.

    Example
    -------
    >>> from pengi_plugin.decoders.greedy import PrefixGreedySearcher
    >>> from pengi_plugin.lobes.prefix_lm import PrefixLM
    >>> lm = PrefixLM(config={"model_type": "gpt2", "n_layer": 1, "n_head": 2,
    ...     "n_embd": 8, "vocab_size": 11})
    >>> searcher = PrefixGreedySearcher(lm, eos_index=0)
    >>> for options in {}, {"max_new_tokens": 3}, {"beam_size": 4}, {"top_k": 2}:
    ...     print(type(choose_searcher(searcher, **options)).__name__)
    PrefixGreedySearcher
    PrefixGreedySearcher
    PrefixBeamSearcher
    PrefixSampler
    """
    if not options:
        return searcher
    if not isinstance(searcher, SearchOptions):
        raise ValueError(
            f"{type(searcher).__name__} takes no options, got {', '.join(options)}; "
            "let it inherit pengi_plugin.decoders.options.SearchOptions."
        )
    classes = dict.fromkeys((type(searcher), PrefixBeamSearcher, PrefixSampler))
    for searcher_class in classes:
        if options.keys() <= set(searcher_class.option_names()):
            return as_searcher(searcher_class, searcher).with_options(**options)
    lists = [f"{c.__name__} has {', '.join(c.option_names())}" for c in classes]
    given = ", ".join(f"{name}={value!r}" for name, value in options.items())
    raise ValueError(f"No search has the options {given} together. {'; '.join(lists)}.")


def as_searcher(searcher_class: type[SearchOptions], searcher: nn.Module) -> nn.Module:
    """Return ``searcher`` if it has the class; else a new searcher of the class.

    The new one shares the language model, and has the options of ``searcher`` that
    its class has too; the others have their default values.

    Raises
    ------
    ValueError
        If ``searcher`` has scorers, which the class does not know.
    """
    if isinstance(searcher, searcher_class):
        return searcher
    takes_scorer = "scorer" in searcher_class.option_names()
    if getattr(searcher, "scorer", None) is not None and not takes_scorer:
        raise ValueError(
            f"The model's {type(searcher).__name__} has scorers, which "
            f"{searcher_class.__name__} would leave out. Give options of "
            f"{type(searcher).__name__} alone "
            f"({', '.join(searcher.option_names())}), or set its scorer to None."
        )
    names = set(searcher_class.option_names()) & set(searcher.option_names())
    shared = {name: getattr(searcher, name) for name in (*OF_THE_MODEL, *names)}
    return searcher_class(**shared)
