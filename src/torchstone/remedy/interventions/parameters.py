"""Changes of parameters: their first values, and which of them an optimizer holds."""

import torch
from torch import Tensor

from torchstone.record import measure
from torchstone.record.watcher import Watcher
from torchstone.remedy.interventions.applied import Applied, items, number, parameter_of, whole


class ScaleParameters(Applied):
    """Multiply parameters before the first forward pass: the same draw with another standard deviation."""

    KIND = "scale-parameters"

    def model_seen(self, watcher: Watcher) -> None:
        """Scale them as soon as their model is known."""
        self._scale(watcher, [parameter_of(watcher, number) for number in items(self.arguments["numbers"])])

    def optimizer_built(self, watcher: Watcher, optimizer: torch.optim.Optimizer) -> None:
        """Weights in no module are known by their place in the optimizer."""
        given = [p for group in optimizer.param_groups for p in group["params"]]
        places = [whole(place) for place in items(self.arguments.get("places"))]
        if places and max(places) < len(given):
            self._scale(watcher, [given[place] for place in places])

    def _scale(self, watcher: Watcher, found: list[Tensor | None]) -> None:
        if self.said or any(parameter is None for parameter in found):
            return
        with measure.unseen():
            for parameter, factor in zip(found, items(self.arguments["factors"]), strict=True):
                if parameter is not None:
                    parameter.mul_(number(factor))
        self.applied(watcher, f"{len(found)} tensors")


class AddParameters(Applied):
    """Give the optimizer parameters that it lacks, from its first step on."""

    KIND = "add-parameters"

    def before_step(self, watcher: Watcher, optimizer: torch.optim.Optimizer) -> None:
        """Add them as a group with the optimizer's defaults."""
        watcher.emit(watcher.models.refresh(watcher.step))
        watcher.learn_reached()
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        found = [parameter_of(watcher, number) for number in items(self.arguments["numbers"])]
        missing = [p for p in found if p is not None and id(p) not in held and p.requires_grad]
        if missing and not self.said:
            options = {key: value for key, value in optimizer.param_groups[0].items() if key != "params"}
            optimizer.add_param_group({**options, "params": missing})
            self.applied(watcher, f"{len(missing)} tensors")


class TrainParameters(AddParameters):
    """Let frozen parameters require a gradient, and give them to the optimizer."""

    KIND = "train-parameters"

    def model_seen(self, watcher: Watcher) -> None:
        """As soon as their model is known, before it runs."""
        for place in items(self.arguments["numbers"]):
            parameter = parameter_of(watcher, place)
            if parameter is not None:
                parameter.requires_grad_(True)  # noqa: FBT003 - torch takes it by position

    def before_step(self, watcher: Watcher, optimizer: torch.optim.Optimizer) -> None:
        """Where the optimizer holds them already, training them is all."""
        super().before_step(watcher, optimizer)
        self.applied(watcher, "held already")


class DrawParameters(Applied):
    """Draw matrices anew before the first forward pass, as nn.Linear draws its weight, without touching the script's generators."""

    KIND = "draw-parameters"

    def optimizer_built(self, watcher: Watcher, optimizer: torch.optim.Optimizer) -> None:
        """What a model gained after it was seen, adapters for one, is known when its optimizer is built."""
        del optimizer
        watcher.emit(watcher.models.refresh(watcher.step))
        self.model_seen(watcher)

    def model_seen(self, watcher: Watcher) -> None:
        """As soon as their model is known."""
        found = [parameter_of(watcher, place) for place in items(self.arguments["numbers"])]
        if self.said or any(parameter is None for parameter in found):
            return
        with measure.unseen():
            for parameter in found:
                if parameter is not None:
                    generator = torch.Generator(parameter.device).manual_seed(0)
                    bound = max(parameter.shape) ** -0.5
                    parameter.uniform_(-bound, bound, generator=generator)
        self.applied(watcher, f"{len(found)} tensors")
