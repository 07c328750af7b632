import torch
from torch import nn
torch.manual_seed(1)
class Deep(nn.Module):
    def __init__(self):
        super().__init__()
        self.inp=nn.Linear(8,16)
        self.hidden=nn.ModuleList([nn.Linear(16,16) for _ in range(3)])
        self.scale=nn.Parameter(torch.ones(16))
        self.out=nn.Linear(16,2)
    def forward(self,x):
        x=torch.relu(self.inp(x))
        for l in self.hidden: x=torch.relu(l(x))
        return self.out(x*self.scale)
model=Deep(); opt=torch.optim.Adam(model.parameters())
for i in range(25):
    x=torch.randn(32,8); y=(x.sum(1)>0).long()
    loss=nn.CrossEntropyLoss()(model(x),y); opt.zero_grad(); loss.backward(); opt.step()
