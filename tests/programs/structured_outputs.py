from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass
class Output:
    loss: Tensor
    logits: Tensor
    hidden: dict


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(4, 8), nn.Linear(6, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, *, left, right, labels=None):
        hidden = torch.relu(self.left(left) + self.right(right))
        logits = self.head(hidden)
        return Output(nn.functional.cross_entropy(logits, labels), logits, {"hidden": hidden})


torch.manual_seed(0)
model = TwoInputs()
optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)
for _ in range(10):
    batch = {"left": torch.randn(8, 4), "right": torch.randn(8, 6), "labels": torch.randint(0, 3, (8,))}
    output = model(**batch)
    optimizer.zero_grad()
    output.loss.backward()
    optimizer.step()
    print(output.loss.item().hex())
