package mesos

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/pando-os/pando/gen/mesosv1"
)

// HealthCheckType is the health check's type, or, where that is unset, the one that goes with the
// member that is there; UNKNOWN when there is none, or more than one. A nil check is UNKNOWN.
func HealthCheckType(h *mesosv1.HealthCheck) mesosv1.HealthCheck_Type {
	if h == nil || h.Type != nil {
		return h.GetType()
	}
	kind, n := mesosv1.HealthCheck_UNKNOWN, 0
	if h.Command != nil {
		kind, n = mesosv1.HealthCheck_COMMAND, n+1
	}
	if h.Http != nil {
		kind, n = mesosv1.HealthCheck_HTTP, n+1
	}
	if h.Tcp != nil {
		kind, n = mesosv1.HealthCheck_TCP, n+1
	}
	if n > 1 {
		return mesosv1.HealthCheck_UNKNOWN
	}
	return kind
}

// CheckHealthCheck tells whether an executor can perform the health check.
func CheckHealthCheck(h *mesosv1.HealthCheck) error {
	switch HealthCheckType(h) {
	case mesosv1.HealthCheck_COMMAND:
		if err := checkCheckCommand("health_check.command", h.Command); err != nil {
			return err
		}
	case mesosv1.HealthCheck_HTTP:
		if h.Http == nil {
			return errors.New("health_check.http: is missing; a check of type HTTP needs it")
		}
		if s := h.GetHttp().GetScheme(); s != "" && s != "http" && s != "https" {
			return fmt.Errorf("health_check.http.scheme: is %q; use http or https", s)
		}
		if err := checkPath("health_check.http.path", h.GetHttp().Path); err != nil {
			return err
		}
	case mesosv1.HealthCheck_TCP:
		if h.Tcp == nil {
			return errors.New("health_check.tcp: is missing; a check of type TCP needs it")
		}
	default:
		return errors.New("health_check.type: is unknown; give COMMAND, HTTP or TCP")
	}
	return firstError(
		checkSeconds("health_check.delay_seconds", h.GetDelaySeconds()),
		checkSeconds("health_check.grace_period_seconds", h.GetGracePeriodSeconds()),
		checkSeconds("health_check.interval_seconds", h.GetIntervalSeconds()),
		checkSeconds("health_check.timeout_seconds", h.GetTimeoutSeconds()),
	)
}

