"""Changes of what a recurrence begins with: gates that remember for long, matrices that preserve length."""

import torch
from torch import Tensor

from torchstone.record import measure
from torchstone.record.watcher import Watcher
from torchstone.remedy.interventions.applied import Applied, items, number, parameter_of, whole


class _FirstValues(Applied):
    """Changes parameters once, before the first forward pass, or as soon as an optimizer is given those of no module."""

    def model_seen(self, watcher: Watcher) -> None:
        """As soon as their model is known."""
        self._change(watcher, [parameter_of(watcher, one) for one in items(self.arguments["numbers"])])

    def optimizer_built(self, watcher: Watcher, optimizer: torch.optim.Optimizer) -> None:
        """Weights in no module are known by their place in the optimizer."""
        given = [p for group in optimizer.param_groups for p in group["params"]]
        places = [whole(place) for place in items(self.arguments.get("places"))]
        if places and max(places) < len(given):
            self._change(watcher, [given[place] for place in places])

    def _change(self, watcher: Watcher, found: list[Tensor | None]) -> None:
        if self.said or not found or any(parameter is None for parameter in found):
            return
        with measure.unseen():
            for parameter in found:
                if parameter is not None:
                    self.change(parameter)
        self.applied(watcher, f"{len(found)} tensors")

    def change(self, parameter: Tensor) -> None:
        """One parameter, in place."""
        raise NotImplementedError


class OrthogonalRecurrence(_FirstValues):
    """The nearest orthogonal matrix to each square weight: the same draw with every singular value 1."""

    KIND = "orthogonal-recurrence"

    def change(self, parameter: Tensor) -> None:
        """Its polar factor, in float32 or wider."""
        wide = parameter.to(torch.promote_types(parameter.dtype, torch.float32))
        left, _, right = torch.linalg.svd(wide)
        parameter.copy_(left @ right)


class RememberLonger(_FirstValues):
    """Biases of the forget gates (LSTM) or update gates (GRU) for memories of 1 to `length` steps, spread log-uniformly over units.

    Tallec and Ollivier 2018, section 3 (chrono initialisation), with evenly spread draws: the script's random numbers stay its own.
    """

    KIND = "remember-longer"

    def change(self, parameter: Tensor) -> None:
        """A bias of 4 gates (input, forget, cell, output) or of 3 (reset, update, new)."""
        gates = whole(self.arguments["gates"])
        size = parameter.numel() // gates
        longest = max(number(self.arguments["length"]) - 1, 1.0)
        longer = torch.linspace(1.0, longest, size, dtype=parameter.dtype, device=parameter.device).log()
        parameter[size : 2 * size] += longer
        if gates == 4:  # noqa: PLR2004 - an LSTM's: what is kept for long is written to slowly
            parameter[:size] -= longer
