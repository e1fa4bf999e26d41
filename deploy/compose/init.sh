#!/bin/sh
# Runs once at each start, when Kafka and InfluxDB answer: makes what is missing, leaves alone what is there.
set -eu
# With the sources' own topics, which in real life the CRM's connector has made.
planwatch topics apply --sources
planwatch influx apply
exec python -I /deploy/make_secrets.py hand-over
