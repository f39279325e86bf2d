package master

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/link"
	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
	"github.com/pando-os/pando/internal/agentlink"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/serve"
)

func scalar(name string, v float64) *mesosv1.Resource {
	return &mesosv1.Resource{Name: &name, Type: mesosv1.Value_SCALAR.Enum(), Scalar: &mesosv1.Value_Scalar{Value: &v}}
}

func TestAnAgentThatClaimsMoreThanAMachineHasIsRefused(t *testing.T) {
	_, tm := leading(t)
	many := func(n int, r *mesosv1.Resource) (out []*mesosv1.Resource) {
		for range n {
			out = append(out, r)
		}
		return out
	}
	named := func(n int) (out []*mesosv1.Resource) {
		for i := range n {
			out = append(out, scalar(fmt.Sprint("r", i), 1))
		}
		return out
	}
	ranges := func(n int) *mesosv1.Resource {
		r := &mesosv1.Value_Ranges{}
		for i := range n {
			r.Range = append(r.Range, &mesosv1.Value_Range{Begin: new(uint64(2 * i)), End: new(uint64(2 * i))})
		}
		return &mesosv1.Resource{Name: new("ports"), Type: mesosv1.Value_RANGES.Enum(), Ranges: r}
	}
	items := &mesosv1.Value_Set{}
	for i := range maxItems + 1 {
		items.Item = append(items.Item, fmt.Sprint(i))
	}
	port := func(p int32) *mesosv1.AgentInfo { return &mesosv1.AgentInfo{Hostname: new("h"), Port: &p} }
	for name, c := range map[string]struct {
		resources []*mesosv1.Resource
		info      *mesosv1.AgentInfo
		change    func(*link.Register)
		want      string
	}{
		"an honest one":              {resources: []*mesosv1.Resource{scalar("cpus", 256), scalar("mem", 1e7), scalar("disk", 1e9), ranges(1000)}},
		"1e18 cpus":                  {resources: []*mesosv1.Resource{scalar("cpus", 1e18)}, want: "above the limit"},
		"1e12 cpus":                  {resources: []*mesosv1.Resource{scalar("cpus", 1e12)}, want: `"cpus" adds up to more`},
		"negative cpus":              {resources: []*mesosv1.Resource{scalar("cpus", -1)}, want: "negative"},
		"cpus that are no number":    {resources: []*mesosv1.Resource{scalar("cpus", math.NaN())}, want: "not a number"},
		"infinite cpus":              {resources: []*mesosv1.Resource{scalar("cpus", math.Inf(1))}, want: "limit"},
		"like ones that overflow":    {resources: many(9000, scalar("m", 1e12)), want: "adds up to more"},
		"a sum beyond a number":      {resources: many(9300, scalar("m", 1e12)), want: "adds up to more"},
		"resources without end":      {resources: named(maxResources + 1), want: "there are 1025"},
		"ranges without end":         {resources: []*mesosv1.Resource{ranges(maxRanges + 1)}, want: "1025 ranges"},
		"overlapping ranges":         {resources: []*mesosv1.Resource{ranges(2), {Name: new("x"), Type: mesosv1.Value_RANGES.Enum(), Ranges: &mesosv1.Value_Ranges{Range: []*mesosv1.Value_Range{{Begin: new(uint64(5)), End: new(uint64(1))}}}}}, want: "ends before it begins"},
		"items without end":          {resources: []*mesosv1.Resource{{Name: new("s"), Type: mesosv1.Value_SET.Enum(), Set: items}}, want: "4097 items"},
		"attributes of 10 MB":        {info: &mesosv1.AgentInfo{Hostname: new("h"), Attributes: []*mesosv1.Attribute{{Name: new("a"), Type: mesosv1.Value_TEXT.Enum(), Text: &mesosv1.Value_Text{Value: new(strings.Repeat("a", 10<<20))}}}}, want: "agent_info: it has"},
		"a port that is none":        {info: port(-5), want: "is not a port"},
		"a version of a megabyte":    {change: func(r *link.Register) { r.Version = strings.Repeat("1", 1<<20) }, want: "no more than 256 bytes"},
		"an address of a megabyte":   {change: func(r *link.Register) { r.Ip = strings.Repeat("1", 1<<20) }, want: "no more than 256 bytes"},
		"capabilities without end":   {change: func(r *link.Register) { r.Capabilities = make([]uint32, 65) }, want: "capabilities: there are 65"},
		"executors without end":      {change: func(r *link.Register) { r.Executors = make([]*link.ExecutorReport, maxExecutors+1) }, want: "executors: there are"},
		"frameworks without end":     {change: func(r *link.Register) { r.FrameworkInfos = make([][]byte, maxReported+1) }, want: "framework_infos: there are"},
		"a framework of a megabyte":  {change: func(r *link.Register) { r.FrameworkInfos = [][]byte{make([]byte, 1<<20)} }, want: "framework_infos: one has"},
		"a framework of 2,000 roles": {change: func(r *link.Register) { r.FrameworkInfos = [][]byte{encoded(t, crowdedInfo(2000))} }, want: "roles: there are 2000"},
	} {
		t.Run(name, func(t *testing.T) {
			info := c.info
			if info == nil {
				info = &mesosv1.AgentInfo{Hostname: new("h"), Port: proto.Int32(5051), Resources: c.resources}
			}
			r := &link.Register{AgentInfo: encoded(t, info), Ip: "10.0.0.1", Version: "1.11.0", Capabilities: agentlink.Capabilities()}
			if c.change != nil {
				c.change(r)
			}
			_, err := (&agentLink{term: tm}).registration(r)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func crowdedInfo(roles int) *mesosv1.FrameworkInfo {
	i := &mesosv1.FrameworkInfo{User: new("u"), Name: new("n"), Capabilities: []*mesosv1.FrameworkInfo_Capability{{Type: mesosv1.FrameworkInfo_Capability_MULTI_ROLE.Enum()}}}
	for n := range roles {
		i.Roles = append(i.Roles, fmt.Sprint("r", n))
	}
	return i
}

func TestAFrameworkThatIsTooLargeToKeepIsRefused(t *testing.T) {
	large := crowdedInfo(1)
	large.Name = new(strings.Repeat("n", maxDescription))
	for want, info := range map[string]*mesosv1.FrameworkInfo{
		"framework_info: it has": large, "framework_info.roles: there are 1001": crowdedInfo(maxRoles + 1), "": crowdedInfo(maxRoles),
	} {
		if _, why := subscription(&scheduler.Call_Subscribe{FrameworkInfo: info}); !strings.HasPrefix(why, want) || want == "" && why != "" {
			t.Errorf("%q, want %q", why, want)
		}
	}
}

func TestACallThatHoldsTooMuchIsRefusedBeforeItIsDecoded(t *testing.T) {
	tasks := strings.Repeat(`{"task_id":{"value":"t"}},`, maxCallTasks+1)
	reconcile := `{"type":"RECONCILE","framework_id":{"value":"F"},"reconcile":{"tasks":[` + tasks[:len(tasks)-1] + `]}}`
	if _, err := decodeCall([]byte(reconcile), true); err == nil || !strings.Contains(err.Error(), "reconcile.tasks: there are 50001") {
		t.Errorf("%v", err)
	}
	launch := &scheduler.Call{Type: scheduler.Call_ACCEPT.Enum(), FrameworkId: &mesosv1.FrameworkID{Value: new("F")}, Accept: &scheduler.Call_Accept{
		Operations: []*mesosv1.Offer_Operation{{Type: mesosv1.Offer_Operation_LAUNCH.Enum(), Launch: &mesosv1.Offer_Operation_Launch{}}},
	}}
	for range maxCallTasks + 1 {
		launch.Accept.Operations[0].Launch.TaskInfos = append(launch.Accept.Operations[0].Launch.TaskInfos, &mesosv1.TaskInfo{})
	}
	said := &scheduler.Call{Message: &scheduler.Call_Message{Data: make([]byte, maxMessage+1)}}
	if err := checkCount(said); err == nil || !strings.Contains(err.Error(), "message.data") {
		t.Errorf("a message of %d bytes: %v", maxMessage+1, err)
	}
	if err := checkCount(launch); err == nil || !strings.Contains(err.Error(), "accept.operations") {
		t.Errorf("%v", err)
	}
	braces := `{"type":"REVIVE","x":[` + strings.Repeat("{},", agentlink.MaxElements) + `{}]}`
	if _, err := decodeCall([]byte(braces), true); err == nil || !strings.Contains(err.Error(), "send fewer") {
		t.Errorf("%v", err)
	}
	for range agentlink.MaxElements {
		launch.Accept.OfferIds = append(launch.Accept.OfferIds, &mesosv1.OfferID{})
	}
	if _, err := decodeCall(encoded(t, launch), false); err == nil || !strings.Contains(err.Error(), "send fewer") {
		t.Errorf("%v", err)
	}
}

func TestATaskWhoseDescriptionIsTooLongIsWrongAndOneWithMuchDataIsNot(t *testing.T) {
	for name, c := range map[string]struct {
		command, data int
		want          string
	}{
		"a long command": {maxTask + 1, 0, "description has"},
		"much data":      {10, 8 * maxTask, ""},
	} {
		t.Run(name, func(t *testing.T) {
			spec := taskSpec(&mesosv1.TaskInfo{
				Name: new("t"), TaskId: &mesosv1.TaskID{Value: new("t")}, AgentId: &mesosv1.AgentID{Value: new("a")}, Data: make([]byte, c.data),
				Command: &mesosv1.CommandInfo{Value: new(strings.Repeat("x", c.command))}, Resources: []*mesosv1.Resource{scalar("cpus", 1), scalar("mem", 64)},
			}, "F", "root", serve.Subject{Root: true})
			if (spec.Invalid == "") != (c.want == "") || !strings.Contains(spec.Invalid, c.want) {
				t.Errorf("%q, want %q", spec.Invalid, c.want)
			}
		})
	}
}

func TestATaskThatIsRememberedDoesNotHoldTheBodyThatItCameIn(t *testing.T) {
	var ids []string
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range 50 {
		body := `{"type":"ACCEPT","framework_id":{"value":"F"},"accept":{"offer_ids":[{"value":"o"}],"operations":[{"type":"LAUNCH","launch":{"task_infos":[{"name":"t",
			"task_id":{"value":"t"},"agent_id":{"value":"a"},"data":"` + strings.Repeat("A", 1<<20) + `"}]}}]}}`
		call, err := decodeCall([]byte(body), true)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, call.GetAccept().GetOperations()[0].GetLaunch().GetTaskInfos()[0].GetTaskId().GetValue())
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if n := int64(after.HeapAlloc) - int64(before.HeapAlloc); n > 10<<20 {
		t.Errorf("%d short ids hold %d bytes", len(ids), n)
	}
	runtime.KeepAlive(ids)
}

func TestEachSenderHasABoundedShareOfTheMailbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, tm := leading(t)
		l := newLane()
		all := &cluster.Reconcile{Stream: 1, Framework: "F"}
		for range 3 * laneInputs { // what was stepped gives its place back
			if err := tm.put(t.Context(), l, &cluster.AgentPong{}); err != nil {
				t.Fatal(err)
			}
			if err := tm.put(t.Context(), l, all); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if len(l.light)+len(l.heavy) != 0 {
			t.Errorf("%d and %d places are not given back", len(l.light), len(l.heavy))
		}
		l.heavy <- struct{}{} // one is under way
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := tm.put(ctx, l, all); err != context.DeadlineExceeded {
			t.Errorf("a second heavy one: %v", err)
		}
		if err := tm.put(t.Context(), l, &cluster.AgentPong{}); err != nil {
			t.Errorf("a light one waits for a heavy one: %v", err)
		}
		if err := tm.put(t.Context(), newLane(), all); err != nil {
			t.Errorf("another sender waits: %v", err)
		}
		many := &cluster.Accept{Operations: []cluster.Operation{{Tasks: make([]*cluster.TaskSpec, heavyParts+1)}}}
		if !heavy(many) || heavy(&cluster.Accept{}) || heavy(&cluster.Reconcile{Tasks: make([]cluster.TaskRef, 1)}) || !heavy(&cluster.Decline{Offers: make([]string, heavyParts+1)}) {
			t.Error("weights are wrong")
		}
	})
}

func TestOneWhoRegistersAllTheTimeIsSlowedAndNobodyElse(t *testing.T) {
	p := paces{burst: 3, rate: 1}
	taken := 0
	for range 10 {
		if p.take(time.Second, "a") {
			taken++
		}
	}
	if taken != 3 || !p.take(time.Second, "b") || p.take(1500*time.Millisecond, "a") || !p.take(2*time.Second, "a") || p.take(2*time.Second, "a") {
		t.Errorf("%d of 10 passed", taken)
	}
	for i := range 3 * maxPaces {
		p.take(time.Minute, fmt.Sprint(i))
	}
	if len(p.of) > maxPaces {
		t.Errorf("%d are remembered", len(p.of))
	}
}

func TestALineThatComesByTheThousandIsLoggedOnceAMinuteWithTheNumberLeftOut(t *testing.T) {
	var h hush
	if _, ok := h.say(0, "x", 1); !ok {
		t.Error("the first is not logged")
	}
	for range 999 {
		if _, ok := h.say(time.Second, "x", 1); ok {
			t.Fatal("it is logged again at once")
		}
	}
	if _, ok := h.say(time.Second, "y", 1); !ok {
		t.Error("another is not logged")
	}
	if unsaid, ok := h.say(hushTime, "x", 1); !ok || unsaid != 999 {
		t.Errorf("a minute later: %v, %d left out", ok, unsaid)
	}
	for i := range 3 * maxHush {
		h.say(0, fmt.Sprint(i), 1)
	}
	if len(h.of) > maxHush {
		t.Errorf("%d are remembered", len(h.of))
	}
}

func TestLargeBodiesShareABoundedRoom(t *testing.T) {
	m := newTestMaster(t)
	read := m.bounded(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := serve.Body(r); err != nil {
			serve.FailWith(w, err)
		}
	}))
	post := func(from string, body io.Reader, length int64, encoding string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "/", body)
		r.RemoteAddr, r.ContentLength = from+":1", length
		r.Header.Set("Content-Encoding", encoding)
		w := httptest.NewRecorder()
		read.ServeHTTP(w, r)
		return w
	}
	large := make([]byte, 3*smallBody)
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, _ = z.Write(make([]byte, 100<<20)) // a buffer takes it
	_ = z.Close()                         // as above
	if w := post("a", bytes.NewReader(large), int64(len(large)), ""); w.Code != http.StatusOK {
		t.Errorf("a large one: %d %s", w.Code, w.Body)
	}
	if w := post("a", &bomb, -1, "gzip"); w.Code != http.StatusRequestEntityTooLarge || m.counts.bodiesRefused["large"].Value() != 1 {
		t.Errorf("a bomb: %d %s, counted %d", w.Code, w.Body, m.counts.bodiesRefused["large"].Value())
	}
	if m.room.used != 0 || len(m.room.peers) != 0 {
		t.Fatalf("room was not given back: %d", m.room.used)
	}
	m.room.take("a", peerRoom)
	if w := post("a", bytes.NewReader(large), -1, ""); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || m.counts.bodiesRefused["crowded"].Value() != 1 {
		t.Errorf("more than one peer may have: %d %s", w.Code, w.Body)
	}
	for _, c := range []struct {
		from   string
		length int
	}{{"b", len(large)}, {"a", smallBody}} {
		if w := post(c.from, bytes.NewReader(large[:c.length]), int64(c.length), ""); w.Code != http.StatusOK {
			t.Errorf("%d bytes of %s meanwhile: %d %s", c.length, c.from, w.Code, w.Body)
		}
	}
	m.room.take("b", peerRoom)
	if w := post("c", bytes.NewReader(large), int64(len(large)), ""); w.Code != http.StatusServiceUnavailable {
		t.Errorf("more than there is in all: %d %s", w.Code, w.Body)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 20 {
		post("d", strings.NewReader("x"), serve.MaxBody, "")
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 20<<20 {
		t.Errorf("twenty lengths take %d bytes", n)
	}
}
