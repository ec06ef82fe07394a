"""A model in, a page of Gradio on which people try it out.

Everything that the page needs is on this machine: system fonts, no analytics, no share
link, and a policy with which browsers refuse to ask any other host.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from pengi_plugin.demo.picture import draw
from pengi_plugin.demo.together import Together
from pengi_plugin.demo.visit import (
    CHOICES,
    METHODS,
    WINDOWS,
    make_question,
    needs_words,
    show_answer,
    show_error,
    show_labels,
)
from pengi_plugin.inference.questions import Reply, answer_questions

MISSING = (
    "pengi demo needs gradio and matplotlib: pip install 'pengi-plugin[demo]', or "
    "pip install '.[demo]' in a clone."
)

#: Visitors who may wait; the next one is asked to come back.
MAX_WAITING = 64

#: What browsers may fetch: what the page's own host sends, and nothing else.
POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:"

#: What is said of a file that a request names by an address.
AT_AN_ADDRESS = "Upload the file: the page fetches nothing from an address."

STYLE = """
.gradio-container {max-width: 1100px !important}
.pengi-prompt {color: var(--body-text-color-subdued); font-size: .9em}
.pengi-answer {font-size: 1.5em; font-weight: 600; line-height: 1.3; margin: .1em 0}
.pengi-note {color: var(--body-text-color-subdued); font-size: .8em}
.pengi-error {border-left: 4px solid #dc2626; padding: .6em .9em; font-size: 1.05em}
.pengi-table {width: 100%; margin-top: .7em; font-size: .9em; border: 0 !important;
    border-collapse: collapse}
.pengi-table th {text-align: left; font-weight: 500}
.pengi-table th, .pengi-table td {padding: .2em .5em .2em 0 !important;
    border: 0 !important; border-top: 1px solid var(--border-color-primary) !important}
.pengi-table td:last-child {font-variant-numeric: tabular-nums}
.pengi-bar {display: grid; grid-template-columns: 25% 1fr 3.5em; gap: .6em;
    align-items: center; font-size: .9em; margin: .25em 0}
.pengi-bar i {background: var(--background-fill-secondary); border-radius: 4px}
.pengi-bar b {display: block; height: .9em; background: #4f46e5; border-radius: 4px}
.pengi-bar em {font-style: normal; font-variant-numeric: tabular-nums}
"""


class Limits(NamedTuple):
    """What a visitor may send, and how many visitors are answered together."""

    max_megabytes: float = 20
    max_seconds: float = 60
    batch_size: int = 8


def import_gradio():
    """Return the module ``gradio``; a ValueError names the extra that brings it."""
    try:
        import gradio
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ValueError(MISSING) from error
    return gradio


def make_page(model, limits: Limits, examples: Sequence[list[str]] = (), title=""):
    """Return the page.

    Arguments
    ---------
    model : AudioLanguageModel
        Model to query.
    limits : Limits
        What a visitor may send.
    examples : list of list of str
        Of ``make_examples``.
    title : str
        Name of the model, shown above.

    Returns
    -------
    page : gradio.Blocks

    Raises
    ------
    ValueError
        If Gradio or matplotlib is not installed; names the extra.
    """
    gr = import_gradio()
    page = gr.Blocks(
        analytics_enabled=False, title="Pengi", delete_cache=(600, 3600), mode="pengi"
    )
    with page:
        gr.Markdown(f"## Pengi{f': {title}' if title else ''}\nAsk about a sound.")
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                sound, task, words, labels, *others = add_inputs(gr, limits)
                ask = gr.Button("Ask", variant="primary", elem_id="ask")
            with gr.Column(scale=3, min_width=360):
                outputs = add_outputs(gr)
        if examples:
            gr.Examples(list(examples), [sound, task, words], cache_examples=False)
        gr.on(
            [ask.click, words.submit, labels.submit],
            answer_visitor(model, limits),
            [sound, task, words, labels, *others],
            outputs,
            concurrency_limit=2 * limits.batch_size,  # a batch, and who waits for one
            show_progress_on=outputs[:1],
            api_name="ask",
        )
    page.queue(max_size=MAX_WAITING)
    fetch_nothing(gr, page)
    return page


def add_inputs(gr, limits: Limits) -> list:
    """Add what a visitor fills in, in the order of ``make_question``."""
    sound = gr.Audio(
        sources=["upload", "microphone"],
        type="filepath",
        label=f"Sound (up to {limits.max_seconds:g} s, {limits.max_megabytes:g} MB)",
        elem_id="sound",
        buttons=[],
    )
    first = next(iter(CHOICES))
    task = gr.Dropdown(list(CHOICES), value=first, label="Task")
    words = gr.Textbox(
        label="Question",
        elem_id="words",
        visible=needs_words(first),
        placeholder="what is heard in the background?",
    )
    with gr.Accordion("Labels and windows", open=False, elem_id="more"):
        labels = gr.Textbox(
            label="Labels to choose from, separated by commas",
            elem_id="labels",
            placeholder="dog, rain, church bells",
        )
        choices = [("Scores", METHODS), ("Listen to", WINDOWS)]
        method, window = (
            gr.Radio(list(known), value=next(iter(known)), label=label)
            for label, known in choices
        )
    task.change(
        lambda choice: gr.update(visible=needs_words(choice)),
        task,
        words,
        queue=False,
        api_visibility="private",
    )
    return [sound, task, words, labels, method, window]


def fetch_nothing(gr, page) -> None:
    """Let the page take what was uploaded, and download nothing.

    For a request with an address in place of a file, Gradio would fetch it, of any
    size. Its components cannot refuse: it makes them anew for a visitor whose inputs
    it has changed, as by an example.
    """
    preprocess = page.preprocess_data

    async def preprocess_local(block_fn, inputs, *others):
        if names_address(inputs):
            raise gr.Error(AT_AN_ADDRESS)
        return await preprocess(block_fn, inputs, *others)

    page.preprocess_data = preprocess_local


def names_address(value) -> bool:
    """Tell whether there is a file at an address among the inputs of a request.

    Example
    -------
    >>> names_address([{"path": "https://example.com/a.wav"}, "captioning"])
    True
    >>> names_address([{"path": "uploaded/a.wav"}, "what is http://a ?"])
    False
    """
    if isinstance(value, dict):
        parts = value.values()
        return "://" in str(value.get("path")) or any(map(names_address, parts))
    return isinstance(value, list | tuple) and any(map(names_address, value))


def add_outputs(gr) -> list:
    """Add what a visitor sees: the answer, bars of labels and the picture."""
    return [
        gr.HTML(elem_id="answer", padding=False),
        gr.HTML(elem_id="bars", padding=False),
        gr.Image(
            show_label=False,
            elem_id="picture",
            format="png",
            buttons=[],
            interactive=False,
        ),
    ]


def answer_visitor(model, limits: Limits) -> Callable:
    """Return a function: what a visitor filled in -> what the page shows.

    Visitors who ask at the same time are answered in one batch. Gradio could make the
    batch too, but there an input that it refuses itself ends the whole batch.
    """
    ask = Together(
        lambda questions: answer_questions(model, questions, limits.batch_size),
        limits.batch_size,
    )

    def answer(*row):
        try:
            question = make_question(*row, limits.max_seconds)
        except ValueError as error:
            return show_error(error), "", None
        reply = ask(question)
        if not isinstance(reply, Reply):
            return show_error(reply, question), "", None
        windows = [(window.start, window.end) for window in reply.windows]
        try:
            picture = draw(model, model.load_audio(question.path).cpu(), windows)
        except Exception as error:  # said as the page says it
            return show_error(error, question), "", None
        return show_answer(question, reply), show_labels(question, reply), picture

    return answer


class LocalOnly:
    """ASGI middleware: tell browsers to ask no other host.

    Arguments
    ---------
    app : callable
        The application that answers.
    """

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        """Answer with the policy among the headers."""

        async def send_with_policy(message):
            if message["type"] == "http.response.start":
                policy = (b"content-security-policy", POLICY.encode())
                message = message | {"headers": [*message["headers"], policy]}
            await send(message)

        await self.app(scope, receive, send_with_policy)


def launch(page, limits: Limits, host: str, port: int | None) -> None:
    """Serve a page until the process is told to stop (SIGINT or SIGTERM).

    Arguments
    ---------
    page : gradio.Blocks
        Of ``make_page``.
    limits : Limits
        What a visitor may send.
    host : str
        Where it listens: 127.0.0.1 for this machine alone.
    port : int
        None: the first free one from 7860 on.

    Raises
    ------
    OSError
        If the port is taken.
    """
    gr = import_gradio()
    from fastapi.middleware import Middleware

    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono="monospace")
    _, url, _ = page.launch(
        quiet=True,
        prevent_thread_lock=True,
        server_name=host,
        server_port=port,
        share=False,
        ssr_mode=False,
        enable_monitoring=False,
        max_file_size=round(limits.max_megabytes * 1e6),
        max_threads=40 + 2 * limits.batch_size,  # who waits for a batch holds one
        footer_links=[],
        theme=theme,
        css=STYLE,
        app_kwargs={"middleware": [Middleware(LocalOnly)]},
    )
    print(f"The page is at {url} (Ctrl-C ends it).", flush=True)
    page.block_thread()
