import torch
from torch import nn


class Reader(nn.Module):
    """Reads 100 tokens one after the other with a GRU cell, and answers with the last state."""

    def __init__(self, tokens=12, width=20):
        super().__init__()
        self.embed = nn.Embedding(tokens, width)
        self.cell = nn.GRUCell(width, width)
        self.answer = nn.Linear(width, 1)
        nn.init.uniform_(self.cell.bias_hh[width : 2 * width], 1, 4)

    def forward(self, tokens):
        state = torch.zeros(tokens.shape[0], self.cell.hidden_size)
        for t in range(tokens.shape[1]):
            state = self.cell(0.5 * self.embed(tokens[:, t]), state)
        return self.answer(state).squeeze(1)


torch.manual_seed(5)
reader = Reader()
optimizer = torch.optim.SGD(reader.parameters(), lr=0.1, momentum=0.9)
for step in range(40):
    tokens = torch.randint(0, 12, (32, 100))
    goal = (tokens[:, 0] < 6).float()
    loss = nn.BCEWithLogitsLoss()(reader(tokens), goal)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
