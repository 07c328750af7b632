import argparse, torch, torch.nn.functional as F
def main():
    p=argparse.ArgumentParser(); p.add_argument("--steps",type=int,default=50); a=p.parse_args()
    torch.manual_seed(0)
    w=torch.nn.Linear(20,7)
    o=torch.optim.SGD(w.parameters(),lr=0.5,momentum=0.9)
    for i in range(a.steps):
        x=torch.randn(64,20); y=x[:,:7].argmax(1)
        logits=w(x)
        loss=F.cross_entropy(logits,y)
        o.zero_grad(); loss.backward(); o.step()
main()
