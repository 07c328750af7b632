"""Adapters of single layers and of models: what is trained, merged, read by other modules, put back; soft prompts."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from torchstone import parts
from torchstone.core.errors import UsageError
from torchstone.parts import LoRA, SoftPrompt, add_lora, fold_lora, lora_state_dict, merge_lora, remove_lora, unmerge_lora


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))


def drawn(model):
    """Factors as after training."""
    with torch.no_grad():
        for key, one in model.named_parameters():
            if "lora_" in key:
                one.normal_(0, 0.3)
    return model


class Conv1D(nn.Module):
    """transformers' layer of that name: weight (in, out)."""

    def __init__(self, nf, nx):
        super().__init__()
        self.nf, self.weight, self.bias = nf, nn.Parameter(torch.randn(nx, nf)), nn.Parameter(torch.zeros(nf))

    def forward(self, x):
        return x @ self.weight + self.bias


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", [(6,), (1, 6), (4, 6), (2, 3, 6), (0, 6)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_fresh_adapter_is_the_base_bit_for_bit(dtype, shape, bias):
    base, x = nn.Linear(6, 40, bias=bias).to(dtype), torch.randn(shape).to(dtype)
    wanted = base(x)
    found = LoRA(base, 4, 64)(x)
    assert found.shape == wanted.shape and found.detach().contiguous().numpy(force=True).tobytes() == wanted.numpy(force=True).tobytes() if dtype != torch.bfloat16 else torch.equal(found, wanted)


def test_only_the_factors_train_and_both_do_after_the_first_step():
    model = add_lora(network(), ["0", "2"], rank=2, alpha=8)
    trained = {key: one for key, one in model.named_parameters() if one.requires_grad}
    assert set(trained) == {f"{place}.lora_{factor}" for place in "02" for factor in "AB"}
    before = {key: one.detach().clone() for key, one in model.named_parameters()}
    optimizer = torch.optim.SGD(trained.values(), lr=0.1)
    for step in range(2):
        optimizer.zero_grad()
        model(torch.randn(5, 6)).square().sum().backward()
        assert bool(trained["0.lora_A"].grad.any()) == (step > 0), "A has a zero gradient while B is zero, and only then"
        optimizer.step()
    changed = {key for key, one in model.named_parameters() if not torch.equal(one, before[key])}
    assert changed == set(trained)


def test_merged_equals_unmerged_and_unmerging_restores_every_bit():
    model, x = drawn(add_lora(network(), "all-linear", rank=3, alpha=5)).eval(), torch.randn(7, 6)
    before, state = model(x), copy.deepcopy(model.state_dict())
    for _ in range(3):
        merge_lora(model)
        torch.testing.assert_close(model(x), before, rtol=1e-5, atol=1e-5)
        unmerge_lora(model)
    assert torch.equal(model(x), before)
    assert all(torch.equal(one, state[key]) for key, one in model.state_dict().items()) and set(state) == set(model.state_dict())


def test_training_and_loading_unmerge():
    model = merge_lora(drawn(add_lora(network(), ["0"])).eval())
    assert model[0].merged
    model.load_state_dict(lora_state_dict(drawn(add_lora(network(), ["0"]))), strict=False)
    assert not model[0].merged
    merge_lora(model).train()
    assert not model[0].merged
    model(torch.randn(2, 6)).sum().backward()
    assert model[0].lora_A.grad is not None


def test_folding_leaves_a_plain_model_and_spares_tied_weights():
    model = network()
    tied = nn.Linear(8, 8)
    tied.weight = model[2].weight
    model, x = drawn(add_lora(model, ["2"])).eval(), torch.randn(4, 6)
    wanted, before = model(x), tied.weight.clone()
    folded = fold_lora(model)
    assert type(folded[2]) is nn.Linear and torch.equal(tied.weight, before)
    torch.testing.assert_close(folded(x), wanted)


def test_removing_gives_the_model_back_as_it_was():
    model, x = network(), torch.randn(4, 6)
    wanted, kinds = model(x), [type(one) for one in model]
    remove_lora(drawn(add_lora(model, "all-linear")))
    assert torch.equal(model(x), wanted) and [type(one) for one in model] == kinds


@pytest.mark.parametrize("training", [True, False])
def test_modules_that_read_a_layers_weight_see_the_adapter(training):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True).train(training)
    x = torch.randn(3, 5, 8)
    plain = layer(x)
    drawn(add_lora(layer, ["linear1", "linear2", "out_proj"], rank=2))
    adapted = layer(x)
    assert (adapted - plain).abs().max() > 1e-2
    with torch.inference_mode():  # the fused path, where torch takes it
        torch.testing.assert_close(layer(x), adapted, rtol=1e-4, atol=1e-5)
    adapted.sum().backward()
    assert all(one.grad.any() for key, one in layer.named_parameters() if "lora_" in key)
    torch.testing.assert_close(fold_lora(layer)(x), adapted, rtol=1e-4, atol=1e-5)


