// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	resourceapi "k8s.io/api/resource/v1"
	"k8s.io/dynamic-resource-allocation/cel"
)

type evaluation struct {
	Slices      []*resourceapi.ResourceSlice `json:"slices"`
	Expressions []string                     `json:"expressions"`
	// Repetitions of each figure, at most Seconds for all of one.
	Repetitions int     `json:"repetitions"`
	Seconds     float64 `json:"seconds"`
}

type evaluated struct {
	Expression string `json:"expression"`
	// Compile and PerDevice in microseconds, one entry a repetition.
	Compile   []float64 `json:"compile"`
	PerDevice []float64 `json:"perDevice"`
	Matches   int       `json:"matches"`
}

type evaluations struct {
	// Environment is how long the first use takes, in microseconds.
	Environment float64     `json:"environment"`
	Devices     int         `json:"devices"`
	Expressions []evaluated `json:"expressions"`
}

func evaluate(raw []byte) (any, error) {
	var input evaluation
	if err := json.Unmarshal(raw, &input); err != nil {
		return nil, err
	}
	start := time.Now()
	compiler := cel.GetCompiler(celFeatures)
	if result := compiler.CompileCELExpression("true", cel.Options{}); result.Error != nil {
		return nil, result.Error
	}
	answer := evaluations{Environment: micros(time.Since(start))}
	var devices []cel.Device
	for _, slice := range input.Slices {
		for _, each := range slice.Spec.Devices {
			devices = append(devices, cel.Device{
				Driver:                   slice.Spec.Driver,
				AllowMultipleAllocations: each.AllowMultipleAllocations,
				Attributes:               each.Attributes,
				Capacity:                 each.Capacity,
			})
		}
	}
	answer.Devices = len(devices)
	ctx := context.Background()
	for _, expression := range input.Expressions {
		one := evaluated{Expression: expression}
		// As the scheduler's cache of compiled expressions does it: without the cost estimate.
		options := cel.Options{DisableCostEstimation: true}
		for turn := 0; turn < input.Repetitions; turn++ {
			start := time.Now()
			if result := compiler.CompileCELExpression(expression, options); result.Error != nil {
				return nil, fmt.Errorf("%s: %w", expression, result.Error)
			}
			one.Compile = append(one.Compile, micros(time.Since(start)))
		}
		selector := compiler.CompileCELExpression(expression, options)
		begun := time.Now()
		for turn := 0; turn < input.Repetitions; turn++ {
			if turn > 0 && time.Since(begun).Seconds() > input.Seconds {
				break
			}
			one.Matches = 0
			start := time.Now()
			for _, each := range devices {
				matches, _, err := selector.DeviceMatches(ctx, each)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", expression, err)
				}
				if matches {
					one.Matches++
				}
			}
			one.PerDevice = append(one.PerDevice, micros(time.Since(start))/float64(len(devices)))
		}
		answer.Expressions = append(answer.Expressions, one)
	}
	return answer, nil
}
