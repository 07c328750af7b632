"""A parameter that is never updated, on recordings written by hand."""

import pytest

from checks.recordings import LINE, findings, only_evidence, only_finding, recording, verdicts
from torchstone.checks.optimization import parameter_never_updated as check
from torchstone.core.events import ModelSeen, ParameterSeen
from torchstone.core.evidence import Verdict
from torchstone.core.finding import Probe, Severity
from torchstone.core.looks import GradientCut
from torchstone.core.place import Place
from torchstone.core.steps import GroupSeen, OptimizerSeen, ParametersExamined

HOLDS, BROKEN, UNDECIDED = Verdict.HOLDS, Verdict.BROKEN, Verdict.UNDECIDED


def seen(number, name=None, model=0, **more):
    return ParameterSeen(number, (name or f"layer{number}.weight",), model, (3, 4), constructed=Place("train.py", 5 + number), **more)


def look(*rows, step=1, final=False):
    """Rows of number, gradient, changed, ran, trainable."""
    return ParametersExamined(step, *(tuple(column) for column in zip(*rows, strict=True)), final=final)


def kept(row):
    """The same seen again at later steps and at the end."""
    return look(row, step=2), look(row, step=4, final=True)


def optimizer(*numbers, rate=0.1):
    return OptimizerSeen(0, "Adam", (GroupSeen(rate, 0.0, numbers),))


TRAINED = (0, 1.0, True, 2, True)
LOST = (1, 0.5, False, 2, True)
MODEL = ModelSeen(0, "model", "Net")


def run(row, *more, held=(0,), steps=8, **about):
    """A run with one trained parameter, 0, and one in question, 1."""
    return recording(MODEL, seen(0), seen(1, **about), optimizer(*held), look(TRAINED, row), *more, steps=steps)


@pytest.mark.parametrize(("row", "held", "verdict"), [
    ((1, 0.5, True, 2, True), (0, 1), HOLDS),
    ((1, 0.5, False, 2, True), (0, 1), HOLDS),
    ((1, 0.5, True, 2, True), (0,), HOLDS),
    ((1, 0.5, False, 2, True), (0,), BROKEN),
    ((1, None, False, 2, True), (0,), HOLDS),
    ((1, None, False, 2, True), (0, 1), BROKEN),
    ((1, None, False, 0, True), (0, 1), BROKEN),
    ((1, None, False, 1, True), (0, 1), UNDECIDED),
])
def test_a_parameter_moves_if_it_is_held_and_a_gradient_arrives(row, held, verdict):
    assert verdicts(check, run(row, held=held)) == [HOLDS, verdict]


def test_what_is_not_trainable_is_not_held():
    assert verdicts(check, run((1, None, False, 2, False))) == [HOLDS]


def test_nothing_is_held_without_a_step_or_a_look():
    assert verdicts(check, run((1, 0.5, False, 2, True), steps=0)) == []
    assert verdicts(check, recording(seen(0), optimizer(0))) == []


def test_free_tensors_are_not_called_unheld():
    assert verdicts(check, run((1, 0.5, False, 2, True), origin="free")) == [HOLDS, HOLDS]


def test_a_rate_of_zero_is_meant():
    of = recording(seen(0), optimizer(0, rate=0.0), look((0, None, False, 2, True)))
    assert verdicts(check, of) == [HOLDS]


@pytest.mark.parametrize(("of", "reason"), [
    (run((1, 0.5, False, 2, True), loaded=True), "its weights were loaded and no optimizer holds it: taken as frozen on purpose"),
    (
        run((1, 0.5, False, 2, True), ModelSeen(9, "teacher", "Net", training=False), model=9),
        "its whole model is in no optimizer and runs in evaluation mode: taken as fixed on purpose",
    ),
    (run((1, None, False, 1, True), held=(0, 1)), "its module ran without gradients only: taken as frozen on purpose"),
    (run((1, None, False, 0, True), held=(0, 1), origin="optimizer"), "no model that ran holds it"),
    (run((1, 0.5, False, 2, True), steps=2), "only 2 steps were seen"),
], ids=["loaded", "evaluated", "no gradients", "optimizer only", "few steps"])
def test_what_may_be_meant_is_undecided_with_its_reason(of, reason):
    held = list(check.hold(of))
    assert [item.verdict for item in held] == [HOLDS, UNDECIDED]
    assert held[1].reason == reason


def test_a_model_that_nothing_updates_is_broken_where_it_runs_before_one_that_trains():
    of = recording(
        ModelSeen(0, "encoder", "Net"), ModelSeen(1, "decoder", "Net"), seen(0, model=1), seen(1, model=0), optimizer(0),
        look(TRAINED, (1, 0.5, False, 2, True)),
    )
    assert only_finding(check, of).title == "parameters get gradients, but no optimizer holds them"


def test_a_model_that_runs_after_all_that_train_is_taken_as_a_judge():
    of = run((1, 0.5, False, 2, True), ModelSeen(9, "judge", "Net", training=True), model=9)
    assert [item.verdict for item in check.hold(of)] == [HOLDS, UNDECIDED]


def test_an_expert_that_the_data_never_chose_is_undecided():
    of = recording(MODEL, seen(0, "experts.0.weight"), seen(1, "experts.1.weight"), optimizer(0, 1), look(TRAINED, (1, None, False, 0, True)))
    assert [item.verdict for item in check.hold(of)] == [HOLDS, UNDECIDED]


def test_a_tensor_that_a_module_keeps_for_a_moment_is_no_parameter():
    of = run((1, 0.5, False, 2, True), origin="attribute")
    assert verdicts(check, of) == [HOLDS, HOLDS]


