"""Adaptation's laws at known values, and arguments that no adapter and no meta step has."""

import math

import pytest

from torchstone.core.errors import InvariantError
from torchstone.laws.adaptation import Decoder, cost, factors, meta, size


def test_published_counts():
    assert size.soft_prompt_parameters(100, 4096) == 409_600
    assert size.lora_parameters([(4096, 4096)] * 2 * 32, 8) == 4_194_304  # LLaMA 7B, query and value
    assert size.lora_parameters([(768, 768)] * 2 * 12, 8) == 294_912  # RoBERTa base
    assert size.full_parameters(Decoder(32, 4096, 11008, 32000)) == 6_738_415_616  # LLaMA 7B
    gpt2 = Decoder(12, 768, 3072, 50257, positions=1024, gated=False, bias=True, tied=True)
    assert size.full_parameters(gpt2) == 124_439_808
    assert size.full_parameters(Decoder(32, 4096, 14336, 128_256, key_value=1024)) == 8_030_261_248  # Llama 3 8B


def test_reptile_with_many_steps_is_the_way_to_the_centre():
    assert math.isclose(meta.quadratic_meta_gradient(3.0, [1.0], [1.0], 0.5, 60, "reptile"), 2.0)
    assert abs(meta.quadratic_meta_gradient(3.0, [1.0], [1.0], 0.5, 60, "maml")) < 1e-12


def test_costs_of_ten_inner_steps():
    one = {"widths": [1, 40, 40, 1], "examples": 10, "steps": 10, "tasks": 25}
    reptile, first, maml = (cost.meta_step_flops(method, **one) for method in ("reptile", "first_order", "maml"))
    assert first * 10 == reptile * 11 and 3 * reptile < maml < 3.2 * reptile


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: size.soft_prompt_parameters(0, 3), "tokens is 1 or more; 0 came"),
        (lambda: size.lora_parameters([(3, 0)], 2), "out features is 1 or more; 0 came"),
        (lambda: Decoder(0, 1, 1, 1), "layers is 1 or more; 0 came"),
        (lambda: Decoder(1, 1, 1, 1, positions=-1), "key_value and positions are 0 or more; 0 and -1 came"),
        (lambda: factors.update_scale(math.inf, 1), "a rank of 1 or more and a finite alpha are needed; 1 and inf came"),
        (lambda: factors.update_rank(3, 3, 0), "sizes are 1 or more; 3, 3 and 0 came"),
        (lambda: factors.adapted_weight([[1.0]], [[1.0]], [[1.0, 2.0]], 1.0), "rows as long as the other matrix is high are multiplied; 2 and 1 came"),
        (lambda: meta.quadratic_meta_gradient(0.0, [], [], 0.1, 1, "maml"), "every task has a centre and a curvature; 0 and 0 came"),
        (lambda: meta.quadratic_meta_gradient(0.0, [1.0], [1.0], 0.1, 0, "maml"), "one inner step or more and finite numbers are needed; 0 and [0.0, 0.1, 1.0, 1.0] came"),
        (lambda: meta.meta_gradient_slope([1.0], [1.0], "anil"), "a method is one of maml, first_order, reptile; 'anil' came"),
        (lambda: meta.one_step_reptile([], 0.1), "one task or more is needed; none came"),
        (lambda: cost.meta_step_flops("maml", [3], 1, 1), "a stack has two widths or more, and sizes are 1 or more; [3] and (1, 1, 1) came"),
    ],
)
def test_what_cannot_be_is_refused_with_its_value(call, said):
    with pytest.raises(InvariantError) as refused:
        call()
    assert str(refused.value) == said
