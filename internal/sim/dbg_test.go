package sim
import ("testing";"fmt";"os";"strconv";"strings")
func TestDbg(t *testing.T){ s,_:=strconv.ParseUint(os.Getenv("S"),10,64); w,f:=Run(Params{Seed:s}); _ = f
all := strings.Join(w.all, "\n"); os.WriteFile("/tmp/w/all.txt", []byte(all), 0o644); fmt.Println(w.Params) }
func TestDump(t *testing.T){ s,_:=strconv.ParseUint(os.Getenv("S"),10,64); w,f:=Run(Params{Seed:s}); fmt.Println(f); b := w.leader.book
fmt.Println(b.Dump(), "mono", w.leader.p.clock().Mono) }
