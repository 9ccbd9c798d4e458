// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	resourceapi "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/dynamic-resource-allocation/cel"
	"k8s.io/dynamic-resource-allocation/structured"
)

// celCacheSize is that of kube-scheduler's plugin.
const celCacheSize = 10

type question struct {
	Name   string                       `json:"name"`
	Claims []*resourceapi.ResourceClaim `json:"claims"`
}

type allocation struct {
	Classes []*resourceapi.DeviceClass   `json:"classes"`
	Slices  []*resourceapi.ResourceSlice `json:"slices"`
	// Held are claims with an allocation.
	Held      []*resourceapi.ResourceClaim `json:"held"`
	Nodes     []string                     `json:"nodes"`
	Questions []question                   `json:"questions"`
	// CapSeconds bounds one decision, Seconds and Repetitions all decisions of a question.
	CapSeconds  float64 `json:"capSeconds"`
	Seconds     float64 `json:"seconds"`
	Repetitions int     `json:"repetitions"`
	// Sampled is how many nodes that fit kube-scheduler looks for before it chooses among them.
	Sampled int `json:"sampled"`
}

type device struct {
	Request string `json:"request"`
	Pool    string `json:"pool"`
	Device  string `json:"device"`
}

type answer struct {
	Name string `json:"name"`
	// All in microseconds, one entry a decision. Gather copies the state and builds the allocator,
	// Search asks node after node until one fits.
	Gather []float64 `json:"gather"`
	Search []float64 `json:"search"`
	// Sampling is a whole decision that goes on until as many nodes fit as kube-scheduler wants.
	Sampling []float64  `json:"sampling"`
	Tried    int        `json:"tried"`
	Node     string     `json:"node"`
	Devices  [][]device `json:"devices"`
	Capped   bool       `json:"capped"`
	Error    string     `json:"error"`
}

type classes map[string]*resourceapi.DeviceClass

func (c classes) Get(name string) (*resourceapi.DeviceClass, error) {
	if class, ok := c[name]; ok {
		return class, nil
	}
	return nil, fmt.Errorf("class %s is not defined", name)
}

func (c classes) List() ([]*resourceapi.DeviceClass, error) {
	all := make([]*resourceapi.DeviceClass, 0, len(c))
	for _, class := range c {
		all = append(all, class)
	}
	return all, nil
}

// features are those of Kubernetes 1.37 with every gate at its default.
var features = structured.Features{
	AdminAccess:             true,
	ConsumableCapacity:      true,
	DeviceBindingAndStatus:  true,
	DeviceTaints:            true,
	FractionalCapacityRange: true,
	PartitionableDevices:    true,
	PrioritizedList:         true,
}

var celFeatures = cel.Features{EnableConsumableCapacity: true}

type cluster struct {
	state   structured.AllocatedState
	classes classes
	slices  []*resourceapi.ResourceSlice
	nodes   []*v1.Node
	cache   *cel.Cache
}

