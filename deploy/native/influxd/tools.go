//go:build tools

package main

// The build needs InfluxData's pkg-config, which compiles Flux's Rust library. Naming it here keeps its version and
// checksum in go.mod and go.sum.
import _ "github.com/influxdata/pkg-config"
