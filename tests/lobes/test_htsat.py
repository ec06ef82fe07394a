import pytest
import torch

from pengi_plugin.lobes.htsat import HTSAT, Block, ConvStem, PatchMerging, shift_mask

SMALL = {"n_mels": 16, "spec_size": 32, "dim": 8, "window": 4}


def small_htsat(**changes):
    sizes = {**SMALL, "depths": [2, 1], "heads": [2, 4], **changes}
    torch.manual_seed(0)
    return HTSAT(**sizes)


def test_a_spectrogram_is_cut_in_time_and_stacked_to_a_square():
    encoder = small_htsat()
    frame, mel = torch.arange(64)[:, None], torch.arange(16)[None]
    image = encoder.to_image((100.0 * frame + mel)[None])[0]
    assert image.shape == (32, 32)
    for row, column in ((0, 0), (3, 5), (15, 31), (16, 0), (20, 7), (31, 31)):
        piece, band = divmod(row, 16)
        assert image[row, column] == 100 * (32 * piece + column) + band


def test_a_shorter_spectrogram_is_stretched_so_that_its_ends_meet_the_edges():
    encoder = small_htsat()
    ramp = torch.linspace(0, 1, 50)[:, None].expand(50, 16)
    image = encoder.to_image(ramp[None])[0]
    stretched = torch.cat([image[0], image[16]])  # band 0 of both pieces
    assert stretched[0] == 0
    torch.testing.assert_close(stretched[-1], torch.tensor(1.0))
    inner = slice(3, -3)  # where no tap lies beyond an edge
    expected = torch.linspace(0, 1, 64)
    torch.testing.assert_close(stretched[inner], expected[inner], atol=2e-3, rtol=0)


@pytest.mark.parametrize("grid", [(8, 8), (12, 8)])
def test_shifted_windows_hide_exactly_what_only_wrapped_around(grid):
    """Written anew: a pair is seen if neither axis wraps between the two tokens."""
    window, shift = 4, 2
    mask = shift_mask(grid, window, shift)
    index = 0
    for top in range(0, grid[0], window):
        for left in range(0, grid[1], window):
            tokens = [
                ((top + i + shift) // grid[0], (left + j + shift) // grid[1])
                for i in range(window)
                for j in range(window)
            ]
            seen = torch.tensor([[a == b for b in tokens] for a in tokens])
            assert torch.equal(mask[index] == 0, seen)
            index += 1
    assert index == len(mask)
    assert set(mask.unique().tolist()) == {0.0, -100.0}


def test_patch_merging_joins_four_neighbours_column_by_column():
    merging = PatchMerging(dim=1)
    merging.norm = torch.nn.Identity()
    merging.reduction = torch.nn.Identity()
    x = torch.tensor([[0.0, 1.0], [2.0, 3.0]])[None, :, :, None]
    assert merging(x).flatten().tolist() == [0.0, 2.0, 1.0, 3.0]


def test_drop_path_skips_a_branch_per_clip_and_keeps_its_expected_value():
    torch.manual_seed(0)
    block = Block(4, 2.0, 0.5, n_head=1, grid=(2, 2), window=2, shift=0)
    block.mlp = torch.nn.Identity()
    block.norm2 = torch.nn.Identity()
    block.attn = torch.nn.Identity()
    block.norm1 = torch.nn.Identity()
    x = torch.ones(200, 2, 2, 4)
    clips = block(x).flatten(1)
    assert torch.equal(clips.amin(1), clips.amax(1))
    # skipped twice, once (1 + 2 branches), never (3 + 2 * 3)
    assert set(clips[:, 0].tolist()) == {1.0, 3.0, 9.0}
    assert block.eval()(x).unique().tolist() == [4.0]


def test_drop_path_grows_linearly_from_zero_to_its_last_value():
    encoder = small_htsat(drop_path=0.2)
    rates = [block.drop_path for stage in encoder.layers for block in stage.blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2])


def test_every_parameter_gets_a_gradient():
    encoder = small_htsat()
    encoder(torch.randn(2, 60, 16)).square().sum().backward()
    without = [n for n, p in encoder.named_parameters() if p.grad is None]
    assert without == []


