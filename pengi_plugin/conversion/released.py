"""The released Pengi checkpoints as tables: their names, shapes, and our names.

The authors of Pengi (Deshmukh et al., NeurIPS 2023, arXiv 2305.11834) published
``base.pth`` and ``base_no_text_enc.pth``. Read the tables beside figure 1 of the
paper: audio encoder a, text encoder g, mappers m1 and m2, language model f.
"""

#: Released name -> our ``part.name``: regular expressions, applied in order.
RENAMES = (
    (r"^audio_encoder\.base\.htsat\.", "audio_encoder.encoder."),
    (r"^audio_encoder\.projection\.", "audio_projection."),
    (r"^caption_encoder\.base\.", "text_encoder.model.text_model."),
    (
        r"^caption_encoder\.clip_text_projection\.",
        "text_encoder.model.text_projection.",
    ),
    (r"^caption_encoder\.projection\.", "text_projection."),
    (r"^caption_decoder\.gpt\.", "lm.model."),
    (r"^caption_decoder\.(audio|text)_project\.", r"\1_mapper."),
    (r"_mapper\.prefix_const$", "_mapper.transformer.prefix_const"),
    (r"(_mapper\..*)\.attn\.to_queries\.", r"\1.attention.query."),
    (r"(_mapper\..*)\.attn\.to_keys_values\.", r"\1.attention.key_value."),
    (r"(_mapper\..*)\.attn\.project\.", r"\1.attention.output."),
    (r"(_mapper\..*)\.mlp\.fc1\.", r"\1.mlp.0."),
    (r"(_mapper\..*)\.mlp\.fc2\.", r"\1.mlp.2."),
)
#: Applied after them to the checkpoint without text encoder, whose m2 has no
#: linear layer: it is a ``SequencePrefixMapper``.
RENAMES_WITHOUT_TEXT_ENCODER = ((r"^text_mapper\.transformer\.", "text_mapper."),)

#: Released names of what is in the file but not on Pengi's path: class heads of
#: the audio encoder, and the output layer, which is tied to the embeddings.
UNUSED = (
    "audio_encoder.base.htsat.tscam_conv.weight",
    "audio_encoder.base.htsat.tscam_conv.bias",
    "audio_encoder.base.htsat.head.weight",
    "audio_encoder.base.htsat.head.bias",
    "caption_decoder.gpt.lm_head.weight",
)
#: One matrix under two names.
TIED = (
    "caption_decoder.gpt.lm_head.weight",
    "caption_decoder.gpt.transformer.wte.weight",
)


def linear(name: str, d_out: str, d_in: str) -> dict[str, str]:
    """Return the rows of a linear layer with bias.

    Example
    -------
    >>> linear("mlp.fc1", "4*d_model", "d_model")
    {'mlp.fc1.weight': '4*d_model d_model', 'mlp.fc1.bias': '4*d_model'}
    """
    return {f"{name}.weight": f"{d_out} {d_in}", f"{name}.bias": d_out}


def transposed(name: str, d_in: str, d_out: str) -> dict[str, str]:
    """Return the rows of GPT-2's linear layer, whose weight is [in, out]."""
    return {f"{name}.weight": f"{d_in} {d_out}", f"{name}.bias": d_out}


def norm(name: str, width: str) -> dict[str, str]:
    """Return the rows of a layer norm."""
    return {f"{name}.weight": width, f"{name}.bias": width}


PROJECTION = {
    "linear2.weight": "d_embedding d_embedding",
    **norm("layer_norm", "d_embedding"),
}
MAPPER_LINEAR = linear("linear", "n_prefix*d_model", "d_embedding")
MAPPER_LAYER = {
    **norm("norm1", "d_model"),
    "attn.to_queries.weight": "d_model d_model",
    "attn.to_keys_values.weight": "2*d_model d_model",
    **linear("attn.project", "d_model", "d_model"),
    **norm("norm2", "d_model"),
    **linear("mlp.fc1", "2*d_model", "d_model"),
    **linear("mlp.fc2", "d_model", "2*d_model"),
}

#: Side of the image that HTSAT sees, in pixels.
SPEC_SIZE = 256

