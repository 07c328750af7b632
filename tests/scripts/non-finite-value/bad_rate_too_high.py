import torch
from torch import nn
torch.manual_seed(1)
m=nn.Sequential(nn.Linear(8,64),nn.ReLU(),nn.Linear(64,1)); opt=torch.optim.SGD(m.parameters(),lr=5.0)
x=torch.randn(64,8)*3; y=x.sum(1,keepdim=True)
for i in range(60):
    loss=nn.functional.mse_loss(m(x),y); opt.zero_grad(); loss.backward(); opt.step()
    if i%20==0: print(i, loss.item())