def test_three_steps_are_enough():
    assert verdicts(check, run((1, 0.5, False, 2, True), steps=3)) == [HOLDS, BROKEN]


def test_the_finding_holds_both_numbers():
    finding = only_finding(check, run((1, 0.5, False, 2, True)))
    assert (finding.name, finding.code, finding.severity) == ("parameter-never-updated", "TS105", Severity.ERROR)
    assert finding.predicted_as == "8 updates in 8 steps"
    assert finding.measured_as == "0 updates of 1 parameter tensor"
    assert finding.message == "layer1.weight 3x4: the optimizer was built without them"
    assert str(finding.main.site) == "train.py:6  layer1.weight 3x4"
    assert (finding.main.predicted.value, finding.main.measured.value) == (8, 0)


@pytest.mark.parametrize(("of", "title", "why", "severity"), [
    (
        run(LOST, *kept(LOST), origin="attribute"), "parameters get gradients, but no model has registered them",
        "kept in a plain list, dict or attribute, so parameters(), .to() and state_dict() do not see them", Severity.ERROR,
    ),
    (
        run((1, 0.5, False, 2, True), origin="unregistered-module"), "parameters get gradients, but no model has registered them",
        "kept in a plain list, dict or attribute, so parameters(), .to() and state_dict() do not see them", Severity.ERROR,
    ),
    (
        run((1, None, False, 0, True), held=(0, 1)), "parameters are in the optimizer, but their module is never called",
        "the module was not called in any of the 8 steps", Severity.WARNING,
    ),
    (
        run((1, None, False, 2, True), held=(0, 1)), "parameters run in the forward pass, but no gradient comes back",
        "their output never reaches the loss that backward() starts from", Severity.WARNING,
    ),
    (
        run((1, None, False, 2, True), GradientCut("detach", LINE, (1,)), held=(0, 1)), "the gradient is cut before it reaches parameters",
        "detach at train.py:12 takes the value out of the graph", Severity.ERROR,
    ),
], ids=["attribute", "plain list", "unused", "no gradient", "cut"])
def test_every_cause_has_its_title_and_its_why(of, title, why, severity):
    finding = only_finding(check, of)
    assert (finding.title, finding.severity) == (title, severity)
    assert finding.message == f"layer1.weight 3x4: {why}"


def replaced():
    return recording(
        MODEL, seen(0), seen(1), seen(2, origin="optimizer"), optimizer(0, 2), look(TRAINED, (1, 0.5, False, 2, True), (2, None, False, 0, True))
    )


def test_a_layer_that_was_replaced_is_one_finding_with_its_orphans():
    finding = only_finding(check, replaced())
    assert finding.message == (
        "layer1.weight 3x4: the optimizer was built without them; it holds 1 tensor of a module that is no longer in the model"
    )
    assert len(finding.evidence) == 2


def test_each_cause_is_a_finding_and_many_names_are_shortened():
    several = tuple(range(1, 8))
    of = recording(
        MODEL, seen(0), *map(seen, several), seen(9), optimizer(0, 9),
        look(TRAINED, *((n, 0.5, False, 2, True) for n in several), (9, None, False, 0, True)),
    )
    first, second = findings(check, of)
    assert first.message.startswith("layer1.weight 3x4, layer2.weight 3x4, layer3.weight 3x4, layer4.weight 3x4 and 3 more: ")
    assert first.measured_as == "0 updates of 7 parameter tensors"
    assert second.title.endswith("their module is never called")


@pytest.mark.parametrize(("origin", "title", "patch"), [
    (
        "registered", "give the optimizer these parameters",
        "build the optimizer after the model is complete: torch.optim.X(model.parameters())",
    ),
    (
        "attribute", "register them, and give them to the optimizer",
        "keep layers in nn.ModuleList (or ModuleDict) and tensors in nn.Parameter",
    ),
])
def test_the_change_gives_the_parameters_to_the_optimizer(origin, title, patch):
    of = run(LOST, *kept(LOST), origin=origin)
    (change,) = check.changes(only_finding(check, of), of)
    assert (change.kind, change.title, change.patch, change.arguments) == ("add-parameters", title, patch, {"numbers": [1]})


def test_orphans_are_not_given_to_the_optimizer_again():
    assert check.changes(only_finding(check, replaced()), replaced())[0].arguments == {"numbers": [1]}


@pytest.mark.parametrize(("row", "events", "why", "probe"), [
    ((1, None, False, 0, True), (), "call the module, or delete it; a change of the model's code cannot be tried from outside", None),
    (
        (1, None, False, 2, True), (),
        "use their output in the loss, or freeze them; a change of the model's code cannot be tried from outside", Probe("gradient-cut", 1),
    ),
    (
        (1, None, False, 2, True), (GradientCut("detach", LINE, (1,)),),
        "let the gradient pass there, give them a loss of their own, or freeze them with requires_grad_(False)", None,
    ),
], ids=["unused", "no gradient", "cut"])
def test_where_nothing_can_be_tried_it_says_what_to_do(row, events, why, probe):
    of = run(row, *events, held=(0, 1))
    finding = only_finding(check, of)
    assert list(check.changes(finding, of)) == []
    assert check.why_no_remedy(finding, of) == why
    assert check.probe(finding, of) == probe


def test_parameters_without_a_name_go_by_their_number():
    of = recording(ParameterSeen(0, (), 0, (2,)), look((0, 1.0, True, 2, True)))
    assert only_evidence(check, of).site.module == "parameter 0 2"


def test_a_parameter_that_was_looked_at_but_never_described_is_passed_over():
    assert verdicts(check, recording(seen(0), optimizer(0), look(TRAINED, (5, 1.0, True, 2, True)))) == [HOLDS]
