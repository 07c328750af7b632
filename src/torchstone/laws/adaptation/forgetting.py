"""What adaptation costs the original task: which ways forget less, what a defence leaves, and whose start adapts best."""

from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit


@law(
    "adaptation.forgetting",
    Kind.TREND,
    Unit.NATS,
    assumes=("both ways are brought as far as they get, not to equal gain", "the new data ask for a change of more than that rank"),
    sources=("Eckart and Young 1936 for a linear layer", "Biderman et al. 2024, LoRA learns less and forgets less, figure 3"),
)
def forgetting(full: float) -> float:
    """What is confined (a prompt, factors of low rank) forgets at most what full tuning does: it may change less.

    Forgetting is the rise of the loss on held-out original data over the base model's, not over the untrained adapter's.

    >>> forgetting(0.5)
    0.5
    """
    return full


@law(
    "adaptation.defended",
    Kind.TREND,
    Unit.NATS,
    assumes=("both are minima, one of new + c original loss, c > 0", "the added loss is the original one, on original data"),
    sources=("N1 <= N2 and N2 + c L2 <= N1 + c L1 added up: L2 <= L1", "Robins 1995 (rehearsal)"),
)
def defended(undefended: float) -> float:
    """With the original loss on original data among what is minimised, forgetting is at most that without.

    >>> defended(0.5)
    0.5
    """
    return undefended


@law(
    "adaptation.learned_start",
    Kind.TREND,
    Unit.NATS,
    assumes=("both are brought to their end, on the same tasks", "as many inner steps are taken when the start is used"),
    sources=("Finn, Abbeel and Levine 2017, equation 1: that loss is what MAML minimises; Reptile minimises another",),
)
def learned_start(reptile: float) -> float:
    """MAML's start leaves at most the loss behind the inner steps that Reptile's does.

    Breaks when: processor time runs out first, of which a meta step of MAML takes about three times as much.

    >>> learned_start(0.5)
    0.5
    """
    return reptile
