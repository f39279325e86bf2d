package secrets

import (
	"strings"
	"testing"

	"github.com/pando-os/pando/gen/mesosv1"
)

func TestAValueIsItsOwnAndAReferenceIsRefusedWithWords(t *testing.T) {
	value := &mesosv1.Secret{Type: mesosv1.Secret_VALUE.Enum(), Value: &mesosv1.Secret_Value{Data: []byte("hushed")}}
	reference := &mesosv1.Secret{Type: mesosv1.Secret_REFERENCE.Enum(), Reference: &mesosv1.Secret_Reference{Name: new("db")}}
	if err := Resolve(t.Context(), Values{}, []*mesosv1.Secret{value}); err != nil || string(value.GetValue().GetData()) != "hushed" {
		t.Errorf("a value: %v, %v", value, err)
	}
	for words, s := range map[string]*mesosv1.Secret{
		`"db" is a REFERENCE`: reference, "correct it": {}, "neither type": {Type: mesosv1.Secret_VALUE.Enum()}, "with a value": {Value: value.Value},
	} {
		err := Resolve(t.Context(), Values{}, []*mesosv1.Secret{value, s})
		if err == nil || !strings.Contains(err.Error(), words) || strings.Contains(err.Error(), "hushed") {
			t.Errorf("%v lacks %q: %v", s, words, err)
		}
	}
}
