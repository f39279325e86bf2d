package registry

import (
	"encoding/json"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/pando-os/pando/internal/image/failure"
)

// maxCredentials bounds a Docker config in bytes.
const maxCredentials = 1 << 20

// Credentials are what a Docker config.json says about logging in. They stay in memory: they have no text form, and no error of
// this package repeats a part of them.
type Credentials struct {
	auths map[string]authn.AuthConfig // by registry, or registry and the start of a repository's path
}

// String keeps credentials out of logs.
func (c *Credentials) String() string { return "credentials" }

// GoString keeps credentials out of logs.
func (c *Credentials) GoString() string { return "credentials" }

// ParseCredentials reads the auths of a Docker config.json (auth, or username and password, identitytoken, registrytoken). The
// programs that credsStore and credHelpers name are not run: a config that has nothing else is refused. Empty bytes are no
// credentials.
func ParseCredentials(raw []byte) (*Credentials, error) {
	c := &Credentials{auths: map[string]authn.AuthConfig{}}
	if len(raw) == 0 {
		return c, nil
	}
	if len(raw) > maxCredentials {
		return nil, failure.New(failure.Invalid, "the docker config has %d bytes, the limit is %d", len(raw), maxCredentials)
	}
	var file struct {
		Auths       map[string]json.RawMessage `json:"auths"`
		CredsStore  string                     `json:"credsStore"`
		CredHelpers map[string]string          `json:"credHelpers"`
	}
	// What a decoder says quotes what it read, so it is not repeated.
	if json.Unmarshal(raw, &file) != nil {
		return nil, failure.New(failure.Invalid, `the docker config is no JSON as docker login writes it: {"auths": {"REGISTRY": {"auth": "…"}}}`)
	}
	if len(file.Auths) == 0 && (file.CredsStore != "" || len(file.CredHelpers) > 0) {
		return nil, failure.New(failure.Invalid, "the docker config names programs (credsStore, credHelpers), which are not run; give auths with the credentials themselves")
	}
	for key, value := range file.Auths {
		var auth authn.AuthConfig
		if json.Unmarshal(value, &auth) != nil {
			return nil, failure.New(failure.Invalid, "the docker config's auths[%q] is not as docker login writes it: auth is base64 of NAME:PASSWORD", key)
		}
		if auth != (authn.AuthConfig{}) {
			c.auths[normal(key)] = auth
		}
	}
	return c, nil
}

// normal makes the keys of auths comparable: Docker writes HOST, https://HOST, and https://HOST/v1/.
func normal(key string) string {
	key = strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://")
	host, path, _ := strings.Cut(strings.TrimSuffix(key, "/"), "/")
	if path == "v1" || path == "v2" {
		path = ""
	}
	if reg, err := name.NewRegistry(host); err == nil && host != "" { // an alias of a registry is the registry
		host = reg.RegistryStr()
	}
	if path != "" {
		return host + "/" + path
	}
	return host
}

// find gives what fits a repository best: the longest key that is its name or starts it.
func (c *Credentials) find(registry, repository string) (authn.AuthConfig, bool) {
	if c == nil {
		return authn.AuthConfig{}, false
	}
	for key := registry + "/" + repository; ; {
		if auth, ok := c.auths[key]; ok {
			return auth, true
		}
		slash := strings.LastIndexByte(key, '/')
		if slash < 0 {
			return authn.AuthConfig{}, false
		}
		key = key[:slash]
	}
}

// secrets lists what must not be repeated to anybody, the longest forms included.
func secrets(a authn.AuthConfig) []string {
	var out []string
	for _, s := range []string{a.Auth, a.Password, a.IdentityToken, a.RegistryToken} {
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}
