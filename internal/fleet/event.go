package fleet

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
)

// event takes one event in. The caller holds the lock.
func (l *Load) event(rec []byte) error {
	if l.JSON {
		return l.jsonEvent(rec)
	}
	var e scheduler.Event
	if err := proto.Unmarshal(rec, &e); err != nil {
		return err
	}
	switch e.GetType() {
	case scheduler.Event_SUBSCRIBED:
		l.framework = e.GetSubscribed().GetFrameworkId().GetValue()
	case scheduler.Event_UPDATE:
		s := e.GetUpdate().GetStatus()
		return l.update(s.GetTaskId().GetValue(), s.GetAgentId().GetValue(), s.GetState(), s.GetUuid())
	case scheduler.Event_OFFERS:
		for _, o := range e.GetOffers().GetOffers() {
			if err := l.offer(o.GetId().GetValue(), o.GetAgentId().GetValue(), cpus(o.GetResources())); err != nil {
				return err
			}
		}
	case scheduler.Event_ERROR:
		return errors.New(e.GetError().GetMessage())
	}
	return nil
}

// jsonEvent reads as much of an event as is needed, by looking for it: a real parser of a megabyte of offers would be most
// of what is measured.
func (l *Load) jsonEvent(rec []byte) error {
	kind, _ := after(rec, `"type":"`)
	switch {
	case bytes.HasPrefix(kind, []byte("UPDATE\"")):
		task, _ := after(rec, `"task_id":{"value":"`)
		agent, _ := after(rec, `"agent_id":{"value":"`)
		state, _ := after(rec, `"state":"`)
		id, ok := after(rec, `"uuid":"`)
		var uuid []byte
		if ok {
			var err error
			if uuid, err = base64.StdEncoding.DecodeString(word(id)); err != nil {
				return err
			}
		}
		return l.update(word(task), word(agent), mesosv1.TaskState(mesosv1.TaskState_value[word(state)]), uuid)
	case bytes.HasPrefix(kind, []byte("OFFERS\"")):
		for {
			id, ok := after(rec, `"id":{"value":"`)
			if !ok {
				return nil
			}
			agent, _ := after(id, `"agent_id":{"value":"`)
			amount, _ := after(agent, `"cpus","type":"SCALAR","scalar":{"value":`)
			if end := bytes.IndexByte(amount, '}'); end >= 0 {
				amount = amount[:end]
			}
			n, err := strconv.ParseFloat(string(amount), 64)
			if err != nil {
				return fmt.Errorf("an offer without cpus: %w", err)
			}
			if err := l.offer(word(id), word(agent), n); err != nil {
				return err
			}
			rec = agent
		}
	case bytes.HasPrefix(kind, []byte("SUBSCRIBED\"")):
		id, _ := after(rec, `"framework_id":{"value":"`)
		l.framework = word(id)
	case bytes.HasPrefix(kind, []byte("ERROR\"")):
		return fmt.Errorf("the master says %s", rec)
	}
	return nil
}

// after is what follows a text.
func after(b []byte, text string) ([]byte, bool) {
	i := bytes.Index(b, []byte(text))
	if i < 0 {
		return nil, false
	}
	return b[i+len(text):], true
}

// word is what comes before the next quote.
func word(b []byte) string {
	before, _, ok := bytes.Cut(b, []byte{'"'})
	if !ok {
		return ""
	}
	return string(before)
}
