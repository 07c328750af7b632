import torch
from torch import nn
torch.manual_seed(1)
class Attn(nn.Module):
    def __init__(s): super().__init__(); s.q=nn.Linear(8,8); s.k=nn.Linear(8,8); s.v=nn.Linear(8,8)
    def forward(s,x,pad):
        a=s.q(x)@s.k(x).transpose(1,2)
        a=a.masked_fill(pad[:,None,:],float("-inf"))
        w=torch.softmax(a,-1)
        return w@s.v(x)
class Net(nn.Module):
    def __init__(s): super().__init__(); s.emb=nn.Embedding(20,8); s.att=Attn(); s.norm=nn.LayerNorm(8); s.head=nn.Linear(8,3)
    def forward(s,t):
        h=s.att(s.emb(t),t==0); return s.head(s.norm(h).mean(1))
net=Net(); opt=torch.optim.Adam(net.parameters(),1e-3)
for i in range(12):
    t=torch.randint(1,20,(4,6)); y=torch.randint(0,3,(4,))
    if i==6: t[2]=0
    loss=nn.functional.cross_entropy(net(t),y); opt.zero_grad(); loss.backward(); opt.step()
