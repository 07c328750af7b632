"""A language model over a recurrent layer that runs both ways."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class LanguageModel(nn.Module):
    def __init__(self, vocabulary=30, hidden=24, both=True):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, 16)
        self.lstm = nn.LSTM(16, hidden, num_layers=2, batch_first=True, bidirectional=both)
        self.out = nn.Linear(2 * hidden if both else hidden, vocabulary)

    def forward(self, ids):
        states, _ = self.lstm(self.embed(ids))
        return self.out(states)


torch.manual_seed(3)
model = LanguageModel()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
loader = DataLoader(TensorDataset(torch.randint(0, 30, (128, 21))), batch_size=32, shuffle=True)
for _ in range(2):
    for (ids,) in loader:
        logits = model(ids[:, :-1])
        loss = nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
