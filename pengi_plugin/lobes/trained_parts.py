"""A model with frozen parts in, checkpoints of its trained parts alone out."""

import torch
from speechbrain.utils.checkpoints import (
    mark_as_loader,
    mark_as_saver,
    register_checkpoint_hooks,
)
from torch import Tensor, nn

#: In the name of a weight of a low-rank update, which is trained in whatever part.
LORA = ".lora_"


@register_checkpoint_hooks
class TrainedParts(nn.Module):
    """A module whose checkpoints leave out ``frozen_parts``."""

    #: Names of the parts whose weights never change.
    frozen_parts: tuple[str, ...] = ()

    def is_trained(self, name: str) -> bool:
        """Tell by its name whether a weight may change in training."""
        return name.split(".")[0] not in self.frozen_parts or LORA in name

    def trained_state(self) -> dict[str, Tensor]:
        """Return the state dict without the frozen parts."""
        return {
            key: value
            for key, value in self.state_dict().items()
            if self.is_trained(key)
        }

    def load_trained_state(self, state: dict[str, Tensor]) -> None:
        """Load what ``trained_state`` returned.

        Raises
        ------
        ValueError
            If a key is missing, unexpected or of another shape; names all of them.
        """
        own = self.trained_state()
        wrong = [f"{key} is missing" for key in own.keys() - state.keys()]
        wrong += [f"{key} is unexpected" for key in state.keys() - own.keys()]
        wrong += [
            f"{key} has shape {list(state[key].shape)}, not {list(own[key].shape)}"
            for key in own.keys() & state.keys()
            if own[key].shape != state[key].shape
        ]
        if wrong:
            raise ValueError(
                "The checkpoint is of another model: " + "; ".join(sorted(wrong)) + "."
            )
        self.load_state_dict(state, strict=False)

    @mark_as_saver
    def _save(self, path) -> None:
        torch.save(self.trained_state(), path)

    @mark_as_loader
    def _load(self, path, end_of_epoch) -> None:
        self.load_trained_state(torch.load(path, map_location="cpu", weights_only=True))
