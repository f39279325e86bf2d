package sim
import ("testing";"fmt";"os";"strconv";"github.com/pando-os/pando/internal/core/cluster")
func TestDbg(t *testing.T){ s,_:=strconv.ParseUint(os.Getenv("S"),10,64); w,f:=Run(Params{Seed:s}); fmt.Println(w.Params,f,w.now,w.steps);
for _, m := range w.masters { m.book.View().Tasks(func(t *cluster.Task) bool { fmt.Println(m.name, t.Agent, t.Framework, t.Spec.ID, string(t.Spec.Info), t.State, t.Released, t.Unreachable, t.Spec.Resources); return true }) 
m.book.View().Offers(func(o *cluster.Offer) bool { fmt.Println(m.name, o.Agent, o.Resources); return true})
}
for _, a := range w.agents { if a.book!=nil { for _, t := range a.book.View().Tasks { fmt.Println(a.name, a.book.View().Agent, t.Task.Framework, t.Task.ID, string(t.Task.Info), t.State, t.Task.Resources) } } }
}
