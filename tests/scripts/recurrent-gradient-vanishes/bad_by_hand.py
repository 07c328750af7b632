"""A loop over time written by hand, weights in no module."""
import torch

torch.manual_seed(3)
WIDTH, LENGTH = 32, 90
into = (torch.randn(1, WIDTH) * 0.2).requires_grad_()
across = (torch.randn(WIDTH, WIDTH) * 0.5 / WIDTH**0.5).requires_grad_()
out = (torch.randn(WIDTH, 2) / WIDTH**0.5).requires_grad_()
weights = [into, across, out]
optimizer = torch.optim.Adam(weights, lr=1e-3)
for _ in range(40):
    bits = torch.randint(0, 2, (48,))
    sequence = 0.3 * torch.randn(LENGTH, 48, 1)
    sequence[0, :, 0] += 2.0 * bits - 1
    state = torch.zeros(48, WIDTH)
    for x in sequence:
        state = torch.tanh(x @ into + state @ across)
    loss = torch.nn.functional.cross_entropy(state @ out, bits)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
