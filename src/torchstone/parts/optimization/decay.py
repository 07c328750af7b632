"""One weight decay in every convention: the documents' and torch's."""

from dataclasses import dataclass

from torchstone.core.errors import UsageError
from torchstone.laws import optimization
from torchstone.parts.optimization.stepping import checked


@dataclass(frozen=True)
class WeightDecay:
    """A weight decay at a learning rate, told in all conventions. Make one with `from_share`, `from_penalty` or `from_torch`.

    - `weight_decay`: torch's argument, a share per learning rate
    - `share`: the documents' lambda, theta <- theta - eta grad - lambda theta: lambda = lr weight_decay
    - `penalty`: the gamma of loss + gamma ‖theta‖², whose gradient is 2 gamma theta: weight_decay = 2 gamma

    All three are one for gradient descent (`torch.optim.SGD`, `Momentum(momentum=0)`). In Adam, `share` speaks of the
    decoupled form and `penalty` of the L2 form; no number turns one into the other (final exam D4a). Source: assignment C4.1; laws
    `optimization.l2_penalty`, `optimization.decay_share`, `optimization.penalty_weight_decay`.

    >>> print(WeightDecay.from_share(0.01, lr=0.5))
    theta <- theta - 0.5 grad - 0.01 theta = loss + 0.01 ‖theta‖² = torch's weight_decay=0.02 at lr=0.5
    """

    weight_decay: float
    lr: float

    def __post_init__(self) -> None:
        checked({"weight_decay": self.weight_decay, "lr": self.lr})

    @classmethod
    def from_torch(cls, weight_decay: float, *, lr: float) -> "WeightDecay":
        """From torch's weight_decay."""
        return cls(weight_decay, lr)

    @classmethod
    def from_share(cls, share: float, *, lr: float) -> "WeightDecay":
        """From lambda, the share that a step takes. Raises UsageError for lr = 0, at which torch takes none."""
        checked({"lambda": share, "lr": lr})
        if lr == 0:
            message = f"torch's decay is lr times weight_decay: lambda = {share} cannot be had at lr = 0; give a rate above 0"
            raise UsageError(message)
        return cls(share / lr, lr)

    @classmethod
    def from_penalty(cls, penalty: float, *, lr: float) -> "WeightDecay":
        """From gamma, the factor of ‖theta‖² in the loss (no half in front)."""
        checked({"gamma": penalty})
        return cls(optimization.penalty_weight_decay(penalty), lr)

    @property
    def share(self) -> float:
        """Lambda: what a step takes of a parameter, lr · weight_decay."""
        return optimization.decay_share(self.weight_decay, self.lr)

    @property
    def penalty(self) -> float:
        """Gamma: the factor of ‖theta‖² in the loss, weight_decay / 2."""
        return self.weight_decay / 2

    def __str__(self) -> str:
        step = f"theta <- theta - {self.lr:g} grad - {self.share:g} theta"
        return f"{step} = loss + {self.penalty:g} ‖theta‖² = torch's weight_decay={self.weight_decay:g} at lr={self.lr:g}"
