package imaged

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"path/filepath"
	"time"

	genagent "github.com/pando-os/pando/gen/mesosv1/agent"
	"github.com/pando-os/pando/internal/fault"
	"github.com/pando-os/pando/internal/image"
	"github.com/pando-os/pando/internal/serve"
)

// ImageInfo is an image as /images shows it.
type ImageInfo struct {
	Digest     string    `json:"digest"`
	References []string  `json:"references"`
	Layers     int       `json:"layers"`
	Bytes      int64     `json:"bytes"`
	Packed     int64     `json:"packed"`
	Pulled     time.Time `json:"pulled"`
	LastUsed   time.Time `json:"last_used"`
	InUse      int       `json:"in_use"`
}

// ImageChange is what may be POSTed to /images: exactly one of its members but Name.
type ImageChange struct {
	// Pull is a reference to ask its registry for, even if it is there.
	Pull string `json:"pull,omitempty"`
	// Load is the absolute path of a file that docker save wrote, or of an OCI layout, on the agent's machine; Name is a reference
	// to give to the image beside those in it.
	Load string `json:"load,omitempty"`
	Name string `json:"name,omitempty"`
	// Remove is a reference or digest.
	Remove string `json:"remove,omitempty"`
	// Prune removes all that nobody uses.
	Prune bool `json:"prune,omitempty"`
}

// maxImageChange bounds the body of a change.
const maxImageChange = 64 << 10

// ServeHTTP lists the images of this machine and, for root, changes them. It is Pando's own; the original has PRUNE_IMAGES alone.
func (k *Keeper) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if k == nil {
		serve.Fail(w, http.StatusNotFound, "This agent has no images: they need Linux, and an agent of root.")
		return
	}
	var shown []image.Image
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		shown = k.images.List()
	case http.MethodPost:
		if !serve.Who(r).Root {
			serve.Fail(w, http.StatusForbidden, "Only root may change the images of a machine.")
			return
		}
		var c ImageChange
		d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxImageChange))
		d.DisallowUnknownFields()
		if err := d.Decode(&c); err != nil {
			serve.Fail(w, http.StatusBadRequest, "The change cannot be read: "+err.Error())
			return
		}
		var err error
		if shown, err = k.change(r.Context(), c); err != nil {
			serve.FailWith(w, err)
			return
		}
	default:
		w.Header().Set("Allow", "GET, POST")
		serve.Fail(w, http.StatusMethodNotAllowed, "GET lists the images, and POST changes them.")
		return
	}
	out := make([]ImageInfo, len(shown))
	for i, im := range shown {
		out[i] = ImageInfo{im.Digest, append([]string{}, im.References...), im.Layers, im.Bytes, im.Packed, im.Pulled, im.LastUsed, im.Holders}
	}
	b, err := json.Marshal(out)
	if err != nil {
		serve.FailWith(w, err)
		return
	}
	serve.JSON(w, r, b)
}

// change does one change, and gives the images that it brought.
func (k *Keeper) change(ctx context.Context, c ImageChange) ([]image.Image, error) {
	named := 0
	for _, given := range []bool{c.Pull != "", c.Load != "", c.Remove != "", c.Prune} {
		if given {
			named++
		}
	}
	switch {
	case named != 1:
		return nil, fault.New(fault.Invalid, "give one of pull, load, remove and prune")
	case c.Pull != "":
		im, err := k.images.Pull(ctx, c.Pull)
		return []image.Image{im}, err
	case c.Load != "" && !filepath.IsAbs(c.Load):
		return nil, fault.New(fault.Invalid, "load %q is not an absolute path of the agent's machine", c.Load)
	case c.Load != "":
		return k.images.Load(ctx, c.Load, c.Name)
	case c.Remove != "":
		return nil, k.images.Remove(c.Remove)
	}
	return nil, k.images.Prune(nil)
}

// ServePrune answers PRUNE_IMAGES, which is root's.
func (k *Keeper) ServePrune(w http.ResponseWriter, r *http.Request, call *genagent.Call_PruneImages) {
	switch {
	case !serve.Who(r).Root:
		serve.Fail(w, http.StatusForbidden, "Only root may remove the images of a machine.")
		return
	case k == nil:
		return // there is none to remove
	}
	var keep []string
	for _, im := range call.GetExcludedImages() {
		keep = append(keep, im.GetDocker().GetName())
	}
	if err := k.images.Prune(keep); err != nil {
		serve.FailWith(w, err)
	}
}

// Collect removes images that nobody uses where the disk is full: until a share of it is free.
func (k *Keeper) Collect(headroom float64) {
	if k == nil {
		return
	}
	if err := k.images.Collect(headroom); err != nil && !errors.Is(err, context.Canceled) {
		k.log.Warn("old images could not be removed", "error", err)
	}
}
