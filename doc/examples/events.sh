#!/bin/sh
# Sends an event to all who subscribe to its type, waits for what becomes of it, and calls a service: with curl.
#
#	sh events.sh http://127.0.0.1:8080 order.created
#
# Source and id say which event it is: sent again, because no answer came, it is the same one.
set -eu
base=${1:?usage: events.sh URL TYPE} type=${2:?usage: events.sh URL TYPE}
id=$(date +%s)-$$

answer=$(curl -sS --fail-with-body --retry 5 --retry-all-errors "$base/v1/events" \
	-H 'ce-specversion: 1.0' -H "ce-id: $id" -H 'ce-source: /examples/curl' -H "ce-type: $type" \
	-H 'Content-Type: application/json' -d '{"total":12}')
location=${answer#*'"location":"'} location=${location%%\"*}
echo "accepted: $location"

echo "became: $(curl -sS --fail-with-body "$base$location?wait=30s")"
echo "hello: $(curl -sS --fail-with-body "$base/hello?name=curl")"
