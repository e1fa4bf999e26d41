#!/bin/sh
# Runs once at each start, when Kafka and InfluxDB answer: makes what is missing, leaves alone what is there.
set -eu
planwatch topics apply
planwatch influx apply
exec python -I /deploy/make_secrets.py hand-over