def test_evaluation_is_deterministic_and_does_not_mix_clips():
    encoder = small_htsat(drop_path=0.5).eval()
    mel = torch.randn(3, 64, 16)
    with torch.no_grad():
        together = encoder(mel)
        assert torch.equal(together, encoder(mel))
        torch.testing.assert_close(together[1:2], encoder(mel[1:2]))


def test_the_whole_encoder_is_one_graph_for_torch_compile():
    encoder = small_htsat()
    compiled = torch.compile(encoder, backend="eager", fullgraph=True)
    mel = torch.randn(2, 60, 16)
    encoder.eval()
    torch.testing.assert_close(compiled(mel), encoder(mel))
    encoder.train()
    assert compiled(mel).shape == (2, 16)


def test_bfloat16_autocast_stays_close_to_float32():
    encoder = small_htsat().eval()
    mel = torch.randn(4, 64, 16) * 3
    with torch.no_grad():
        exact = encoder(mel)
        with torch.autocast("cpu", torch.bfloat16):
            rough = encoder(mel)
    assert torch.nn.functional.cosine_similarity(exact, rough.float()).min() > 0.999


def test_it_learns_from_scratch_where_the_sound_is():
    """Which of four mel regions is loud, in noise, within 200 steps."""
    torch.manual_seed(0)
    encoder = small_htsat(drop_path=0.0, absolute_position=True)
    head = torch.nn.Linear(16, 4)
    parameters = [*encoder.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-2)
    right = []
    for _ in range(200):
        label = torch.randint(4, (16,))
        loud = torch.arange(16)[None, None] // 4 == label[:, None, None]
        mel = torch.randn(16, 64, 16) * 5 - 60 + 10 * loud
        logits = head(encoder(mel))
        loss = torch.nn.functional.cross_entropy(logits, label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        right.append((logits.argmax(1) == label).float().mean())
    assert torch.stack(right[-10:]).mean() > 0.9


def test_absolute_position_adds_its_own_vector_to_every_patch():
    encoder = small_htsat(absolute_position=True).eval()
    mel = torch.randn(1, 64, 16)
    tokens = []
    encoder.layers[0].register_forward_pre_hook(lambda _, x: tokens.append(x[0]))
    with torch.no_grad():
        encoder(mel)
        encoder.absolute_pos_embed[2, 5] += 3
        encoder(mel)
    moved = (tokens[1] - tokens[0])[0]
    torch.testing.assert_close(moved[2, 5], torch.full((8,), 3.0))
    assert moved.abs().sum() == pytest.approx(24, abs=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depths": [2]}, r"depths=\[2\], heads=\[2, 4\]"),
        ({"n_mels": 20}, r"n_mels must divide spec_size.*n_mels=20, spec_size=32"),
        ({"patch_size": 5}, r"\(here 10\).*spec_size=32, patch_size=5, 2 stages"),
        ({"window": 3}, r"window=3, side=8 in stage 0"),
        ({"heads": [3, 4]}, r"heads=3, width=8"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_with_their_values(changes, message):
    with pytest.raises(ValueError, match=message):
        small_htsat(**changes)


@pytest.mark.parametrize("shape", [(1, 65, 16), (1, 64, 20), (1, 1, 64, 16)])
def test_a_spectrogram_of_another_size_is_refused_with_its_shape(shape):
    message = r"16 mel bands and at most 64 frames; got shape \[" + ", ".join(
        map(str, shape)
    )
    with pytest.raises(ValueError, match=message):
        small_htsat()(torch.zeros(shape))


def test_the_conv_stem_is_torchs_convolutions_and_batch_norms():
    torch.manual_seed(0)
    stem, layers = ConvStem(dim=8, patch_size=8), []
    for conv, norm in zip(stem.convs, stem.batch_norms, strict=True):
        torch_norm = torch.nn.BatchNorm2d(norm.weight.numel())
        torch.nn.init.normal_(norm.weight)
        torch_norm.load_state_dict(norm.state_dict(), strict=False)
        layers += [conv, torch_norm, torch.nn.GELU()]
    image = torch.randn(3, 32, 16)
    expected = torch.nn.Sequential(*layers)(image.unsqueeze(1)).permute(0, 2, 3, 1)
    expected = stem.norm(stem.proj(expected))
    assert expected.shape == (3, 4, 2, 8)
    torch.testing.assert_close(stem(image), expected)
    running = layers[1].running_var
    torch.testing.assert_close(stem.batch_norms[0].running_var, running)


@pytest.mark.parametrize("conv_stem", [True, False])
def test_htsat_embeds_patches_as_it_is_told(conv_stem):
    encoder = small_htsat(conv_stem=conv_stem)
    assert isinstance(encoder.patch_embed, ConvStem) == conv_stem


def test_the_conv_stem_sees_beyond_a_patch():
    stem = ConvStem(dim=8, patch_size=4).eval()
    image = torch.zeros(1, 16, 16)
    touched = image.index_fill(2, torch.tensor([3]), 1.0)  # last column of a patch
    changed = (stem(touched) - stem(image)).abs().amax(dim=(0, 1, 3)) > 1e-6
    assert changed.tolist() == [True, True, False, False]


def test_the_conv_stem_sees_equally_far_on_both_sides_of_a_patch():
    stem = ConvStem(dim=8, patch_size=4).eval()
    seen = []
    for column in range(12):
        image = torch.zeros(1, 12, 12)
        touched = image.index_fill(2, torch.tensor([column]), 1.0)
        middle = (stem(touched) - stem(image))[0, 1, 1]
        seen.append(bool(middle.abs().max() > 1e-6))
    assert seen == [3 <= column <= 8 for column in range(12)]


@pytest.mark.parametrize(("dim", "patch_size"), [(8, 6), (6, 16), (8, 2)])
def test_a_conv_stem_refuses_sizes_that_do_not_halve(dim, patch_size):
    with pytest.raises(ValueError, match=f"patch_size={patch_size}, dim={dim}"):
        ConvStem(dim, patch_size)


def test_over_time_tokens_are_columns_of_pieces_in_order():
    encoder = small_htsat(patch_size=4, depths=[1, 1], heads=[2, 4], over_time=True)
    # 8 x 8 patches, then 4 x 4 tokens: two pieces of two rows, four columns each
    row, column = torch.arange(4)[:, None], torch.arange(4)[None]
    tokens = (10.0 * row + column)[None, :, :, None].expand(1, 4, 4, 16)
    times = encoder.to_time(tokens)[0, :, 0]
    assert times.tolist() == [5, 6, 7, 8, 25, 26, 27, 28]


def test_over_time_averages_to_the_pooled_output():
    pooled, over_time = small_htsat().eval(), small_htsat(over_time=True).eval()
    mel = torch.randn(2, 64, 16) * 7 - 30
    tokens = over_time(mel)
    assert tokens.shape == (2, 8, 16)
    torch.testing.assert_close(tokens.mean(1), pooled(mel))


def test_swapping_the_halves_of_a_clip_swaps_the_tokens():
    encoder = small_htsat(over_time=True, window=2, depths=[1, 1]).eval()
    # Windows that do not shift and are no wider than a piece keep pieces apart.
    mel = torch.randn(1, 64, 16) * 7 - 30
    swapped = torch.cat([mel[:, 32:], mel[:, :32]], dim=1)
    tokens = encoder(mel)
    assert (tokens[:, :4] - tokens[:, 4:]).abs().max() > 0.1
    torch.testing.assert_close(
        encoder(swapped), torch.cat([tokens[:, 4:], tokens[:, :4]], dim=1)
    )


def test_over_time_refuses_tokens_that_lie_in_two_pieces():
    with pytest.raises(ValueError, match=r"multiple of .* \(here 8\); got n_mels=4"):
        small_htsat(n_mels=4, over_time=True)


def test_the_paper_s_encoder_hears_32_times_of_a_clip():
    encoder = HTSAT(over_time=True).eval()
    with torch.inference_mode():
        assert encoder(torch.randn(1, 965, 64)).shape == (1, 32, 768)