// CheckCheck tells whether an executor can perform the check.
func CheckCheck(c *mesosv1.CheckInfo) error {
	switch c.GetType() {
	case mesosv1.CheckInfo_COMMAND:
		if c.Command == nil {
			return errors.New("check.command: is missing; a check of type COMMAND needs it")
		}
		if err := checkCheckCommand("check.command.command", c.Command.Command); err != nil {
			return err
		}
	case mesosv1.CheckInfo_HTTP:
		if c.Http == nil {
			return errors.New("check.http: is missing; a check of type HTTP needs it")
		}
		if err := checkPath("check.http.path", c.GetHttp().Path); err != nil {
			return err
		}
	case mesosv1.CheckInfo_TCP:
		if c.Tcp == nil {
			return errors.New("check.tcp: is missing; a check of type TCP needs it")
		}
	default:
		return errors.New("check.type: is missing or unknown; give COMMAND, HTTP or TCP")
	}
	return firstError(
		checkSeconds("check.delay_seconds", c.GetDelaySeconds()),
		checkSeconds("check.interval_seconds", c.GetIntervalSeconds()),
		checkSeconds("check.timeout_seconds", c.GetTimeoutSeconds()),
	)
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func checkCheckCommand(field string, c *mesosv1.CommandInfo) error {
	if c == nil || c.Value == nil {
		return fmt.Errorf("%s.value: is missing; say what to run", field)
	}
	return checkEnvironment(field+".environment", c.GetEnvironment())
}

func checkPath(field string, path *string) error {
	if path != nil && !strings.HasPrefix(*path, "/") {
		return fmt.Errorf("%s: is %q; begin it with a slash", field, *path)
	}
	return nil
}

func checkSeconds(field string, s float64) error {
	if s < 0 || math.IsNaN(s) {
		return fmt.Errorf("%s: is %v; give 0 or more", field, s)
	}
	return nil
}

func checkEnvironment(field string, e *mesosv1.Environment) error {
	for i, v := range e.GetVariables() {
		field := fmt.Sprintf("%s.variables[%d] (%q)", field, i, v.GetName())
		switch v.GetType() {
		case mesosv1.Environment_Variable_VALUE:
			switch {
			case v.Secret != nil:
				return fmt.Errorf("%s.secret: does not go with the type VALUE; set type to SECRET", field)
			case v.Value == nil:
				return fmt.Errorf("%s.value: is missing; give one, if an empty one", field)
			}
		case mesosv1.Environment_Variable_SECRET:
			switch {
			case v.Value != nil:
				return fmt.Errorf("%s.value: does not go with the type SECRET; leave it out", field)
			case v.Secret == nil:
				return fmt.Errorf("%s.secret: is missing; a variable of type SECRET needs it", field)
			}
			if err := checkSecret(field+".secret", v.Secret); err != nil {
				return err
			}
			if bytes.IndexByte(v.GetSecret().GetValue().GetData(), 0) >= 0 {
				return fmt.Errorf("%s.secret.value.data: holds a zero byte, which no variable can; use a volume of type SECRET", field)
			}
		default:
			return fmt.Errorf("%s.type: is unknown; give VALUE or SECRET", field)
		}
	}
	return nil
}

func checkSecret(field string, s *mesosv1.Secret) error {
	switch s.GetType() {
	case mesosv1.Secret_REFERENCE:
		if s.Reference == nil || s.Value != nil {
			return fmt.Errorf("%s: a REFERENCE needs the member reference, and no value; correct it", field)
		}
	case mesosv1.Secret_VALUE:
		if s.Value == nil || s.Reference != nil {
			return fmt.Errorf("%s: a VALUE needs the member value, and no reference; correct it", field)
		}
	default:
		return fmt.Errorf("%s.type: is unknown; give REFERENCE or VALUE", field)
	}
	return nil
}

// CheckContainer tells whether a container can be made from c; none at all can.
func CheckContainer(c *mesosv1.ContainerInfo) error {
	if c == nil {
		return nil
	}
	if err := checkImage("container.mesos.image", c.GetMesos().GetImage()); err != nil {
		return err
	}
	for i, v := range c.GetVolumes() {
		if err := checkVolume(fmt.Sprintf("container.volumes[%d]", i), v); err != nil {
			return err
		}
	}
	if c.GetType() == mesosv1.ContainerInfo_DOCKER {
		if c.Docker == nil {
			return errors.New("container.docker: is missing; a container of type DOCKER needs it")
		}
		for i, p := range c.GetDocker().GetParameters() {
			if p.GetKey() == "name" {
				return fmt.Errorf("container.docker.parameters[%d]: the agent gives containers their names; leave it out", i)
			}
		}
	}
	return nil
}

// checkImage refuses credentials that are none, and those in the old member: nothing ever read them, and they would be shown.
func checkImage(field string, i *mesosv1.Image) error {
	if i.GetDocker().GetCredential() != nil {
		return fmt.Errorf("%s.docker.credential: is not read any more; give config, a secret that is a config.json of Docker", field)
	}
	if s := i.GetDocker().GetConfig(); s != nil {
		return checkSecret(field+".docker.config", s)
	}
	return nil
}

func checkVolume(field string, v *mesosv1.Volume) error {
	n := 0
	for _, there := range []bool{v.HostPath != nil, v.Image != nil, v.Source != nil} {
		if there {
			n++
		}
	}
	if n != 1 {
		return fmt.Errorf("%s: has %d of host_path, image and source; give one", field, n)
	}
	if v.Source == nil {
		return checkImage(field+".image", v.GetImage())
	}
	s, field := v.Source, field+".source"
	need := func(member string, there bool) error {
		if !there {
			return fmt.Errorf("%s.%s: is missing; a source of type %v needs it", field, member, s.GetType())
		}
		return nil
	}
	switch s.GetType() {
	case mesosv1.Volume_Source_DOCKER_VOLUME:
		return need("docker_volume", s.DockerVolume != nil)
	case mesosv1.Volume_Source_HOST_PATH:
		return need("host_path", s.HostPath != nil)
	case mesosv1.Volume_Source_SANDBOX_PATH:
		if err := need("sandbox_path", s.SandboxPath != nil); err != nil {
			return err
		}
		if s.GetSandboxPath().GetType() == mesosv1.Volume_Source_SandboxPath_UNKNOWN {
			return fmt.Errorf("%s.sandbox_path.type: is unknown; give SELF or PARENT", field)
		}
		return nil
	case mesosv1.Volume_Source_SECRET:
		if err := need("secret", s.Secret != nil); err != nil {
			return err
		}
		return checkSecret(field+".secret", s.Secret)
	case mesosv1.Volume_Source_CSI_VOLUME:
		return need("csi_volume", s.CsiVolume != nil)
	}
	return fmt.Errorf("%s.type: is missing or unknown; give one like HOST_PATH", field)
}