def test_a_layer_whose_weight_is_the_other_way_round():
    base, x = Conv1D(4, 6), torch.randn(3, 6)
    wanted = base(x)
    layer = LoRA(base, 2)
    assert torch.equal(layer(x), wanted) and layer.lora_A.shape == (2, 6) and layer.weight.shape == (6, 4)
    drawn(layer)
    unmerged = layer.eval()(x)
    layer.merge()
    torch.testing.assert_close(layer(x), unmerged)


def test_a_layer_under_two_names_has_one_adapter():
    shared = nn.Linear(4, 4)
    model = add_lora(nn.Sequential(shared, nn.ReLU(), shared), ["0"])
    assert model[0] is model[2] and isinstance(model[0], LoRA)


def test_a_base_that_is_watched_is_still_called():
    layer, seen = LoRA(nn.Linear(3, 3)), []
    layer.base_layer.register_forward_hook(lambda *_: seen.append(1))
    layer(torch.randn(2, 3))
    assert seen == [1]


def test_dropout_acts_on_the_factors_in_training_alone():
    layer, x = drawn(LoRA(nn.Linear(6, 6), 2, dropout=0.5)), torch.randn(4, 6)
    assert not torch.equal(layer(x), layer(x))
    assert torch.equal(layer.eval()(x), layer(x))


def test_mixed_precision_keeps_the_bases_type():
    layer = drawn(LoRA(nn.Linear(6, 6).bfloat16(), 2, dtype=torch.float32))
    assert layer.lora_A.dtype == torch.float32 and layer(torch.randn(2, 6).bfloat16()).dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        assert drawn(LoRA(nn.Linear(6, 6), 2))(torch.randn(2, 6)).dtype == torch.bfloat16


def test_it_compiles_copies_and_goes_through_functional_call():
    layer, x = drawn(LoRA(nn.Linear(6, 4), 2)), torch.randn(5, 6)
    wanted = layer(x)
    torch.testing.assert_close(torch.compile(layer, backend="eager", fullgraph=True)(x), wanted)
    assert torch.equal(copy.deepcopy(layer)(x), wanted)
    other = {key: 2 * one for key, one in layer.named_parameters()}
    moved = torch.func.functional_call(layer, other, (x,))
    torch.testing.assert_close(moved, functional.linear(x, other["base_layer.weight"], other["base_layer.bias"]) + x @ (4 * layer.update).T)


def test_gradients_twice_over():
    layer = drawn(LoRA(nn.Linear(3, 2), 2).double())
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)

    def call(x, down, up):
        return torch.func.functional_call(layer, {"lora_A": down, "lora_B": up}, (x,))

    inputs = (x, layer.lora_A, layer.lora_B)
    assert torch.autograd.gradcheck(call, inputs) and torch.autograd.gradgradcheck(call, inputs)


@pytest.mark.parametrize(
    ("targets", "settings", "adapted"),
    [
        (["q", "v"], {}, {"layers.0.q", "layers.0.v", "layers.1.q", "layers.1.v"}),
        (r".*\.1\.q", {}, {"layers.1.q"}),
        (["q"], {"layers_to_transform": [1]}, {"layers.1.q"}),
        (["q"], {"layers_to_transform": 0, "layers_pattern": "layers"}, {"layers.0.q"}),
        ("all-linear", {"exclude_modules": ["q"]}, {"layers.0.v", "layers.1.v", "head"}),
        (["head"], {}, {"head"}),
    ],
)
def test_targets_mean_what_they_mean_in_peft(targets, settings, adapted):
    layers = [nn.ModuleDict({"q": nn.Linear(4, 4), "v": nn.Linear(4, 4)}) for _ in range(2)]
    model = add_lora(nn.ModuleDict({"layers": nn.ModuleList(layers), "head": nn.Linear(4, 2)}), targets, **settings)
    assert {name for name, one in model.named_modules() if isinstance(one, LoRA)} == adapted


