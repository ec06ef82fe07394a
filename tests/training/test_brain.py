import math
from types import SimpleNamespace

import pytest
import speechbrain as sb
import torch
from speechbrain.nnet.schedulers import LinearWarmupScheduler
from torch import nn

from pengi_plugin.training.brain import PengiBrain
from pengi_plugin.training.checkpoints import WholeCheckpointer
from pengi_plugin.training.sums import EpochSums


class Lookup(nn.Module):
    """Answers a row of log-probabilities per clip; one frozen weight, one not."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.frozen = nn.Parameter(torch.tensor(1.0), requires_grad=False)

    def forward(self, wavs, wav_lens, prompts, ids, mask, clip_index, with_embedding):
        log_probs = -self.scale * self.frozen * ids.float() * mask
        return (log_probs, wavs) if with_embedding else log_probs


class Epoch:
    current = limit = 1


@pytest.fixture
def brain():
    hparams = {
        "seed": 1,
        "epoch_counter": Epoch(),
        "lr_annealing": LinearWarmupScheduler(0.1, 2, 11),
    }
    opts = {"device": "cpu", "grad_accumulation_factor": 2, "max_grad_norm": 100.0}
    brain = PengiBrain(
        {"pengi": Lookup()}, lambda p: torch.optim.SGD(p, 0.1), hparams, opts
    )
    brain.on_fit_start()
    brain.on_stage_start(sb.Stage.TRAIN, 1)
    return brain


def make_batch():
    ids = torch.tensor([[3, 1], [4, 0], [5, 0]])
    batch = SimpleNamespace(
        id=["a", "b", "c"],
        wav=(torch.zeros(3, 4), torch.ones(3)),
        prompt=["what?"] * 3,
        task=["captioning", "captioning", "metadata"],
        clip_index=torch.arange(3),
        answer_ids=(ids, torch.tensor([1.0, 0.5, 0.5])),
    )
    batch.to = lambda device, non_blocking: batch
    return batch


def test_the_loss_is_the_mean_over_answer_tokens_in_all_and_per_task(brain):
    batch = make_batch()
    brain.begin_update([batch, batch])
    outputs = brain.compute_forward(batch, sb.Stage.TRAIN)
    loss = brain.compute_objectives(outputs, batch, sb.Stage.TRAIN)
    assert loss.item() == pytest.approx((3 + 1 + 4 + 5) / 4)
    assert brain.mean_losses() == pytest.approx(
        {"loss": 13 / 4, "loss_captioning": 8 / 3, "loss_metadata": 5.0}
    )


def test_a_word_head_adds_its_weighted_loss_in_training_alone(brain):
    class Head(nn.Module):
        def forward(self, embedding, clip_tokens):
            assert torch.equal(embedding, torch.zeros(3, 4))
            return torch.tensor([float(sum(tokens)) for tokens in clip_tokens])

    batch = make_batch()
    batch.clip_tokens = [torch.tensor([2, 3]), torch.tensor([4]), torch.tensor([])]
    brain.modules["word_head"] = Head()
    brain.hparams.word_loss_weight = 10.0
    losses = {}
    brain.begin_update([batch, batch])
    for stage in (sb.Stage.TRAIN, sb.Stage.VALID):
        outputs = brain.compute_forward(batch, stage)
        losses[stage] = brain.compute_objectives(outputs, batch, stage).item()
    assert losses[sb.Stage.VALID] == pytest.approx(13 / 4)
    assert losses[sb.Stage.TRAIN] == pytest.approx(13 / 4 + 10 * (5 + 4 + 0) / 3)
    brain.on_stage_end(sb.Stage.TRAIN, 0.0, 1)
    assert brain.train_losses["word_loss"] == pytest.approx(3.0)


def test_the_optimizer_gets_the_trainable_parameters_in_one_group(brain):
    (group,) = brain.optimizer.param_groups
    assert group["params"] == [brain.modules.pengi.scale]


def test_the_learning_rate_warms_up_and_ends_near_zero_over_all_updates(brain):
    rates = []
    for _ in range(10):
        brain.modules.pengi.scale.grad = torch.tensor(0.0)
        brain.optimizers_step()
        rates.append(brain.optimizer.param_groups[0]["lr"])
    expected = [0.05, 0.1] + [0.1 * (11 - step) / 9 for step in range(3, 11)]
    assert rates == pytest.approx(expected)
    assert rates[-1] > 0


def test_the_rates_of_a_run_that_goes_on_are_those_of_its_new_length(brain):
    brain.hparams.lr_annealing = LinearWarmupScheduler(0.1, 2, 21)
    brain.optimizer_step = 10  # as a checkpoint of the shorter run has it
    rates = []
    for _ in range(10):
        brain.modules.pengi.scale.grad = torch.tensor(0.0)
        brain.optimizers_step()
        rates.append(brain.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.1 * (21 - step) / 19 for step in range(11, 21)])


class Two(nn.Module):
    """A slow weight and a fast one."""

    def __init__(self):
        super().__init__()
        self.slow = nn.Parameter(torch.tensor(0.0))
        self.fast = nn.Parameter(torch.tensor(0.0))


def test_parts_learn_at_their_rates_and_are_clipped_together():
    hparams = {
        "seed": 1,
        "epoch_counter": Epoch(),
        "lr_annealing": LinearWarmupScheduler(0.1, 1, 11),
        "lr_factors": {"slow": 0.1},
    }
    opts = {"device": "cpu", "max_grad_norm": 1.0}
    brain = PengiBrain({"pengi": Two()}, lambda p: torch.optim.SGD(p, 1), hparams, opts)
    brain.on_fit_start()
    pengi = brain.modules.pengi
    pengi.slow.grad, pengi.fast.grad = torch.tensor(30.0), torch.tensor(40.0)
    brain.optimizers_step()
    # A gradient of norm 50 is clipped to (0.6, 0.8).
    assert pengi.fast.item() == pytest.approx(-0.1 * 0.8)
    assert pengi.slow.item() == pytest.approx(-0.1 * 0.1 * 0.6)


def update(brain, gradient=1.0, loss=1.0):
    """Make an update of the one weight, with momentum and weight decay."""
    brain.modules.pengi.scale.grad = torch.tensor(gradient)
    brain.check_loss_isfinite(torch.tensor(loss))
    brain.optimizers_step()


@pytest.mark.parametrize(
    "wrong",
    [{"gradient": math.nan}, {"gradient": math.inf}, {"loss": math.nan}],
    ids=str,
)
def test_an_update_that_is_not_finite_is_skipped_counted_and_logged(
    brain, wrong, caplog
):
    parameter = brain.modules.pengi.scale
    brain.optimizer = torch.optim.AdamW([parameter], 0.1)
    brain.optimizers_dict = {"opt_class": brain.optimizer}
    update(brain)
    weight = parameter.item()
    state = {k: v.clone() for k, v in brain.optimizer.state[parameter].items()}
    update(brain, **wrong)
    assert parameter.item() == weight
    assert brain.optimizer.state[parameter] == state
    assert (brain.optimizer_step, brain.sums.n_skipped) == (2, 1)
    assert parameter.grad is None
    assert "Update 2 is skipped" in caplog.text
    update(brain)
    assert parameter.item() < weight
    assert brain.optimizer_step == 3
    brain.on_stage_end(sb.Stage.TRAIN, 0.0, 1)
    assert brain.train_losses["skipped_updates"] == 1


def test_a_run_stops_after_some_skipped_updates_in_a_row_and_not_before(brain):
    for _ in range(5):
        for _ in range(brain.nonfinite_patience):
            update(brain, gradient=math.nan)
        update(brain)
    for _ in range(brain.nonfinite_patience):
        update(brain, loss=math.inf)
    with pytest.raises(FloatingPointError, match=r"4 updates in a row.* update 24"):
        update(brain, loss=math.inf)


def test_a_loss_that_is_not_finite_spoils_the_update_it_is_gathered_for(brain):
    # two batches make an update; the gradient of this loss is finite
    bad = make_batch()
    brain.begin_update([bad, bad])
    brain.compute_objectives = lambda outputs, *_: outputs[0].sum() * 0 + math.inf
    brain.step += 1
    brain.fit_batch(bad)
    del brain.compute_objectives
    brain.step += 1
    brain.fit_batch(make_batch())
    assert brain.modules.pengi.scale.item() == 1.0
    assert (brain.optimizer_step, brain.sums.n_skipped) == (1, 1)


def test_the_logged_training_loss_is_of_finite_batches_validation_of_all(brain):
    bad = make_batch()
    bad.answer_ids = (torch.full((3, 2), math.inf), torch.ones(3))
    brain.begin_update([make_batch(), bad])
    for stage, expected in ((sb.Stage.TRAIN, 13 / 4), (sb.Stage.VALID, math.inf)):
        brain.on_stage_start(stage, 1)
        for batch in (make_batch(), bad):
            outputs = brain.compute_forward(batch, stage)
            brain.compute_objectives(outputs, batch, stage)
        assert brain.mean_losses()["loss"] == pytest.approx(expected)


def test_sums_go_on_from_a_checkpoint_in_mid_epoch_and_only_there(tmp_path):
    sums = EpochSums()
    checkpointer = WholeCheckpointer(tmp_path, {"sums": sums})
    sums.add(["a"], [0.1], [3])
    sums.add_word(2.0)
    sums.n_skipped = 1
    for end_of_epoch, expected in ((False, {"a": [0.1, 3]}), (True, {})):
        other = EpochSums()
        checkpointer.save_and_keep_only(end_of_epoch=end_of_epoch)
        WholeCheckpointer(tmp_path, {"sums": other}).recover_if_possible()
        other.start()
        assert other.tasks == expected
        assert other.word == ([0.0, 0.0] if end_of_epoch else [2.0, 1])
        assert other.n_skipped == int(not end_of_epoch)
        other.start()
        assert other.tasks == {}


def test_accumulated_batches_make_one_update_of_the_mean_over_all_their_tokens(brain):
    short, long = make_batch(), make_batch()
    long.answer_ids = (torch.full((3, 2), 9), torch.ones(3))  # 6 tokens, not 4
    brain.begin_update([short, long])
    for batch in (short, long):
        brain.step += 1
        brain.fit_batch(batch)
    # the first of two warm-up updates has half the rate
    expected = 1 - 0.05 * (13 + 6 * 9) / (4 + 6)
    assert brain.modules.pengi.scale.item() == pytest.approx(expected)
    assert brain.optimizer_step == 1


def test_the_random_state_of_a_batch_depends_on_its_epoch_and_index_alone(brain):
    brain.step = 7
    brain.on_fit_batch_start(None, True)
    first = torch.rand(3)
    torch.rand(100)
    brain.on_fit_batch_start(None, True)
    assert torch.equal(torch.rand(3), first)
    brain.step = 8
    brain.on_fit_batch_start(None, True)
    assert not torch.equal(torch.rand(3), first)


def test_no_checkpoint_is_made_between_accumulated_batches(brain):
    brain.checkpointer = SimpleNamespace()
    brain.ckpt_interval_steps = 1
    brain.step = 3
    assert not brain._should_save_intra_epoch_ckpt(0, 1)
    brain.step = 4
    assert brain._should_save_intra_epoch_ckpt(0, 1)
