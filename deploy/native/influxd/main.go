// Command influxd is the InfluxDB 2 server, made from the Go module of its authors: the storage engine, its index and
// the launcher, without the web pages. The module itself cannot be given to `go install`, because it has replace
// directives; hence these few lines.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/influxdata/influxdb/v2"
	"github.com/influxdata/influxdb/v2/cmd/influxd/launcher"
	_ "github.com/influxdata/influxdb/v2/tsdb/engine/tsm1"
	_ "github.com/influxdata/influxdb/v2/tsdb/index/tsi1"
	"github.com/spf13/viper"
)

// influxdbModule is asked for the version, so that go.mod is the one place that names it.
const influxdbModule = "github.com/influxdata/influxdb/v2"

func main() {
	influxdb.SetBuildInfo(version(), "none", time.Now().UTC().Format(time.RFC3339))
	command, err := launcher.NewInfluxdCommand(context.Background(), viper.New())
	if err == nil {
		command.SilenceUsage = true
		err = command.Execute()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path == influxdbModule {
				return strings.TrimPrefix(module.Version, "v")
			}
		}
	}
	return "unknown"
}