def test_patterns_of_rank_and_alpha():
    model = add_lora(network(), "all-linear", 4, 8, rank_pattern={"2": 1}, alpha_pattern={"4": 2}, use_rslora=True)
    assert [(model[at].rank, model[at].alpha, model[at].scale) for at in (0, 2, 4)] == [(4, 8, 4.0), (1, 8, 8.0), (4, 2, 1.0)]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda m: add_lora(m, ["q_proj"]), "target_modules 'q_proj' name no module of this Sequential; its linear layers are 0, 2, 4"),
        (lambda m: add_lora(m, ["1"]), "1 is a ReLU, not an nn.Linear or a Conv1D; leave it out of target_modules"),
        (lambda m: add_lora(m, ["0"], rank=0), "an adapter's rank is a whole number of 1 or more; 0 came"),
        (lambda m: add_lora(m, ["0"], dropout=1.0), "an adapter's dropout is a probability from 0, below 1; 1.0 came"),
        (lambda m: add_lora(m, ["0"], alpha=float("nan")), "an adapter's alpha is a finite number; nan came"),
        (lambda m: add_lora(m, "(0"), "'(0' is no pattern of module names (missing ), unterminated subpattern at position 0); write a regular expression or a list of names"),
        (lambda m: add_lora(m, []), "target_modules names no module; give names, endings such as ['q_proj', 'v_proj'], a pattern, or 'all-linear'"),
        (lambda m: add_lora(m.state_dict(), ["0"]), "a torch.nn.Module is adapted; OrderedDict came"),
        (lambda m: add_lora(m[0], "all-linear"), "the model itself is a target; wrap it, as in nn.Sequential(model), or call LoRA(model)"),
        (lambda m: merge_lora(m), "this model has no adapter; add one with add_lora"),
        (lambda m: LoRA(m[1]), "an nn.Linear or a Conv1D is adapted; ReLU came: name linear layers as target modules"),
        (lambda m: SoftPrompt(0, 3), "a soft prompt has one vector or more, of width 1 or more; 0 and 3 came"),
        (lambda m: SoftPrompt(2.5, 3), "a soft prompt has one vector or more, of width 1 or more; 2.5 and 3 came"),
        (lambda m: SoftPrompt(2, 3, -1.0), "a soft prompt is drawn with a finite standard deviation of 0 or more; std=-1.0 came"),
        (lambda m: SoftPrompt(2, 3)(torch.ones(1, 2, 4)), "embedded inputs are (batch, positions, 3); (1, 2, 4) came"),
        (lambda m: SoftPrompt.from_embedding(nn.Embedding(4, 2), [1, 4]), "tokens are whole numbers from 0 to 3, one or more; [1, 4] came"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_has_changed(call, said):
    model = network()
    before = {key: one.clone() for key, one in model.state_dict().items()}
    with pytest.raises(UsageError) as refused:
        call(model)
    assert str(refused.value) == said
    assert [type(one) for one in model] == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]
    assert all(one.requires_grad for one in model.parameters()) and all(torch.equal(one, before[key]) for key, one in model.state_dict().items())


def test_adapters_are_added_once():
    model = add_lora(network(), ["0"])
    with pytest.raises(UsageError, match="this model has adapters already"):
        add_lora(model, ["2"])
    assert type(model[2]) is nn.Linear


def test_a_soft_prompt_comes_first_and_trains():
    embedding = nn.Embedding(10, 4)
    prompt = SoftPrompt.from_embedding(embedding, torch.tensor([3, 1]))
    embedded = embedding(torch.tensor([[5, 6, 7]] * 2)).detach()
    output = prompt(embedded)
    assert torch.equal(output[:, 2:], embedded) and torch.equal(output[1, :2], embedding.weight[[3, 1]])
    output.sum().backward()
    assert torch.equal(prompt.prompt.grad, torch.full((2, 4), 2.0)) and embedding.weight.grad is None
    assert sum(one.numel() for one in prompt.parameters()) == 8


def test_masks_and_labels_grow_with_the_prompt():
    prompt = SoftPrompt(2, 4)
    assert prompt.extend(torch.tensor([[1, 0]]), 1).tolist() == [[1, 1, 1, 0]]
    assert prompt.extend(torch.tensor([[False, True]]), False).tolist() == [[False, False, False, True]]
    assert prompt.extend(torch.tensor([[7, 8]]), -100).tolist() == [[-100, -100, 7, 8]]


@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch's own, at the old weight_norm
def test_a_layer_whose_weight_is_computed_is_adapted_and_not_folded():
    model = drawn(add_lora(nn.Sequential(nn.utils.weight_norm(nn.Linear(4, 3)), nn.Linear(3, 2)), ["0", "1"], rank=2))
    before = model(torch.ones(1, 4))
    with pytest.raises(UsageError, match=r"^0 computes its weight from other parameters \(a norm, or pruning\): remove that"):
        fold_lora(model)
    assert isinstance(model[1], LoRA) and torch.equal(model(torch.ones(1, 4)), before)


def test_all_of_it_is_public():
    assert all(hasattr(parts, name) for name in ("LoRA", "SoftPrompt", "MAML", "Reptile", "save_adapter", "load_adapter"))
