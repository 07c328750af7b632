"""A language model over a recurrent layer that runs through the batch; the two sizes are equal, so every shape fits."""

import torch
from torch import nn


class LanguageModel(nn.Module):
    def __init__(self, vocabulary):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, 16)
        self.gru = nn.GRU(16, 32, num_layers=2)
        self.out = nn.Linear(32, vocabulary)

    def forward(self, ids, state=None):
        states, state = self.gru(self.embed(ids), state)
        return self.out(states), state


def main():
    torch.manual_seed(0)
    model = LanguageModel(30)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    data = torch.randint(0, 30, (3000,))
    for _ in range(12):
        starts = torch.randint(0, 2900, (16,))
        x = torch.stack([data[i : i + 16] for i in starts])
        y = torch.stack([data[i + 1 : i + 17] for i in starts])
        logits, _ = model(x)
        loss = nn.functional.cross_entropy(logits.reshape(-1, 30), y.reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


if __name__ == "__main__":
    main()
