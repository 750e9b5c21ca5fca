package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/trunkline/trunkline/internal/bus"
)

// checkAddresses refuses what is no address before anything is sent. Which words are addresses, the usage of the verb says.
func checkAddresses(use string, args []string) error {
	words := strings.Fields(use)[1:]
	for i, arg := range args {
		if len(words) == 0 {
			return nil
		}
		word := words[min(i, len(words)-1)] // the last one may stand for several
		if !strings.HasPrefix(word, "ADDRESS") {
			continue
		}
		if _, err := bus.AddressIn("ADDRESS", address(arg)); err != nil {
			return fmt.Errorf("ADDRESS: %w", fields(err))
		}
	}
	return nil
}

// fields is what is wrong with the fields of a refusal.
func fields(err error) error {
	if e, ok := errors.AsType[*bus.Error](err); ok && len(e.Fields) > 0 {
		return errors.New(e.Fields[0].Description)
	}
	return err
}

// kinds are the values of flags as people call them.
var kinds = map[string]string{
	"int": "a whole number", "int32": "a whole number", "int64": "a whole number", "uint32": "a whole number of 0 or more",
	"uint64": "a whole number of 0 or more", "float64": "a number", "bool": "true or false", "duration": "a duration such as 30s, 5m or 24h",
	"stringToString": "key=value",
}

// flagError says which flag has a wrong value, and what it takes.
func flagError(_ *cobra.Command, err error) error {
	wrong := (*pflag.InvalidValueError)(nil)
	if !errors.As(err, &wrong) {
		return err
	}
	kind, known := kinds[wrong.GetFlag().Value.Type()]
	if !known {
		return err
	}
	return fmt.Errorf("--%s %.64q is not %s", wrong.GetFlag().Name, wrong.GetValue(), kind)
}
