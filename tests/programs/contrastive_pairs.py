import torch
from torch import nn


class Tower(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 32, padding_idx=0)
        self.gru = nn.GRU(32, 32, batch_first=True)
        self.project = nn.Linear(32, 16)

    def forward(self, ids):
        return nn.functional.normalize(self.project(self.gru(self.embed(ids))[1][-1]), dim=-1)


torch.manual_seed(0)
questions, answers = Tower(), Tower()
optimizer = torch.optim.Adam([*questions.parameters(), *answers.parameters()], lr=1e-3)
for _ in range(8):
    first, second = torch.randint(1, 50, (12, 7)), torch.randint(1, 50, (12, 15))
    # Every row is told from every other: the loss of one depends on all of them, as it is meant to.
    scores = questions(first) @ answers(second).T
    loss = nn.functional.cross_entropy(scores, torch.arange(12))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(loss.item().hex())
