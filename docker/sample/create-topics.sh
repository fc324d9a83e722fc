#!/usr/bin/env bash
# The topics of docker/weir.toml and docker/streams, and those that Weir writes.
set -euo pipefail
for topic in logs.signins weir.alerts weir.dead-letters; do
    /opt/kafka/bin/kafka-topics.sh --bootstrap-server kafka:9092 --create --if-not-exists --topic "$topic" \
        --partitions 3 --replication-factor 1
done
