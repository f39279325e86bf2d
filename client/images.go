package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/pando-os/pando/internal/fault"
)

// Image is one that a node has.
type Image struct {
	Digest     string    `json:"digest"`
	References []string  `json:"references"`
	Layers     int       `json:"layers"`
	Bytes      int64     `json:"bytes"`  // on disk
	Packed     int64     `json:"packed"` // as they travel
	Pulled     time.Time `json:"pulled"`
	LastUsed   time.Time `json:"last_used"`
	InUse      int       `json:"in_use"` // containers
}

// ImageChange changes the images of a node: one of its members but Name. Load is a path of the node's machine.
type ImageChange struct {
	Pull   string `json:"pull,omitempty"`
	Load   string `json:"load,omitempty"`
	Name   string `json:"name,omitempty"`
	Remove string `json:"remove,omitempty"`
	Prune  bool   `json:"prune,omitempty"`
}

const imagesPath = "/images"

// Images lists the images of the agent's machine.
func (a *Agent) Images(ctx context.Context) ([]Image, error) {
	b, err := a.Get(ctx, imagesPath, nil)
	if err != nil {
		return nil, err
	}
	return a.readImages(b)
}

func (a *Agent) readImages(b []byte) (all []Image, err error) {
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, fault.New(fault.Invalid, "the agent at %s does not list images: %w", a.base.Host, err)
	}
	return all, nil
}

// ChangeImages makes a change and gives the images that it brought.
func (a *Agent) ChangeImages(ctx context.Context, c ImageChange) ([]Image, error) {
	body, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, a.base.JoinPath(imagesPath).String(), bytes.NewReader(body))
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := send(a.http, request)
	if err != nil {
		return nil, fmt.Errorf("the images of the agent at %s: %w", a.base.Host, err)
	}
	b, err := whole(response, imagesPath)
	if err != nil {
		return nil, err
	}
	return a.readImages(b)
}
