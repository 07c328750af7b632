import torch
from torch import nn


class Dynamics(nn.Module):
    """Rolls a state forward with a linear map and a small nonlinear part; the last state is the prediction."""

    def __init__(self, width=16):
        super().__init__()
        self.mix = nn.Linear(width + 2, width)
        self.read = nn.Linear(width, 1)
        with torch.no_grad():
            self.mix.weight[:, 2:] = 1.0 * torch.linalg.qr(torch.randn(width, width))[0]

    def forward(self, forces):
        state = forces.new_zeros(forces.shape[0], self.mix.out_features)
        for force in forces.unbind(1):
            state = nn.functional.hardtanh(self.mix(torch.cat([force, state], dim=1)), -50, 50)
        return self.read(state)


def train(steps=32):
    torch.manual_seed(2)
    net = Dynamics()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    for _ in range(steps):
        forces = 0.05 * torch.randn(24, 30, 2)
        loss = nn.functional.smooth_l1_loss(net(forces), forces.sum((1, 2)).unsqueeze(1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


if __name__ == "__main__":
    train()
