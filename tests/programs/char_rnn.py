"""A character model: every step has a loss of its own, states are carried over and detached, the gradient is clipped."""
import torch
from torch import nn

torch.manual_seed(1)
text = "the quick brown fox jumps over the lazy dog. " * 40
letters = sorted(set(text))
data = torch.tensor([letters.index(c) for c in text])


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(len(letters), 16)
        self.rnn = nn.RNN(16, 48, num_layers=2, batch_first=True)
        self.head = nn.Linear(48, len(letters))

    def forward(self, x, state):
        out, state = self.rnn(self.embed(x), state)
        return self.head(out), state


model, state = Model(), None
optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
rows = data[: 8 * 220].view(8, 220)
for epoch in range(3):
    for i in range(0, 200, 10):
        logits, state = model(rows[:, i : i + 15], state)
        target = rows[:, i + 1 : i + 16]
        state = state.detach()
        loss = nn.functional.cross_entropy(logits.reshape(-1, len(letters)), target.reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        print(loss.item().hex())