#: Prefix of released names -> rows of (rest of the name, shape). In a shape, ``*``
#: multiplies and a word is a size that the file tells. ``{stage}``, ``{block}`` and
#: ``{layer}`` count from 0 to the highest number in the file; at stage s, ``scale``
#: is 2**s, and ``top`` is the scale of the last stage.
LAYOUT = {
    # a: HTSAT and its projection
    "audio_encoder.base.htsat.": {
        **norm("bn0", "n_mels"),
        "bn0.running_mean": "n_mels",
        "bn0.running_var": "n_mels",
        "patch_embed.proj.weight": "dim 1 patch patch",
        "patch_embed.proj.bias": "dim",
        **norm("patch_embed.norm", "dim"),
        **norm("norm", "top*dim"),
        "tscam_conv.weight": "n_class top*dim 2 3",
        "tscam_conv.bias": "n_class",
        **linear("head", "n_class", "n_class"),
    },
    "audio_encoder.base.htsat.layers.{stage}.blocks.{block}.": {
        **norm("norm1", "scale*dim"),
        **linear("attn.qkv", "3*scale*dim", "scale*dim"),
        "attn.relative_position_bias_table": "n_offset scale*n_head",
        **linear("attn.proj", "scale*dim", "scale*dim"),
        **norm("norm2", "scale*dim"),
        **linear("mlp.fc1", "4*scale*dim", "scale*dim"),
        **linear("mlp.fc2", "scale*dim", "4*scale*dim"),
    },
    "audio_encoder.base.htsat.layers.{stage}.downsample.": {
        **norm("norm", "4*scale*dim"),
        "reduction.weight": "2*scale*dim 4*scale*dim",
    },
    "audio_encoder.projection.": {
        "linear1.weight": "d_embedding top*dim",
        **PROJECTION,
    },
    # m1
    "caption_decoder.audio_project.": {
        **MAPPER_LINEAR,
        "prefix_const": "n_prefix d_model",
    },
    "caption_decoder.audio_project.transformer.layers.{layer}.": MAPPER_LAYER,
    # m2
    "caption_decoder.text_project.": {"prefix_const": "n_prefix d_model"},
    "caption_decoder.text_project.transformer.layers.{layer}.": MAPPER_LAYER,
    # f: GPT-2
    "caption_decoder.gpt.": {
        "transformer.wte.weight": "vocab d_model",
        "transformer.wpe.weight": "n_position d_model",
        **norm("transformer.ln_f", "d_model"),
        "lm_head.weight": "vocab d_model",
    },
    "caption_decoder.gpt.transformer.h.{layer}.": {
        **norm("ln_1", "d_model"),
        **transposed("attn.c_attn", "d_model", "3*d_model"),
        **transposed("attn.c_proj", "d_model", "d_model"),
        **norm("ln_2", "d_model"),
        **transposed("mlp.c_fc", "d_model", "4*d_model"),
        **transposed("mlp.c_proj", "4*d_model", "d_model"),
    },
}

#: What ``base.pth`` holds besides: g, CLIP's text tower, its projection, and the
#: linear layer of m2.
LAYOUT_OF_TEXT_ENCODER = {
    "caption_encoder.": {
        "base.embeddings.token_embedding.weight": "text_vocab d_clip",
        "base.embeddings.position_embedding.weight": "n_text_position d_clip",
        **norm("base.final_layer_norm", "d_clip"),
        "clip_text_projection.weight": "d_text d_clip",
    },
    "caption_encoder.base.encoder.layers.{layer}.": {
        **norm("layer_norm1", "d_clip"),
        **linear("self_attn.q_proj", "d_clip", "d_clip"),
        **linear("self_attn.k_proj", "d_clip", "d_clip"),
        **linear("self_attn.v_proj", "d_clip", "d_clip"),
        **linear("self_attn.out_proj", "d_clip", "d_clip"),
        **norm("layer_norm2", "d_clip"),
        **linear("mlp.fc1", "clip_hidden", "d_clip"),
        **linear("mlp.fc2", "d_clip", "clip_hidden"),
    },
    "caption_encoder.projection.": {
        "linear1.weight": "d_embedding d_text",
        **PROJECTION,
    },
    "caption_decoder.text_project.": MAPPER_LINEAR,
}

#: Present or absent, without learned value: they follow from the configuration, or
#: older versions of transformers wrote them.
DERIVED = {
    "audio_encoder.base.htsat.": {
        "bn0.num_batches_tracked": "",
        "spectrogram_extractor.stft.conv_real.weight": "513 1 1024",
        "spectrogram_extractor.stft.conv_imag.weight": "513 1 1024",
        "logmel_extractor.melW": "513 n_mels",
    },
    "audio_encoder.base.htsat.layers.{stage}.blocks.{block}.": {
        "attn.relative_position_index": "n_token n_token",
        "attn_mask": "n_window_scale n_token n_token",
    },
    "caption_decoder.gpt.transformer.h.{layer}.": {
        "attn.bias": "1 1 n_position n_position",
        "attn.masked_bias": "",
    },
}
DERIVED_OF_TEXT_ENCODER = {
    "caption_encoder.": {"base.embeddings.position_ids": "1 n_text_position"},
}

#: In every file of the authors. Where *all* are absent, zeros are used.
ZERO_IF_ABSENT = r"caption_decoder\.gpt\.transformer\.h\.\d+\.attn\.c_attn\.bias"

#: Names that other files need for a prefix above.
AUDIO_BLOCK = "audio_encoder.base.htsat.layers.{stage}.blocks.{block}."
AUDIO_DOWNSAMPLE = "audio_encoder.base.htsat.layers.{stage}.downsample."
LAYER_COUNTS = {
    "n_audio_layer": "caption_decoder.audio_project.transformer.layers.{layer}.",
    "n_text_layer": "caption_decoder.text_project.transformer.layers.{layer}.",
    "n_lm_layer": "caption_decoder.gpt.transformer.h.{layer}.",
    "n_clip_layer": "caption_encoder.base.encoder.layers.{layer}.",
}