func allocate(raw []byte) (any, error) {
	var input allocation
	if err := json.Unmarshal(raw, &input); err != nil {
		return nil, err
	}
	known := cluster{
		state:   inUse(input.Held),
		classes: classes{},
		slices:  input.Slices,
		cache:   cel.NewCache(celCacheSize, celFeatures),
	}
	for _, class := range input.Classes {
		known.classes[class.Name] = class
	}
	for _, name := range input.Nodes {
		known.nodes = append(known.nodes, &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	answers := make([]answer, 0, len(input.Questions))
	for _, each := range input.Questions {
		answers = append(answers, known.ask(each, input))
	}
	return answers, nil
}

// inUse is what the scheduler's tracker of claims keeps.
func inUse(held []*resourceapi.ResourceClaim) structured.AllocatedState {
	state := structured.AllocatedState{
		AllocatedDevices:         sets.New[structured.DeviceID](),
		AllocatedSharedDeviceIDs: sets.New[structured.SharedDeviceID](),
		AggregatedCapacity:       structured.NewConsumedCapacityCollection(),
	}
	for _, claim := range held {
		for _, result := range claim.Status.Allocation.Devices.Results {
			id := structured.MakeDeviceID(result.Driver, result.Pool, result.Device)
			if result.ShareID == nil {
				state.AllocatedDevices.Insert(id)
				continue
			}
			state.AllocatedSharedDeviceIDs.Insert(structured.MakeSharedDeviceID(id, result.ShareID))
			state.AggregatedCapacity.Insert(
				structured.NewDeviceConsumedCapacity(id, result.ConsumedCapacity))
		}
	}
	return state
}

// begin does what happens once for each pod.
func (c *cluster) begin(ctx context.Context) (structured.Allocator, error) {
	state := structured.AllocatedState{
		AllocatedDevices:         c.state.AllocatedDevices.Clone(),
		AllocatedSharedDeviceIDs: c.state.AllocatedSharedDeviceIDs.Clone(),
		AggregatedCapacity:       c.state.AggregatedCapacity.Clone(),
	}
	slices := append([]*resourceapi.ResourceSlice(nil), c.slices...)
	return structured.NewAllocator(ctx, features, state, c.classes, slices, c.cache)
}

func (c *cluster) ask(asked question, limits allocation) answer {
	found := answer{Name: asked.Name}
	begun := time.Now()
	for turn := 0; turn < limits.Repetitions; turn++ {
		if turn > 0 && time.Since(begun).Seconds() > limits.Seconds {
			break
		}
		if !c.first(&found, asked.Claims, limits.CapSeconds) {
			return found
		}
	}
	if found.Node == "" || limits.Sampled < 2 {
		// Where no node fits, every decision has looked at all of them.
		return found
	}
	begun = time.Now()
	for turn := 0; turn < limits.Repetitions; turn++ {
		if turn > 0 && time.Since(begun).Seconds() > limits.Seconds {
			break
		}
		if !c.sample(&found, asked.Claims, limits) {
			return found
		}
	}
	return found
}

// first asks the nodes in order until one fits.
func (c *cluster) first(found *answer, claims []*resourceapi.ResourceClaim, capSeconds float64) bool {
	ctx, cancel := bounded(capSeconds)
	defer cancel()
	start := time.Now()
	allocator, err := c.begin(ctx)
	if err != nil {
		found.Error = err.Error()
		return false
	}
	gathered := time.Now()
	found.Tried, found.Node, found.Devices = 0, "", nil
	for _, node := range c.nodes {
		results, err := allocator.Allocate(ctx, node, claims)
		if err != nil {
			found.fail(err, capSeconds, gathered.Sub(start))
			return false
		}
		found.Tried++
		if results != nil {
			found.Node, found.Devices = node.Name, devicesOf(results)
			break
		}
	}
	found.Gather = append(found.Gather, micros(gathered.Sub(start)))
	found.Search = append(found.Search, micros(time.Since(gathered)))
	return true
}

// sample asks the nodes in order until enough of them fit.
func (c *cluster) sample(found *answer, claims []*resourceapi.ResourceClaim, limits allocation) bool {
	ctx, cancel := bounded(limits.CapSeconds)
	defer cancel()
	start := time.Now()
	allocator, err := c.begin(ctx)
	if err != nil {
		found.Error = err.Error()
		return false
	}
	fit := 0
	for _, node := range c.nodes {
		results, err := allocator.Allocate(ctx, node, claims)
		if err != nil {
			// Where the first node that fits is found, the answer stands without this figure.
			if !errors.Is(err, context.DeadlineExceeded) {
				found.Error = err.Error()
			}
			return false
		}
		if results != nil {
			fit++
			if fit >= limits.Sampled {
				break
			}
		}
	}
	found.Sampling = append(found.Sampling, micros(time.Since(start)))
	return true
}

func (a *answer) fail(err error, capSeconds float64, gathered time.Duration) {
	if !errors.Is(err, context.DeadlineExceeded) {
		a.Error = err.Error()
		return
	}
	a.Capped = true
	a.Gather = append(a.Gather, micros(gathered))
	a.Search = append(a.Search, capSeconds*1e6)
}

func bounded(seconds float64) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), time.Duration(seconds*float64(time.Second)))
}

func devicesOf(results []resourceapi.AllocationResult) [][]device {
	all := make([][]device, 0, len(results))
	for _, result := range results {
		devices := make([]device, 0, len(result.Devices.Results))
		for _, each := range result.Devices.Results {
			devices = append(devices, device{each.Request, each.Pool, each.Device})
		}
		all = append(all, devices)
	}
	return all
}

func micros(duration time.Duration) float64 {
	return float64(duration.Nanoseconds()) / 1e3
}
