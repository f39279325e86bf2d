package mesos

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pando-os/pando/gen/mesosv1"
)

// ParseDomain reads where a machine is: REGION/ZONE, or a DomainInfo in JSON as the original's flag --domain takes it. Empty is nil:
// nobody says.
func ParseDomain(text string) (*mesosv1.DomainInfo, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, nil
	}
	d := &mesosv1.DomainInfo{}
	if text[0] == '{' {
		if err := UnmarshalJSON([]byte(text), d); err != nil {
			return nil, err
		}
	} else {
		region, zone, ok := strings.Cut(text, "/")
		if !ok {
			return nil, fmt.Errorf("%q is not REGION/ZONE", text)
		}
		d.FaultDomain = &mesosv1.DomainInfo_FaultDomain{
			Region: &mesosv1.DomainInfo_FaultDomain_RegionInfo{Name: &region}, Zone: &mesosv1.DomainInfo_FaultDomain_ZoneInfo{Name: &zone},
		}
	}
	f := d.GetFaultDomain()
	if f.GetRegion().GetName() == "" || f.GetZone().GetName() == "" {
		return nil, errors.New("a fault domain needs the names of a region and of a zone in it, as us-east/1a")
	}
	return d, nil
}

// FormatDomain is REGION/ZONE, or empty for a machine that does not say.
func FormatDomain(d *mesosv1.DomainInfo) string {
	if d.GetFaultDomain() == nil {
		return ""
	}
	return d.GetFaultDomain().GetRegion().GetName() + "/" + d.GetFaultDomain().GetZone().GetName()
}
