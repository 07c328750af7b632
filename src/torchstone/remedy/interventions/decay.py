"""Changes of weight decay: which parameters it is for, and where it enters the step."""

import torch

from torchstone.record import measure
from torchstone.record.watcher import Watcher
from torchstone.remedy.interventions.applied import Applied, Arguments, items, parameter_of

Groups = list[tuple[dict[str, object], object]]


class ExemptFromDecay(Applied):
    """Move parameters to a group of the same optimizer that has no decay, one of the same learning rate if there is."""

    KIND = "exempt-from-decay"

    def before_step(self, watcher: Watcher, optimizer: torch.optim.Optimizer) -> None:
        """Before the first step, when every model is known."""
        found = [parameter_of(watcher, place) for place in items(self.arguments["numbers"])]
        wanted = {id(parameter) for parameter in found if parameter is not None}
        free = [group for group in optimizer.param_groups if not group.get("weight_decay")]
        for group in optimizer.param_groups if free and not self.said else ():
            moved = [parameter for parameter in group["params"] if id(parameter) in wanted]
            if moved and group.get("weight_decay"):
                group["params"] = [parameter for parameter in group["params"] if id(parameter) not in wanted]
                next((one for one in free if one["lr"] == group["lr"]), free[0])["params"].extend(moved)
                wanted -= {id(parameter) for parameter in moved}
        if not wanted:
            self.applied(watcher, f"{len(found)} tensors")


class DecoupleDecay(Applied):
    """Take the decay off the parameters themselves, a share of lr x weight_decay a step, and keep it out of the gradient."""

    KIND = "decouple-decay"

    def __init__(self, arguments: Arguments) -> None:
        super().__init__(arguments)
        self._kept: Groups = []
        self._hooked: set[int] = set()

    def before_step(self, watcher: Watcher, optimizer: torch.optim.Optimizer) -> None:
        """Say of the groups what they are now, and act between our look at them and the step itself."""
        number = watcher.optimizers.follow(optimizer).number
        if number != self.arguments["optimizer"]:
            return
        for group in optimizer.param_groups:
            group["decoupled_weight_decay"] = True
        if id(optimizer) not in self._hooked:
            self._hooked.add(id(optimizer))
            optimizer.register_step_pre_hook(self._decay)
            optimizer.register_step_post_hook(self._restore)
        self.applied(watcher)

    def _decay(self, optimizer: torch.optim.Optimizer, *_: object) -> None:
        self._kept = [(group, group["weight_decay"]) for group in optimizer.param_groups]
        with measure.unseen():
            for group in optimizer.param_groups:
                share = float(group["lr"]) * float(group["weight_decay"])
                group["weight_decay"] = 0.0
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        parameter.mul_(1 - share)

    def _restore(self, *_: object) -> None:
        for group, decay in self._kept:
            group["weight_decay"] = decay
        self._kept.clear()
