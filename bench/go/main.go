// SPDX-License-Identifier: Apache-2.0

// Command upstream measures the allocator and the CEL dialect that kube-scheduler uses, on the same
// JSON that Berth reads: `upstream allocate FILE`, `upstream cel FILE`. It prints one JSON object.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
)

const module = "k8s.io/dynamic-resource-allocation"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "upstream:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) != 2 {
		return fmt.Errorf("usage: upstream allocate|cel FILE")
	}
	var measure func(raw []byte) (any, error)
	switch arguments[0] {
	case "allocate":
		measure = allocate
	case "cel":
		measure = evaluate
	default:
		return fmt.Errorf("%s: no such measurement: allocate or cel", arguments[0])
	}
	raw, err := os.ReadFile(arguments[1])
	if err != nil {
		return err
	}
	answer, err := measure(raw)
	if err != nil {
		return fmt.Errorf("%s: %w", arguments[1], err)
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"go":      runtime.Version(),
		"module":  module + " " + moduleVersion(),
		"answers": answer,
	})
}

func moduleVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, dependency := range info.Deps {
		if dependency.Path == module {
			return dependency.Version
		}
	}
	return "unknown"
}
