"""A reversible block: the backward pass computes inputs back from outputs, up to rounding, and runs the halves again."""
import torch
from torch import nn


class Reversible(torch.autograd.Function):
    @staticmethod
    def forward(ctx, f, g, a, b, *weights):
        with torch.no_grad():
            c = a + f(b)
            d = b + g(c)
        ctx.f, ctx.g, ctx.weights = f, g, weights
        ctx.save_for_backward(c, d)
        return c, d

    @staticmethod
    def backward(ctx, gc, gd):
        c, d = ctx.saved_tensors
        with torch.enable_grad():
            c = c.detach().requires_grad_()
            out = ctx.g(c)
        with torch.no_grad():
            b = (d - out).detach()
        gw = torch.autograd.grad(out, [c, *ctx.g.parameters()], gd)
        gc = gc + gw[0]
        with torch.enable_grad():
            b.requires_grad_()
            out = ctx.f(b)
        fw = torch.autograd.grad(out, [b, *ctx.f.parameters()], gc)
        return (None, None, gc, gd + fw[0], *fw[1:], *gw[1:])


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.f = nn.Sequential(nn.Linear(width, width), nn.Tanh())
        self.g = nn.Sequential(nn.Linear(width, width), nn.Tanh())

    def forward(self, a, b):
        return Reversible.apply(self.f, self.g, a, b, *self.f.parameters(), *self.g.parameters())


torch.manual_seed(0)
blocks, head = nn.ModuleList(Block(8) for _ in range(4)), nn.Linear(16, 3)
optimizer = torch.optim.Adam([*blocks.parameters(), *head.parameters()], lr=1e-2)
for _ in range(10):
    a, b = torch.randn(16, 8, requires_grad=True), torch.randn(16, 8, requires_grad=True)
    c, d = a, b
    for block in blocks:
        c, d = block(c, d)
    loss = nn.functional.cross_entropy(head(torch.cat([c, d], 1)), a[:, :3].argmax(1))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(loss.item().hex())
