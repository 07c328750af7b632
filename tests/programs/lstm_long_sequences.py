"""An LSTM over 120 steps learns what is told near the end; the gradient of the first step is lost, and nothing is by it."""
import torch
from torch import nn

torch.manual_seed(0)


class Sentiment(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(30, 16, padding_idx=0)
        self.lstm = nn.LSTM(16, 32, batch_first=True)
        self.head = nn.Linear(32, 2)

    def forward(self, tokens):
        states, _ = self.lstm(self.embed(tokens))
        return self.head(states[:, -1])


model = Sentiment()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for step in range(60):
    tokens = torch.randint(1, 30, (32, 120))
    labels = (tokens[:, -4:] > 15).sum(1).gt(1).long()
    loss = nn.functional.cross_entropy(model(tokens), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(loss.item().hex())
