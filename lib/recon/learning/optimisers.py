"""Lookahead (Zhang et al. 2019), the optimiser of Chen 2022, around Adam."""

import torch
from torch import Tensor


class LookaheadAdam(torch.optim.Adam):
    """Adam whose weights are pulled, every few steps, towards a slow copy of themselves.

    Every ``k`` steps the slow weights move a part ``alpha`` of the way to the fast ones, and the
    fast ones restart from there. The slow weights live in the optimiser's state, so a checkpoint
    carries them.

    Parameters
    ----------
    parameters : iterable
        As for Adam.
    lr : float
        Step size of the inner Adam.
    k : int
        Fast steps between two synchronisations.
    alpha : float
        Part of the way, in (0, 1].
    """

    def __init__(self, parameters, lr: float = 1e-4, k: int = 5, alpha: float = 0.5, **options):
        if k < 1 or not 0 < alpha <= 1:
            raise ValueError(f"k is {k} and alpha {alpha}; need k >= 1 and 0 < alpha <= 1")
        super().__init__(parameters, lr=lr, **options)
        self.k, self.alpha = k, alpha

    @torch.no_grad()
    def step(self, closure=None):
        """One Adam step; at every ``k``-th, synchronise fast and slow weights."""
        for weight in self.weights():
            if "slow" not in self.state[weight]:
                self.state[weight]["slow"] = weight.detach().clone()
        # Adam takes an empty state for its own first step: let it find one.
        slow = {w: self.state[w].pop("slow") for w in self.weights()}
        loss = super().step(closure)
        for weight in self.weights():
            state = self.state[weight]
            state["slow"] = slow[weight]
            if "step" in state and int(state["step"]) % self.k == 0:
                state["slow"].lerp_(weight, self.alpha)
                weight.copy_(state["slow"])
        return loss

    def weights(self) -> list[Tensor]:
        """All parameters, in order."""
        return [weight for group in self.param_groups for weight in group["params"]]
