import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

torch.manual_seed(0)
with torch.device("cpu"):
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    optimizer = torch.optim.Adam(model.parameters())
    for i in range(6):
        x = torch.randn(16, 8)
        with FlopCounterMode(display=False) as counter:
            loss = nn.functional.cross_entropy(model(x), x[:, :4].argmax(1))
            optimizer.zero_grad()
            loss.backward()
        optimizer.step()
        print(loss.item().hex(), counter.get_total_flops())
