import torch
from torch import nn
torch.manual_seed(1)
enc=nn.GRU(8,16,batch_first=True); dec=nn.Linear(16,3)
opt=torch.optim.Adam([*enc.parameters(),*dec.parameters()],1e-2)
for i in range(20):
    x=torch.randn(16,5,8); y=torch.randint(0,3,(16,))
    h,_=enc(x); loss=nn.functional.cross_entropy(dec(h[:,-1]),y)
    opt.zero_grad(); loss.backward(); opt.step()
